package v1

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A failure in a log is one line, in text with all that is known of it in lines that are indented.
func TestFailureInALog(t *testing.T) {
	line, err := json.Marshal(core.LogLine{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Function: "f", Request: "r1", Stream: "worker", Text: "raised E: no\nnever",
		Failure: &core.Failure{Kind: core.KindException, Fault: core.FaultHandler, Exception: &core.Exception{Type: "E", Message: "no\nnever", Stack: []string{"a.x:1"},
			Causes: []core.Cause{{Relation: core.RelationContext, Exception: core.Exception{Type: "F", Message: "why", Stack: []string{"b.x:2"}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, &fakeLogs{logs: func(context.Context, string, core.LogQuery) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(line) + "\n")), nil
	}}).URL
	const want = "2026-01-02T03:04:05.000Z r1 - worker raised E: no\n    never\n    a.x:1\n    raised while handling F: why\n        b.x:2\n"
	if got := ask(t, "GET", url+"/v1/functions/f/logs", "", "Accept: text/plain").body; got != want {
		t.Errorf("%s", got)
	}
	if got := ask(t, "GET", url+"/v1/functions/f/logs", "").body; !strings.Contains(got, `"error":{"kind":"exception","fault":"handler","exception":{"type":"E"`) || strings.Count(got, "\n") != 1 {
		t.Errorf("%s", got)
	}
}

func TestLogQuery(t *testing.T) {
	var got core.LogQuery
	url := serve(t, &fakeLogs{logs: func(_ context.Context, _ string, query core.LogQuery) (io.ReadCloser, error) {
		got = query
		return io.NopCloser(strings.NewReader("")), nil
	}}).URL + "/v1/functions/f/logs"
	for asked, want := range map[string]core.LogQuery{
		"":                     {Tail: core.AllLines},
		"?tail=0&errors=false": {},
		"?tail=5&errors=true&follow=1&request=a%26b": {Tail: 5, Errors: true, Follow: true, Request: "a&b"},
		"?since=2026-01-02T03:04:05.25%2B01:00":      {Tail: core.AllLines, Since: time.Date(2026, 1, 2, 2, 4, 5, 25e7, time.UTC)},
	} {
		if a := ask(t, "GET", url+asked, ""); a.status != 200 || !got.Since.Equal(want.Since) {
			t.Errorf("%s: %d %+v", asked, a.status, got)
		}
		if got.Since = want.Since; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", asked, got)
		}
	}
	ask(t, "GET", url+"?since=10m", "")
	if ago := time.Since(got.Since); ago < 10*time.Minute || ago > 11*time.Minute {
		t.Errorf("10m ago is %v", got.Since)
	}
	for _, asked := range []string{"tail=-1", "tail=many", "since=yesterday", "errors=perhaps", "follow=maybe"} {
		if a := ask(t, "GET", url+"?"+asked, ""); a.status != 400 || !strings.Contains(a.failure(t).Message, asked) {
			t.Errorf("%s: %d %s", asked, a.status, a.body)
		}
	}
}

// counting is a service that counts.
type counting struct {
	fakeService
	counted []core.FunctionCount
}

func (c *counting) Counted() []core.FunctionCount { return c.counted }

func (c *counting) service() core.Service {
	service := c.fakeService.service()
	service.Counter = c
	return service
}

func TestFunctionMetrics(t *testing.T) {
	service := &counting{counted: []core.FunctionCount{
		{Function: "f", Kinds: map[core.Kind]uint64{core.KindNone: 3, core.KindException: 2}, Starts: map[core.Start]uint64{core.StartWarm: 4, core.StartCold: 1},
			Buckets: []uint64{2, 0, 0, 2, 0, 0, 0, 0, 1}, Took: 90 * time.Second},
		{Function: core.OtherFunctions, Kinds: map[core.Kind]uint64{core.KindTimeout: 7}, Buckets: make([]uint64, 9)},
	}}
	service.invoke = echo
	server := serve(t, service)
	ask(t, "POST", server.URL+"/run/f", "")
	got := ask(t, "GET", server.URL+"/metrics", "").body
	for _, line := range []string{
		`pipsqueak_function_events_total{function="f",kind="ok"} 3`,
		`pipsqueak_function_events_total{function="f",kind="exception"} 2`,
		`pipsqueak_function_events_total{function="(other)",kind="timeout"} 7`,
		`pipsqueak_function_starts_total{function="f",start="warm"} 4`,
		`pipsqueak_function_event_seconds_bucket{function="f",le="0.001"} 2`,
		`pipsqueak_function_event_seconds_bucket{function="f",le="0.1"} 4`,
		`pipsqueak_function_event_seconds_bucket{function="f",le="30"} 4`,
		`pipsqueak_function_event_seconds_bucket{function="f",le="+Inf"} 5`,
		`pipsqueak_function_event_seconds_sum{function="f"} 90`,
		`pipsqueak_function_event_seconds_count{function="f"} 5`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// TestEvents: each event has a line, whatever became of it, when that is asked for.
func TestEvents(t *testing.T) {
	var log bytes.Buffer
	service := &fakeService{invoke: func(_ context.Context, i core.Invocation) (core.Result, error) {
		result := core.Result{Start: core.StartFork, Version: 3, Phases: core.Phases{Total: 5 * time.Millisecond}}
		if i.Function == "fails" {
			return result, core.Errorf(core.KindTimeout, core.FaultHandler, "too long")
		}
		result.Body = []byte(`"answer"`)
		return result, nil
	}}
	g := open(service.service(), slog.New(slog.NewTextHandler(&log, nil)))
	server := httptest.NewServer(g)
	defer server.Close()
	ask(t, "POST", server.URL+"/run/f", "1", "X-Request-Id: before")
	if log.Len() > 0 {
		t.Errorf("a line that nobody has asked for: %s", log.String())
	}
	g.LogEvents()
	ask(t, "POST", server.URL+"/run/f", "12345", "X-Request-Id: r1")
	a := ask(t, "POST", server.URL+"/run/fails", "", "X-Request-Id: r2")
	ask(t, "POST", server.URL+"/run/f", "{", "X-Request-Id: r3")
	ask(t, "GET", server.URL+"/healthz", "")
	lines := strings.Split(log.String(), "\n")
	if len(lines) != 4 || len(a.body) == 0 {
		t.Fatalf("%q", lines)
	}
	for i, want := range []string{
		`msg=event fn=f version=3 request=r1 start=fork took=5ms kind=ok status=200 in=5 out=8`,
		`msg=event fn=fails version=3 request=r2 start=fork took=5ms kind=timeout status=504 in=0 out=`,
		`msg=event fn=f version=0 request=r3 start=none took=`,
	} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("%s\nwant %s", lines[i], want)
		}
	}
	if !strings.Contains(lines[2], "kind=invalid status=400 in=1 out=") || strings.HasSuffix(lines[1], "out=0") {
		t.Errorf("%q", lines)
	}
}
