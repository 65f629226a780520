package v1

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// deployer reads the archive, reports it in two steps, and ends as its fields say.
func deployer(version, replaced int, fails error) *fakeService {
	return &fakeService{deploy: func(_ context.Context, r core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
		if progress != nil {
			progress(core.Progress{Verb: "deploy", Item: "archive"})
		}
		n, err := io.Copy(io.Discard, r.Archive)
		if err != nil {
			return core.Function{}, err
		}
		if progress != nil {
			progress(core.Progress{Verb: "deploy", Item: "archive", Done: n, Total: n})
		}
		name := r.Name
		if name == "" {
			name = "from-manifest"
		}
		return core.Function{Name: name, Version: version, Replaced: replaced}, fails
	}}
}

func TestDeploy(t *testing.T) {
	for _, test := range []struct {
		method, path string
		version      int
		replaced     int
		status       int
		name         string
	}{
		{"PUT", "/v1/functions/hello", 1, 0, 201, "hello"},
		{"PUT", "/v1/functions/hello", 2, 1, 200, "hello"},
		{"PUT", "/v1/functions/hello", 4, 0, 201, "hello"}, // after a removal
		{"POST", "/v1/functions", 1, 0, 201, "from-manifest"},
		{"POST", "/v1/functions", 9, 8, 200, "from-manifest"},
	} {
		a := ask(t, test.method, serve(t, deployer(test.version, test.replaced, nil)).URL+test.path, "archive")
		var f core.Function
		if err := json.Unmarshal([]byte(a.body), &f); err != nil || a.status != test.status || f.Name != test.name || f.Version != test.version {
			t.Errorf("%s %s v%d: %d %s", test.method, test.path, test.version, a.status, a.body)
		}
		if got := a.header.Get("Location"); (got != "") != (test.status == 201) {
			t.Errorf("Location %q", got)
		}
	}
}

// What the author of the code did wrong is a bad request of who deploys it, and not a bad answer.
func TestDeployErrors(t *testing.T) {
	for _, test := range []struct {
		kind   core.Kind
		fault  core.Fault
		status int
	}{
		{core.KindInvalid, core.FaultCaller, 400}, {core.KindInvalid, core.FaultHandler, 400},
		{core.KindTooLarge, core.FaultHandler, 413}, {core.KindInstall, core.FaultHandler, 422},
		{core.KindInstall, core.FaultWorker, 503}, {core.KindException, core.FaultHandler, 422}, {core.KindImport, core.FaultHandler, 422},
		{core.KindConflict, core.FaultCaller, 409}, {core.KindUnavailable, core.FaultDriver, 503},
	} {
		fails := &core.Error{Kind: test.kind, Fault: test.fault, Message: "no"}
		a := ask(t, "PUT", serve(t, deployer(1, 0, fails)).URL+"/v1/functions/f", "archive")
		if e := a.failure(t); a.status != test.status || e.Kind != test.kind || e.Fault != test.fault {
			t.Errorf("%s/%s: %d %s", test.kind, test.fault, a.status, a.body)
		}
	}
}

// The parameters of a deploy reach the service; what is none of their values is refused.
func TestDeployOptions(t *testing.T) {
	var got core.DeployRequest
	service := &fakeService{deploy: func(_ context.Context, r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
		got = r
		return core.Function{Name: r.Name}, nil
	}}
	url := serve(t, service).URL + "/v1/functions/f"
	for query, want := range map[string]core.DeployRequest{
		"": {}, "?force=true": {Force: true}, "?anew=true&force=false": {Again: true}, "?wait=ready": {Ready: true}, "?wait=deployed": {},
	} {
		if a := ask(t, "PUT", url+query, "archive"); a.status != 201 || got.Force != want.Force || got.Again != want.Again || got.Ready != want.Ready {
			t.Errorf("%s: %d, %+v", query, a.status, got)
		}
	}
	for _, query := range []string{"?force=yes", "?anew=1", "?wait=long"} {
		if a := ask(t, "PUT", url+query, "archive"); a.status != 400 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestDeployStream(t *testing.T) {
	// Smaller than what net/http throws away of a body when the answer begins: the first line must not end
	// the reading of it.
	archive := strings.Repeat("x", 100_000)
	const progress = `{"progress":{"verb":"deploy","item":"archive","done":0,"total":0,"detail":""}}
{"progress":{"verb":"deploy","item":"archive","done":100000,"total":100000,"detail":""}}
`
	broken := core.Errorf(core.KindInstall, core.FaultHandler, "no such package")
	for name, test := range map[string]struct {
		fails error
		last  string
	}{
		"function": {nil, `{"function":{"name":"f",`},
		"error":    {broken, `{"error":{"kind":"install","message":"no such package","fault":"handler"}}` + "\n"},
		"panic":    {errors.New("plain"), `{"error":{"kind":"internal","message":"plain","fault":"worker"}}` + "\n"},
	} {
		a := ask(t, "PUT", serve(t, deployer(1, 0, test.fails)).URL+"/v1/functions/f", archive, "Accept: application/json;q=0.1, application/x-ndjson")
		last, ok := strings.CutPrefix(a.body, progress)
		if a.status != 200 || !ok || !strings.HasPrefix(last, test.last) || strings.Count(last, "\n") != 1 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if got := a.header.Get("Content-Type"); got != ndjson {
			t.Errorf("%s: Content-Type %q", name, got)
		}
	}
}

func TestDeployStreamWithoutProgress(t *testing.T) {
	var fails error
	service := &fakeService{deploy: func(context.Context, core.DeployRequest, func(core.Progress)) (core.Function, error) {
		return core.Function{Name: "f", Version: 1}, fails
	}}
	url := serve(t, service).URL + "/v1/functions/f"
	if a := ask(t, "PUT", url, "x", "Accept: application/x-ndjson"); a.status != 201 || !strings.HasPrefix(a.body, `{"function":`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	fails = core.Errorf(core.KindInvalid, core.FaultCaller, "not an archive")
	if a := ask(t, "PUT", url, "x", "Accept: application/x-ndjson"); a.status != 400 || a.failure(t).Kind != core.KindInvalid {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// An upload that is refused early is answered, also when the rest of it is still on its way.
func TestDeployRefusedEarly(t *testing.T) {
	url := serve(t, &fakeService{deploy: func(context.Context, core.DeployRequest, func(core.Progress)) (core.Function, error) {
		return core.Function{}, core.Errorf(core.KindTooLarge, core.FaultCaller, "too large")
	}}).URL
	request, _ := http.NewRequest("PUT", url+"/v1/functions/f", io.LimitReader(endless{}, 64<<20))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 413 {
		t.Errorf("status %d", response.StatusCode)
	}
}
