package v1

import (
	"context"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// spaces is a Namespaces that knows one namespace, and what it was told last.
type spaces struct {
	told core.NamespaceSpec
	gone string
}

func (s *spaces) Namespaces(context.Context) ([]core.NamespaceInfo, error) {
	return []core.NamespaceInfo{{NamespaceSpec: core.NamespaceSpec{Name: "team", Quotas: core.Quotas{Instances: 3, Events: 7}}, Used: core.Quotas{Instances: 2},
		Refused: map[string]uint64{core.QuotaEvents: 5}}}, nil
}
func (s *spaces) CreateNamespace(_ context.Context, spec core.NamespaceSpec) error {
	s.told = spec
	return core.ValidNamespaceSpec(spec)
}
func (s *spaces) SetNamespace(_ context.Context, spec core.NamespaceSpec) error {
	s.told = spec
	return nil
}
func (s *spaces) RemoveNamespace(_ context.Context, name string) error {
	s.gone = name
	return nil
}

func TestNamespaces(t *testing.T) {
	known := &spaces{}
	functions := func(context.Context) ([]core.Function, error) {
		return []core.Function{{Name: "a"}, {Name: "b.team"}, {Name: "c.other"}}, nil
	}
	service := (&fakeService{invoke: echo, functions: functions}).service()
	service.Namespaces = known
	url := serveParts(t, service).URL
	quotas := core.Quotas{Functions: 1, Instances: 2, Memory: 3, Events: 4, Disk: 5}
	body := `{"isolated":true,"quotas":{"functions":1,"instances":2,"memory":3,"events_per_second":4,"disk":5}}`
	if a := ask(t, "PUT", url+"/v1/namespaces/team", body); a.status != 200 || known.told != (core.NamespaceSpec{Name: "team", Isolated: true, Quotas: quotas}) {
		t.Errorf("set: %d %s, %+v", a.status, a.body, known.told)
	}
	for _, c := range []struct {
		method, path, body, in string
		status                 int
	}{
		{"POST", "/v1/namespaces", `{"name":"new"}`, `"name":"new"`, 201},
		{"POST", "/v1/namespaces", `{"name":"New"}`, "cannot be the name of a namespace", 400},
		{"POST", "/v1/namespaces", `{"name":"new","quotas":{"disk":-1}}`, "is negative", 400},
		{"POST", "/v1/namespaces", `{"name":"new","quota":{}}`, "cannot be understood", 400},
		{"POST", "/v1/namespaces", `{"name":"new"}{"name":"other"}`, "something follows the first value", 400},
		{"POST", "/v1/namespaces", `{"name":"new"}]`, "cannot be understood", 400},
		{"POST", "/v1/namespaces", `{"name":"new"} ` + "\n", `"name":"new"`, 201},
		{"PUT", "/v1/namespaces/team", `{"name":"other"}`, "the body", 400},
		{"GET", "/v1/namespaces", "", `"refused":{"events_per_second":5}`, 200},
		{"GET", "/v1/functions?namespace=team", "", `[{"name":"b.team"`, 200},
		{"GET", "/v1/functions?namespace=default", "", `[{"name":"a"`, 200},
		{"GET", "/metrics", "", `pipsqueak_namespace_used{namespace="team",quota="instances"} 2`, 200},
		{"GET", "/metrics", "", `pipsqueak_namespace_quota{namespace="team",quota="instances"} 3`, 200},
		{"GET", "/metrics", "", `pipsqueak_namespace_refused_total{namespace="team",quota="events_per_second"} 5`, 200},
		{"DELETE", "/v1/namespaces/team", "", "", 204},
	} {
		if a := ask(t, c.method, url+c.path, c.body); a.status != c.status || !strings.Contains(a.body, c.in) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, a.status, a.body)
		}
	}
	if known.gone != "team" {
		t.Errorf("%q was removed", known.gone)
	}
}
