package v1

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

func TestMetrics(t *testing.T) {
	server := serve(t, &fakeService{
		invoke: func(_ context.Context, i core.Invocation) (core.Result, error) {
			return core.Result{Body: []byte("1"), Start: core.StartFork, Language: "ruby",
				Phases: core.Phases{Fork: 3 * time.Millisecond, Total: 5 * time.Millisecond}}, nil
		},
		snapshot: func(context.Context) (core.Snapshot, error) {
			return core.Snapshot{Memory: 1000, Budget: 2000,
				Nodes: []core.NodeInfo{{Role: core.RoleZygote, Runtime: "ruby3.1"}, {Role: core.RoleInstance, Runtime: "ruby3.1"}, {Role: core.RoleInstance, Runtime: "ruby3.1"}},
				Drivers: []core.DriverInfo{
					{Description: core.Description{Language: "ruby"}, Restarts: 2}, {Description: core.Description{Language: "ruby"}, Restarts: 1},
				}}, nil
		},
	})
	for range 3 {
		ask(t, "POST", server.URL+"/run/f", "")
	}
	ask(t, "POST", server.URL+"/run/f", "{")
	got := ask(t, "GET", server.URL+"/metrics", "").body
	for _, line := range []string{
		`pipsqueak_invocations_total{kind="ok",language="ruby",start="fork"} 3`,
		`pipsqueak_invocations_total{kind="invalid",language="none",start="none"} 1`,
		`pipsqueak_phase_seconds_bucket{language="ruby",phase="fork",start="fork",le="0.002"} 0`,
		`pipsqueak_phase_seconds_bucket{language="ruby",phase="fork",start="fork",le="0.004"} 3`,
		`pipsqueak_phase_seconds_count{language="ruby",phase="total",start="fork"} 3`,
		`pipsqueak_phase_seconds_count{language="ruby",phase="import",start="fork"} 0`,
		`pipsqueak_nodes{role="instance",runtime="ruby3.1"} 2`,
		`pipsqueak_nodes{role="zygote",runtime="ruby3.1"} 1`,
		`pipsqueak_memory_bytes 1000`,
		`pipsqueak_memory_budget_bytes 2000`,
		`pipsqueak_driver_restarts_total{language="ruby"} 3`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(got) {
			if strings.HasPrefix(line, "pipsqueak_") {
				t.Log(line)
			}
		}
	}
}

func TestMetricsWithoutSnapshot(t *testing.T) {
	server := serve(t, &fakeService{invoke: echo, snapshot: func(context.Context) (core.Snapshot, error) {
		return core.Snapshot{}, core.Errorf(core.KindUnavailable, core.FaultWorker, "not now")
	}})
	ask(t, "POST", server.URL+"/run/f", "")
	if a := ask(t, "GET", server.URL+"/metrics", ""); a.status != 200 || !strings.Contains(a.body, "pipsqueak_invocations_total") {
		t.Errorf("status %d, %s", a.status, gateway.Clip(a.body))
	}
}

// unready is a Health that one language is missing from.
type unready struct{ parts map[string]string }

func (u unready) Readiness() core.Readiness { return core.NewReadiness(maps.Clone(u.parts)) }

func TestReadyz(t *testing.T) {
	service := (&fakeService{invoke: echo}).service()
	for body, parts := range map[string]map[string]string{
		`{"ready":true,"parts":{"disk":"","draining":"","ruby":""}}`:                    {"disk": "", "ruby": ""},
		`{"ready":false,"parts":{"disk":"","draining":"","ruby":"its driver is gone"}}`: {"disk": "", "ruby": "its driver is gone"},
	} {
		service.Health = unready{parts}
		url := serveParts(t, service).URL
		status, metric := 200, `pipsqueak_ready{part="ruby"} 1`
		if parts["ruby"] != "" {
			status, metric = 503, `pipsqueak_ready{part="ruby"} 0`
		}
		if a := ask(t, "GET", url+"/readyz", ""); a.status != status || strings.TrimSpace(a.body) != body {
			t.Errorf("%d %s; want %s", a.status, a.body, body)
		}
		if got := ask(t, "GET", url+"/metrics", "").body; !strings.Contains(got, metric+"\n") {
			t.Errorf("missing: %s", metric)
		}
	}
	if a := ask(t, "GET", serve(t, &fakeService{invoke: echo}).URL+"/readyz", ""); a.status != 200 {
		t.Errorf("a service that does not know: %d %s", a.status, a.body)
	}
}
