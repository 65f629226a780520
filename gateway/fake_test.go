package gateway

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// invoker is an Invoker, and with an empty tree all that a gateway without an API needs.
type invoker func(context.Context, core.Invocation) (core.Result, error)

func (f invoker) Invoke(ctx context.Context, i core.Invocation) (core.Result, error) {
	return f(ctx, i)
}

// Admit admits all functions but those called none.
func (f invoker) Admit(function, _ string) error {
	if function == "none" {
		return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q", function)
	}
	return nil
}

// Public is true of those whose names begin with public.
func (f invoker) Public(function string) bool { return strings.HasPrefix(function, "public") }

func (f invoker) Snapshot(context.Context) (core.Snapshot, error) { return core.Snapshot{}, nil }

// echo answers with the event.
func echo(_ context.Context, i core.Invocation) (core.Result, error) {
	return core.Result{Body: append([]byte(nil), i.Event...), Start: core.StartWarm, Language: "python"}, nil
}

// newGateway returns a Gateway with the least of an API: events at /run/<name>, and at /bodies what reads a
// body to its end.
func newGateway(invoke invoker) *Gateway {
	g := New(core.Service{Invoker: invoke, Tree: invoke}, slog.New(slog.DiscardHandler))
	g.Events("/run/", func(w http.ResponseWriter, r *http.Request, name string) {
		id := RequestID(r.Header)
		result, err := g.Invoke(w, r, name, id, ReadJSON, nil)
		Describe(w.Header(), id, result)
		if err != nil {
			g.Fail(w, r, err)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(result.Body)))
		_, _ = w.Write(result.Body)
	})
	g.Route("/bodies", Methods{http.MethodPut: All(core.ScopeDeploy, func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	})})
	return g
}

// ask sends a request on a connection of its own, and returns the status and the error of the answer.
func ask(t *testing.T, method, url, body string) (int, core.Error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var told struct{ Error core.Error }
	if err := json.NewDecoder(response.Body).Decode(&told); err != nil && response.StatusCode >= 400 {
		t.Fatalf("status %d, and no JSON: %v", response.StatusCode, err)
	}
	return response.StatusCode, told.Error
}
