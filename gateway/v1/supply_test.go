package v1

import (
	"context"
	"encoding/base64"
	"io"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// fakeSupply is a fakeService that knows of what functions are made.
type fakeSupply struct{ fakeService }

func (f *fakeSupply) Bill(_ context.Context, name string, format core.BillFormat) ([]byte, error) {
	if name != "hello" {
		return nil, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q", name)
	}
	return []byte(format), nil
}

func (f *fakeSupply) Vulnerabilities(_ context.Context, name string) (core.VulnerabilityReport, error) {
	if name != "hello" {
		return core.VulnerabilityReport{}, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no function %q", name)
	}
	return core.VulnerabilityReport{Vulnerabilities: []core.Vulnerability{{Package: "a==1", IDs: []string{"CVE-1"}, Severity: core.SeverityLow}}, Unchecked: []string{}}, nil
}

func (f *fakeSupply) service() core.Service {
	service := f.fakeService.service()
	service.Bills = f
	service.Vulnerabilities = f
	return service
}

func TestSupply(t *testing.T) {
	with, without := serve(t, &fakeSupply{}).URL, serve(t, &fakeService{}).URL
	for _, test := range []struct {
		url, method, accept, body, media string
		status                           int
	}{
		{with + "/v1/functions/hello/sbom", "GET", "", "cyclonedx-json", "application/vnd.cyclonedx+json; version=1.6", 200},
		{with + "/v1/functions/hello/sbom", "GET", "*/*", "cyclonedx-json", "application/vnd.cyclonedx+json; version=1.6", 200},
		{with + "/v1/functions/hello/sbom", "GET", "application/vnd.cyclonedx+xml", "cyclonedx-xml", "application/vnd.cyclonedx+xml; version=1.6", 200},
		{with + "/v1/functions/hello/sbom", "GET", "application/vnd.cyclonedx+xml, application/vnd.cyclonedx+json", "cyclonedx-json", "application/vnd.cyclonedx+json; version=1.6", 200},
		{with + "/v1/functions/hello/sbom", "POST", "", "", "application/json", 405},
		{with + "/v1/functions/nobody/sbom", "GET", "", "", "application/json", 404},
		{with + "/v1/functions/a%2Fb/sbom", "GET", "", "", "application/json", 400},
		{without + "/v1/functions/hello/sbom", "GET", "", "", "application/json", 501},
		{with + "/v1/functions/hello/vulnerabilities", "GET", "",
			`{"checked":"0001-01-01T00:00:00Z","vulnerabilities":[{"package":"a==1","ids":["CVE-1"],"severity":"low"}],"unchecked":[]}` + "\n", "application/json", 200},
		{with + "/v1/functions/nobody/vulnerabilities", "GET", "", "", "application/json", 404},
		{with + "/v1/functions/a%2Fb/vulnerabilities", "GET", "", "", "application/json", 400},
		{without + "/v1/functions/hello/vulnerabilities", "GET", "", "", "application/json", 501},
	} {
		a := ask(t, test.method, test.url, "", "Accept: "+test.accept)
		if a.status != test.status || a.header.Get("Content-Type") != test.media || test.body != "" && a.body != test.body {
			t.Errorf("%s %s (%s): %d %s %s", test.method, test.url, test.accept, a.status, a.header.Get("Content-Type"), a.body)
		}
	}
}

func TestSignatureHeader(t *testing.T) {
	var got []byte
	url := serve(t, &fakeService{deploy: func(_ context.Context, r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
		got = r.Signature
		_, err := io.Copy(io.Discard, r.Archive)
		return core.Function{Name: "hello", Version: 1}, err
	}}).URL
	for header, status := range map[string]int{"": 201, base64.StdEncoding.EncodeToString([]byte(`{"a":1}`)): 201, "{}": 400} {
		got = nil
		a := ask(t, "PUT", url+"/v1/functions/hello", "archive", "Pipsqueak-Signature: "+header)
		if a.status != status || status == 201 && base64.StdEncoding.EncodeToString(got) != header || status == 400 && got != nil {
			t.Errorf("%q: %d, the service saw %q", header, a.status, got)
		}
	}
}
