package sched

import (
	"errors"
	"os"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
)

// errRefused is the error for a part of a response that cannot be passed on.
var errRefused = errors.New("a part of the response cannot be passed on")

// part passes on a part of the response, and then answers the handler, which has waited meanwhile: it makes
// no more than the caller takes.
func (r *run) part(body []byte) error {
	part, err := endpoint.ReadPart(body)
	if err != nil {
		return err
	}
	if r.invocation.Stream == nil || r.begun == (part.Head != nil) && r.refused == nil {
		return core.Errorf(core.KindInternal, core.FaultDriver, "the instance sent a part of a response where none may be")
	}
	c, first, refused := r.opened(), r.refused == nil, r.refused
	if first {
		refused = r.pass(part)
	}
	if refused != nil && !time.Now().Before(r.deadline) {
		return os.ErrDeadlineExceeded // there is no time left, so that is why
	}
	r.refused = refused
	go c.answer(r.i, part.Number, nil, refused) // who reads from the instance does not wait for its other answers
	if first && refused != nil {
		return errRefused
	}
	return nil
}

// pass passes on a part, the first one with the head of the response.
func (r *run) pass(part endpoint.Part) error {
	stream, most := r.invocation.Stream, r.p.fn.Limits.Stream
	if most == 0 {
		most = core.DefaultLimits().Stream
	}
	if part.Head != nil {
		result := r.known
		result.Phases.Handler = time.Since(r.began)
		result.Phases.Total += result.Phases.Handler
		if err := stream.Begin(part.Head, result); err != nil {
			return err
		}
		r.begun = true
	}
	if r.passed += int64(len(part.Bytes)); r.passed > most {
		return core.Errorf(core.KindTooLarge, core.FaultHandler,
			"the response of %s has more than the %d MB that stream_mb allows; deploy it with more, or send less", r.p.fn.Name, most>>20)
	}
	return stream.Write(r.calls.ctx, part.Bytes)
}
