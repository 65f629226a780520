package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// client talks to a server's HTTP API (docs/http.md). Its errors are *core.Error, as the server told them or about the way there.
type client struct {
	base   string
	header http.Header // of every request, besides what the client itself says
}

func (p *program) client() client {
	base := strings.TrimRight(p.server, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return client{base: base}
}

// send sends a request. The response has a status below 400 and is the caller's to close; with an error it may be not nil,
// then for its headers only.
func (c client) send(ctx context.Context, method, path, accept string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s is not the URL of a server, such as http://127.0.0.1:8080: %w", c.base, err)
	}
	maps.Copy(request.Header, c.header)
	request.Header.Set("Accept", accept)
	request.Header.Set("User-Agent", "pipsqueak")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if response.StatusCode < 400 {
		return response, nil
	}
	defer response.Body.Close()
	var told failure
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&told); err != nil || told.Error == nil {
		return response, core.Errorf(core.KindInternal, core.FaultWorker,
			"%s answered %s, and not as Pipsqueak does; is it the right --server?", c.base, response.Status)
	}
	return response, told.Error.asError()
}

// unreachable says why there was no answer.
func (c client) unreachable(err error) error {
	var e *core.Error
	if errors.As(err, &e) {
		return e // the body could not be made
	}
	var way *net.OpError
	if errors.As(err, &way) && way.Op == "dial" {
		return core.Errorf(core.KindUnavailable, core.FaultCaller,
			"no server answers at %s (%w); start one with 'sudo pipsqueak serve', or name another with --server or PIPSQUEAK_SERVER", c.base, way.Err)
	}
	var whole *url.Error
	if errors.As(err, &whole) {
		err = whole.Err
	}
	return core.Errorf(core.KindUnavailable, core.FaultWorker, "the server at %s gave no answer: %w", c.base, err)
}

// failure is an error as the server writes it.
type failure struct {
	Error *failureBody `json:"error"`
}

type failureBody struct {
	Kind      core.Kind       `json:"kind"`
	Message   string          `json:"message"`
	Fault     core.Fault      `json:"fault"`
	Retryable bool            `json:"retryable"`
	Exception *core.Exception `json:"exception"`
}

func (f *failureBody) asError() *core.Error {
	return &core.Error{Kind: f.Kind, Fault: f.Fault, Message: f.Message, Retryable: f.Retryable, Exception: f.Exception}
}

