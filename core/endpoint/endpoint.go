// Package endpoint speaks with an instance over its endpoint: the instance imports its handler, and then
// answers events with results.
//
// A frame is
//
//	u32 big-endian, length of what follows | u8 kind | body
//
// Core asks with one frame and reads exactly one answer, after any number of calls to other functions and of
// parts of a response. An instance that sends anything else, at any time, is killed. Answers, calls and parts
// begin with the token of their event. PROTOCOL.md (core/driver) has the clauses. A Mux does the same for an
// instance that may have several events at once: it reads for all of them, and hands each frame to the event
// whose token it begins with.
//
// One event of an instance that has one at a time:
//
//	x := endpoint.New(conn)
//	err := x.Send(invocation, deadline) // IsUnsent(err): another instance may run the event
//	kind, body, err := x.Receive()
//	for err == nil && (endpoint.IsCall(kind) || endpoint.IsPart(kind)) {
//		call, err := endpoint.ReadCall(body) // or ReadPart; SendAnswer answers it, now or later
//		kind, body, err = x.Receive()
//	}
//	x.Free()
//	result, err := endpoint.Answer(kind, body)
package endpoint

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Import has a parked instance import its handler, and returns the cost. Nobody else may use the connection
// until it returns; the connection has no deadline afterwards. After an error the instance is useless. The
// error is the context's when that has ended, a *core.Error when the instance reports a failed import, and
// IsBroken when it breaks the protocol. Any other error, also one that IsUnsent, means that the instance has
// ended or is about to.
func Import(ctx context.Context, conn *Conn, load core.HandlerLoad) (core.HandlerReport, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	report, err := importHandler(conn, load)
	if !stop() {
		return core.HandlerReport{}, ctx.Err()
	}
	return report, err
}

func importHandler(conn *Conn, load core.HandlerLoad) (core.HandlerReport, error) {
	body, err := json.Marshal(load)
	if err != nil {
		return core.HandlerReport{}, err
	}
	x := New(conn)
	defer x.Free()
	if err := x.write(append(x.head[:0], 0, 0, 0, 0, kindHandler), body, importKinds); err != nil {
		return core.HandlerReport{}, err
	}
	kind, body, err := x.Receive()
	if err != nil {
		return core.HandlerReport{}, err
	}
	if kind == kindFailure {
		return core.HandlerReport{}, failure(body)
	}
	return report(body)
}

func report(body []byte) (core.HandlerReport, error) {
	var told struct {
		Took    float64            `json:"took"`    // s
		Modules map[string]float64 `json:"modules"` // s
		Threads int                `json:"threads"`
		Loaded  []string           `json:"loaded"`
		Sets    []string           `json:"sets"`
	}
	if err := json.Unmarshal(body, &told); err != nil || told.Threads < 1 {
		return core.HandlerReport{}, broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance reported its import in a way that cannot be read: %.100q", body)}
	}
	r := core.HandlerReport{Report: core.Report{Took: seconds(told.Took), Threads: told.Threads, Loaded: told.Loaded, Modules: make(map[string]time.Duration, len(told.Modules))}, Sets: told.Sets}
	for name, took := range told.Modules {
		r.Modules[name] = seconds(took)
	}
	return r, nil
}

func failure(body []byte) error {
	told := new(core.Error)
	if err := json.Unmarshal(body, told); err != nil || told.Kind == "" || told.Fault == "" {
		return broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance reported a failed import in a way that cannot be read: %.100q", body)}
	}
	if told.Exception != nil {
		told.Exception.Trim()
	}
	return told
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
