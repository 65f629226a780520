package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Do namespaces keep tenants apart?

// namespace makes a namespace of the test's own.
func (w *worker) namespace(t testing.TB, spec core.NamespaceSpec) {
	t.Helper()
	if err := w.client().CreateNamespace(context.Background(), spec); err != nil {
		t.Fatal(err)
	}
}

// TestNamespaces uses one name in several namespaces, everywhere where a name is used, and calls from one to
// another.
func TestNamespaces(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	caller := files{"handler.py": "def handler(event, context):\n    print('in the log of', context.function_name)\n    return context.invoke(event, None) if event else context.function_name\n"}
	w.put(t, "same.one", caller).expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
	for _, name := range []string{"one", "two"} {
		w.namespace(t, core.NamespaceSpec{Name: name})
	}
	for _, name := range []string{"same", "same.one", "same.two", "only.two"} {
		w.deploy(t, name, caller)
		if got := result[string](t, w, name, `null`); got != name {
			t.Errorf("%s answers as %s", name, got)
		}
	}
	for from, want := range map[string]string{"same": "same", "same.one": "same.one", "same.two": "same.two"} {
		if got := result[string](t, w, from, `"same"`); got != want {
			t.Errorf("%s calls same, and gets %s", from, got)
		}
	}
	for _, name := range []string{"only.two", "none.two"} {
		a := w.run(t, "same.one", fmt.Sprintf("%q", name))
		if a.status == http.StatusOK || !strings.Contains(string(a.body), "its own namespace alone") {
			t.Errorf("same.one calls %s: %v", name, a)
		}
	}
	if log := string(w.ask(t, http.MethodGet, "/v1/functions/same.two/logs", nil).body); !strings.Contains(log, "in the log of same.two") || strings.Contains(log, "same.one") {
		t.Errorf("the log of same.two is %s", log)
	}
	if functions, err := w.client().FunctionsIn(context.Background(), "two"); err != nil || len(functions) != 2 {
		t.Errorf("two has %v, %v", functions, err)
	}
	if text := string(w.ask(t, http.MethodGet, "/metrics", nil).body); !strings.Contains(text, `pipsqueak_function_events_total{function="same.two",kind="ok"}`) {
		t.Error("no metrics of same.two")
	}
	if err := w.client().Remove(context.Background(), "same.two"); err != nil {
		t.Fatal(err)
	}
	w.run(t, "same.two", `null`).expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
	result[string](t, w, "same.one", `null`)
	if err := w.client().RemoveNamespace(context.Background(), "two"); !core.IsKind(err, core.KindConflict) {
		t.Errorf("a namespace with a function is removed: %v", err)
	}
}

// TestQuotas exceeds each quota of a namespace, while another one goes on.
func TestQuotas(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	w.namespace(t, core.NamespaceSpec{Name: "small", Quotas: core.Quotas{Functions: 2, Instances: 2, Disk: 1 << 20}})
	w.namespace(t, core.NamespaceSpec{Name: "slow", Quotas: core.Quotas{Events: 2}})
	w.deploy(t, "free", handlerFile(sleeper))
	w.deploy(t, "a.small", handlerFile(sleeper))
	w.deploy(t, "b.small", handlerFile(sleeper))
	expectQuota := func(a answer, told string) {
		t.Helper()
		if e := a.expectError(t, core.KindExhausted, core.FaultCaller, http.StatusTooManyRequests); !strings.Contains(e.Message, told) {
			t.Errorf("%v; want %q", e.Message, told)
		}
	}
	expectQuota(w.put(t, "c.small", handlerFile(sleeper)), "2 functions")
	expectQuota(w.put(t, "b.small", handlerFile(sleeper).with("data.bin", strings.Repeat("x", 2<<20))), "1 MiB of code")
	w.deploy(t, "b.small", handlerFile(sleeper)) // it may still be replaced

	pending := []<-chan answer{inFlight(t, w, "a.small", `{"s": 12}`), inFlight(t, w, "b.small", `{"s": 12}`)}
	expectQuota(w.run(t, "a.small", `{"s": 0}`), "2 instances")
	result[string](t, w, "free", `{"s": 0}`)
	for _, one := range pending {
		if a := <-one; a.status != http.StatusOK {
			t.Errorf("an event within the quota: %v", a)
		}
	}
	result[string](t, w, "b.small", `{"s": 0}`) // an idle instance of the other one ends for it, if need be

	w.deploy(t, "f.slow", handlerFile(sleeper))
	refused := 0
	for range 10 {
		if a := w.run(t, "f.slow", `{"s": 0}`); a.status != http.StatusOK {
			expectQuota(a, "2 events a second")
			refused++
			if a.header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
			}
		}
	}
	if refused == 0 {
		t.Error("ten events at once are none too many")
	}
	all, err := w.client().Namespaces(context.Background())
	if err != nil || len(all) != 3 || all[2].Name != "small" || all[2].Refused["functions"] != 1 || all[2].Refused["disk"] != 1 || all[2].Refused["instances"] != 1 ||
		all[2].Used.Functions != 2 || all[1].Refused["events_per_second"] != uint64(refused) {
		t.Errorf("%+v, %v", all, err)
	}
	if text := string(w.ask(t, http.MethodGet, "/metrics", nil).body); !strings.Contains(text, `pipsqueak_namespace_refused_total{namespace="small",quota="disk"} 1`) {
		t.Error("the metrics do not count it")
	}
}