// get reads a JSON answer into value.
func (c client) get(ctx context.Context, path string, value any) error {
	response, err := c.send(ctx, http.MethodGet, path, "application/json", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return c.decode(response, value)
}

// decode reads the JSON of an answer into value.
func (c client) decode(response *http.Response, value any) error {
	if err := json.NewDecoder(response.Body).Decode(value); err != nil {
		return c.unreadable(err)
	}
	return nil
}

func (c client) unreadable(err error) error {
	return core.Errorf(core.KindUnavailable, core.FaultWorker, "the answer of %s broke off or is not Pipsqueak's: %w", c.base, err)
}

func functionPath(name string) string { return "/v1/functions/" + url.PathEscape(name) }

func (c client) functions(ctx context.Context) (functions []core.Function, err error) {
	return functions, c.get(ctx, "/v1/functions", &functions)
}

func (c client) function(ctx context.Context, name string) (function core.Function, err error) {
	return function, c.get(ctx, functionPath(name), &function)
}

func (c client) snapshot(ctx context.Context) (snapshot core.Snapshot, err error) {
	return snapshot, c.get(ctx, "/v1/tree", &snapshot)
}

func (c client) remove(ctx context.Context, name string) error {
	response, err := c.send(ctx, http.MethodDelete, functionPath(name), "application/json", nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// logQuery says which lines of a log are asked for, as core.LogQuery does.
type logQuery struct {
	follow, errors bool
	tail           int
	since          time.Time
	request        string
}

func (q logQuery) values() url.Values {
	v := url.Values{}
	if q.follow {
		v.Set("follow", "true")
	}
	if q.errors {
		v.Set("errors", "true")
	}
	if q.tail != core.AllLines {
		v.Set("tail", strconv.Itoa(q.tail))
	}
	if !q.since.IsZero() {
		v.Set("since", q.since.UTC().Format(time.RFC3339Nano))
	}
	if q.request != "" {
		v.Set("request", q.request)
	}
	return v
}

// logs copies the lines of a function's log that are asked for to out, with follow until the context ends.
func (c client) logs(ctx context.Context, name, accept string, query logQuery, out io.Writer) error {
	path := functionPath(name) + "/logs"
	if values := query.values(); len(values) > 0 {
		path += "?" + values.Encode()
	}
	response, err := c.send(ctx, http.MethodGet, path, accept, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(out, response.Body); err != nil {
		return c.unreadable(err)
	}
	return nil
}

// deploy sends an archive, under the name or, when that is empty, under the one in the archive's manifest. The query is the deploy's options.
func (c client) deploy(ctx context.Context, name string, query url.Values, archive io.Reader, progress func(core.Progress)) (core.Function, error) {
	method, path := http.MethodPost, "/v1/functions"
	if name != "" {
		method, path = http.MethodPut, functionPath(name)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	end, err := c.follow(ctx, method, path, archive, progress)
	if err != nil {
		return core.Function{}, err
	}
	return end.Function, nil
}

// lock has the packages of an archive resolved.
func (c client) lock(ctx context.Context, archive io.Reader, progress func(core.Progress)) (core.Lock, error) {
	end, err := c.follow(ctx, http.MethodPost, "/v1/locks", archive, progress)
	if err != nil {
		return core.Lock{}, err
	}
	return end.Lock, nil
}

// ending is the last line of a stream that tells of work: what came out of it.
type ending struct {
	Function    core.Function    `json:"function"`
	Lock        core.Lock        `json:"lock"`
	Verified    core.Verified    `json:"verified"`
	Application core.Application `json:"application"`
}

// follow sends an archive, and hears how far the work on it is.
func (c client) follow(ctx context.Context, method, path string, archive io.Reader, progress func(core.Progress)) (ending, error) {
	response, err := c.send(ctx, method, path, "application/x-ndjson", archive)
	if err != nil {
		return ending{}, err
	}
	defer response.Body.Close()
	for lines := json.NewDecoder(response.Body); ; {
		var line struct {
			failure
			ending
			Progress *core.Progress `json:"progress"`
		}
		if err := lines.Decode(&line); err != nil {
			return ending{}, c.unreadable(err)
		}
		switch {
		case line.Progress != nil:
			progress(*line.Progress)
		case line.Error != nil:
			return ending{}, line.Error.asError()
		default:
			return line.ending, nil
		}
	}
}

// invocation is what an event gave, and how.
type invocation struct {
	RequestID string          `json:"request_id"`
	Start     core.Start      `json:"start"`
	Phases    []phase         `json:"phases"`
	Result    json.RawMessage `json:"result"`
}

// phase is one entry of Server-Timing.
type phase struct {
	Name string  `json:"name"`
	Ms   float64 `json:"ms"`
}

// invoke sends an event. With an error of the server everything but the result is set.
func (c client) invoke(ctx context.Context, name string, event io.Reader) (invocation, error) {
	response, err := c.send(ctx, http.MethodPost, "/run/"+url.PathEscape(name), "application/json", event)
	if response == nil {
		return invocation{}, err
	}
	i := invocation{
		RequestID: response.Header.Get("X-Request-Id"),
		Start:     core.Start(response.Header.Get("Pipsqueak-Start")),
		Phases:    parseTiming(response.Header.Get("Server-Timing")),
	}
	if err != nil {
		return i, err
	}
	defer response.Body.Close()
	if i.Result, err = io.ReadAll(response.Body); err != nil {
		return i, c.unreadable(err)
	}
	return i, nil
}

// parseTiming reads a Server-Timing header, leaving out what it does not understand.
func parseTiming(header string) []phase {
	phases := []phase{}
	for entry := range strings.SplitSeq(header, ",") {
		name, took, found := strings.Cut(strings.TrimSpace(entry), ";dur=")
		if ms, err := strconv.ParseFloat(took, 64); found && err == nil {
			phases = append(phases, phase{name, ms})
		}
	}
	return phases
}

func (p phase) String() string { return fmt.Sprintf("%.3f ms", p.Ms) }
