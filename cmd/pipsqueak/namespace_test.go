package main

import (
	"context"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// spaces are the namespaces of a world.
type spaces map[string]core.NamespaceSpec

func (s spaces) Namespaces(context.Context) (all []core.NamespaceInfo, err error) {
	for _, spec := range s {
		all = append(all, core.NamespaceInfo{NamespaceSpec: spec, Used: core.Quotas{Functions: 1, Memory: 512 << 20}, Refused: map[string]uint64{core.QuotaEvents: 3}})
	}
	return all, nil
}
func (s spaces) CreateNamespace(_ context.Context, spec core.NamespaceSpec) error {
	s[spec.Name] = spec
	return nil
}
func (s spaces) SetNamespace(ctx context.Context, spec core.NamespaceSpec) error {
	if _, known := s[spec.Name]; !known {
		return core.Errorf(core.KindNotFound, core.FaultCaller, "there is no namespace %q", spec.Name)
	}
	return s.CreateNamespace(ctx, spec)
}
func (s spaces) RemoveNamespace(_ context.Context, name string) error {
	delete(s, name)
	return nil
}

func TestNamespaceCommands(t *testing.T) {
	known := spaces{}
	service := newWorld().service()
	service.Namespaces = known
	server := serving(service)
	defer server.Close()
	run := func(args ...string) ran {
		return runAt(t.Context(), &program{wide: true}, server.URL, "", append([]string{"namespace"}, args...)...)
	}
	run("create", "team", "--functions", "2", "--instances", "3", "--memory", "1G", "--events", "4", "--disk", "2G", "--isolated").want(t, 0, "made the namespace team\n", "")
	want := core.NamespaceSpec{Name: "team", Isolated: true, Quotas: core.Quotas{Functions: 2, Instances: 3, Memory: 1 << 30, Events: 4, Disk: 2 << 30}}
	if known["team"] != want {
		t.Errorf("%+v", known["team"])
	}
	run("set", "team", "--events", "0", "--functions", "5").want(t, 0, "changed the namespace team\n", "")
	want.Quotas.Events, want.Quotas.Functions = 0, 5
	if known["team"] != want {
		t.Errorf("what was not named has changed too: %+v", known["team"])
	}
	run("set", "none", "--events", "1").want(t, 1, "", "pipsqueak: there is no namespace \"none\"\n")
	if got := run("list"); got.status != 0 || !strings.Contains(strings.Join(strings.Fields(got.out), " "), "team yes 1/5 0/3 512.0 MiB/1.0 GiB 0 B/2.0 GiB - events_per_second 3") {
		t.Errorf("%+v", got)
	}
	if got := run("list", "-o", "json"); !strings.Contains(got.out, `"events_per_second": 3`) {
		t.Errorf("%+v", got)
	}
	run("remove", "team").want(t, 0, "removed the namespace team\n", "")
	if len(known) > 0 {
		t.Errorf("%v", known)
	}
}