// TestIsolatedNamespace has functions of three namespaces import the same package. Those of the isolated one
// come from zygotes of its own.
func TestIsolatedNamespace(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	w.namespace(t, core.NamespaceSpec{Name: "alone", Isolated: true})
	w.namespace(t, core.NamespaceSpec{Name: "team"})
	for _, name := range []string{"f", "f.team", "f.alone", "g.alone"} {
		w.deploy(t, name, handlerFile("import six\n"+sleeper).with("requirements.txt", "six==1.17.0\n").with("pipsqueak.yaml", "reuse: false\n"))
		forkStart(t, w, name, `{"s": 0}`)
	}
	var pending []<-chan answer
	for _, name := range []string{"f", "f.team", "f.alone", "g.alone"} {
		pending = append(pending, inFlight(t, w, name, `{"s": 3}`))
	}
	time.Sleep(time.Second)
	nodes, zygotes := map[core.NodeID]core.NodeInfo{}, map[string]map[core.NodeID]bool{}
	snapshot := w.snapshot(t).Nodes
	for _, n := range snapshot {
		nodes[n.ID] = n
	}
	for _, n := range snapshot {
		if n.Role != core.RoleInstance {
			continue
		}
		namespace := core.Namespace(n.Function)
		for parent, ok := nodes[n.Parent]; ok; parent, ok = nodes[parent.Parent] {
			if len(parent.Set) == 0 {
				continue // a root zygote
			}
			if zygotes[namespace] == nil {
				zygotes[namespace] = map[core.NodeID]bool{}
			}
			zygotes[namespace][parent.ID] = true
		}
	}
	for id := range zygotes["alone"] {
		if zygotes["default"][id] || zygotes["team"][id] || nodes[id].Namespace != "alone" {
			t.Errorf("the zygote %+v is shared", nodes[id])
		}
	}
	if len(zygotes["alone"]) != 1 || len(zygotes["default"]) != 1 || len(zygotes["team"]) != 1 {
		t.Errorf("zygotes by namespace: %v", zygotes)
	}
	for id := range zygotes["default"] {
		if !zygotes["team"][id] {
			t.Error("namespaces that are not isolated share no zygote")
		}
	}
	for _, one := range pending {
		<-one
	}
	if err := w.client().SetNamespace(context.Background(), core.NamespaceSpec{Name: "alone"}); !core.IsKind(err, core.KindConflict) {
		t.Errorf("the isolation of a namespace with functions changes: %v", err)
	}
}

// BenchmarkNamespaces measures starts and warm events of one namespace while another one floods the worker:
// with events for many functions, each of which needs an instance of its own, with warm events, and with
// events that are refused. The clients of the flood have a third of one processor in a cgroup of their own,
// and who measures does not wait for a processor: both would be on other machines. Quiet and flood alternate.
func BenchmarkNamespaces(b *testing.B) {
	w := startWorker(b, b.TempDir())
	for _, spec := range []core.NamespaceSpec{{Name: "quiet"}, {Name: "loud"}, {Name: "bounded", Quotas: core.Quotas{Events: 1}}} {
		w.namespace(b, spec)
	}
	fresh := handlerFile(echo).with("pipsqueak.yaml", "reuse: false\n")
	w.deploy(b, "fork.quiet", fresh)
	w.deploy(b, "warm.quiet", handlerFile(echo))
	w.deploy(b, "warm.loud", handlerFile(echo))
	w.deploy(b, "refused.bounded", handlerFile(echo))
	const functions = 8
	for i := range functions {
		w.deploy(b, fmt.Sprintf("fork%d.loud", i), fresh)
	}
	unhindered(b)
	for _, flood := range []struct{ what, path string }{
		{"have 8 functions forked", fmt.Sprintf(`"/run/fork" .. i %% %d .. ".loud"`, functions)},
		{"send warm events", `"/run/warm.loud"`},
		{"are refused", `"/run/refused.bounded"`},
	} {
		for _, name := range []string{"fork.quiet", "warm.quiet"} {
			b.Run(name+" beside clients that "+flood.what, func(b *testing.B) {
				var quiet, busy samples
				measure := func() samples {
					post := func() {
						a, err := w.do(context.Background(), http.MethodPost, "/run/"+name, strings.NewReader(`{"a": 1}`))
						if err != nil || a.status != http.StatusOK {
							b.Fatal(a, err)
						}
					}
					take(20, 0, post)
					return take(200, 10*time.Millisecond, post)
				}
				for range 5 {
					quiet = append(quiet, measure()...)
					stop := flooded(b, w.url, flood.path)
					busy = append(busy, measure()...)
					stop()
				}
				times := float64(busy.at(0.99)) / float64(quiet.at(0.99))
				report(b, name+" beside 32 clients of another namespace that "+flood.what, fmt.Sprintf("%v, p99 %.1f times", busy, times),
					"quiet: "+quiet.String(), "p99 ≤ 2 times", times <= 2)
			})
		}
	}
}
