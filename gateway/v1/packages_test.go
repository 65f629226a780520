package v1

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// fakePackages is a fakeService with one package.
type fakePackages struct {
	fakeService
	asked core.VerifyRequest
	older time.Duration
}

var six = core.Installed{Package: core.Package{Name: "@s/six", Version: "1", Digest: "sha256:6"}, Runtime: "fake1", Size: 7}

func (f *fakePackages) Inventory(context.Context) (core.Inventory, error) {
	return core.Inventory{Packages: []core.Stored{{Installed: six, Functions: []string{"f"}}}, Size: 7, Age: time.Hour}, nil
}
func (f *fakePackages) PackagesOf(_ context.Context, name string) ([]core.Installed, error) {
	if name != "f" {
		return nil, nil
	}
	return []core.Installed{six}, nil
}
func (f *fakePackages) Verify(_ context.Context, r core.VerifyRequest, progress func(core.Progress)) (core.Verified, error) {
	f.asked = r
	if progress != nil {
		progress(core.Progress{Verb: "verify", Item: "six"})
	}
	return core.Verified{Trees: 1, Damaged: []core.Damage{}}, nil
}
func (f *fakePackages) Quarantine(_ context.Context, rule core.Forbidden) ([]core.Installed, error) {
	p := six
	p.Name, p.Version, p.Quarantine = rule.Name, rule.Versions, rule.Reason
	return []core.Installed{p}, nil
}
func (f *fakePackages) Collect(_ context.Context, older time.Duration) ([]core.Installed, error) {
	f.older = older
	return nil, nil
}

func (f *fakePackages) service() core.Service {
	service := f.fakeService.service()
	service.Packages = f
	return service
}

func TestPackages(t *testing.T) {
	service := &fakePackages{}
	server := serve(t, service)
	tests := []struct {
		method, path, body string
		status             int
		word               string
	}{
		{"GET", "/v1/packages", "", 200, `"functions":["f"]`},
		{"GET", "/v1/functions/f/packages", "", 200, `"name":"@s/six"`},
		{"GET", "/v1/functions/g/packages", "", 200, `[]`},
		{"POST", "/v1/packages/verify", "", 200, `"damaged":[]`},
		{"POST", "/v1/packages/verify", `{"packages":["six"],"sample":10}`, 200, `"trees":1`},
		{"POST", "/v1/packages/verify", `{"package":["six"]}`, 400, `unknown field`},
		{"POST", "/v1/packages/verify", `[`, 400, `docs/http.md`},
		{"POST", "/v1/packages/verify", `{"packages":["` + strings.Repeat("x", maxQuestion) + `"]}`, 413, `bytes`},
		{"POST", "/v1/packages/quarantine", `{"name":"@s/six","version":"1","reason":"CVE-1"}`, 200, `"quarantine":"CVE-1"`},
		{"POST", "/v1/packages/quarantine", `{"name":"@s/six","version":"1"}`, 400, `reason`},
		{"POST", "/v1/packages/release", `{"name":"@s/six","version":"1"}`, 200, `"version":"1"`},
		{"POST", "/v1/packages/collect", `{"older_than":-1}`, 400, `negative`},
		{"POST", "/v1/packages/collect", ``, 200, `[]`},
		{"DELETE", "/v1/packages", "", 405, `GET`},
	}
	for _, test := range tests {
		got := ask(t, test.method, server.URL+test.path, test.body)
		if got.status != test.status || !strings.Contains(got.body, test.word) {
			t.Errorf("%s %s %.60s: %d %.200s, want %d and %s", test.method, test.path, test.body, got.status, got.body, test.status, test.word)
		}
	}
	if service.older != time.Hour {
		t.Errorf("without an age, what was unused for %v was collected", service.older)
	}
	if len(service.asked.Packages) != 1 || service.asked.Sample != 10 {
		t.Errorf("asked to verify %+v", service.asked)
	}
	stream := ask(t, "POST", server.URL+"/v1/packages/verify", "", "Accept: "+ndjson)
	if lines := strings.Split(strings.TrimSpace(stream.body), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[0], `{"progress"`) || !strings.HasPrefix(lines[1], `{"verified"`) {
		t.Errorf("a stream of %q", stream.body)
	}
	if got := ask(t, http.MethodGet, serve(t, &fakeService{}).URL+"/v1/packages", ""); got.status != 404 {
		t.Errorf("a service without packages answers %d", got.status)
	}
}
