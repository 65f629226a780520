package supply

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// count returns how often a method of the driver was called.
func (w *world) count(method drivertest.Method) (n int) {
	for _, c := range w.Calls() {
		if c.Method == method {
			n++
		}
	}
	return n
}

// must deploys a function, which has to go well.
func (w *world) must(t testing.TB, name, needs string, change ...func(*core.DeployRequest)) core.Function {
	t.Helper()
	fn, err := w.deploy(t, name, needs, change...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return fn
}

// expect fails unless the error is of that kind and fault and says all of this.
func expect(t testing.TB, err error, kind core.Kind, fault core.Fault, says ...string) {
	t.Helper()
	e := core.AsError(err)
	if err == nil || e.Kind != kind || e.Fault != fault {
		t.Fatalf("%v, want %s by the %s", err, kind, fault)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

// A deploy goes through its steps in order, and each version replaces the one before.
func TestDeploy(t *testing.T) { inWorld(t, nil, testDeploy) }

func testDeploy(t *testing.T, w *world) {
	w.needs(locked("p", "1"))
	var steps []string
	request := core.DeployRequest{Name: "f", Archive: archive(t, map[string]string{"needs.txt": "p"})}
	fn, err := w.Deploy(t.Context(), request, func(p core.Progress) {
		if step := p.Verb + " " + p.Item; len(steps) == 0 || steps[len(steps)-1] != step {
			steps = append(steps, step)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"resolve f", "install f", "install p==1", "install f", "import f"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	if fn.Version != 1 || fn.Runtime != "lang1" || fn.Handler != "handler.handler" || len(fn.Packages) != 1 || !fn.Watched {
		t.Errorf("%+v", fn)
	}
	synctest.Wait()
	if was := w.was("preload", "correct"); !slices.Equal(was, []string{"try f 1", "drain f but [1]"}) {
		t.Errorf("what lives was asked %q", was)
	}
	if fn := w.must(t, "f", "p"); fn.Version != 2 || w.count(drivertest.Install) != 1 {
		t.Errorf("%+v", fn)
	}
	if was := w.was("preload", "try", "correct"); !slices.Equal(was, []string{"drain f but [2]"}) {
		t.Errorf("what lives was asked %q", was)
	}
	all, err := w.Functions(t.Context())
	if err != nil || len(all) != 1 || all[0].Version != 2 {
		t.Errorf("%+v, %v", all, err)
	}
}

// A deploy that fails in any step leaves the function as it was, and nothing of its own.
func TestFailedDeploy(t *testing.T) {
	broken := core.Errorf(core.KindInstall, core.FaultCaller, "broken")
	for _, test := range []struct {
		step string
		fail func(w *world)
		kind core.Kind
		says string
	}{
		{"resolve", func(w *world) { w.Arrange(drivertest.Resolve, drivertest.Behaviour{Err: broken}) }, core.KindInstall, "broken"},
		{"install", func(w *world) { w.Arrange(drivertest.Install, drivertest.Behaviour{Err: broken}) }, core.KindInstall, "broken"},
		{"import", func(w *world) {
			w.words = "I am broken"
			w.trial = func(fn *core.Function, _ bool) (Trial, error) {
				config := core.SandboxConfig{Role: core.RoleInstance, Function: fn.Name, Version: fn.Version}
				for _, text := range []string{"no, ", "no"} {
					w.Collect(config, strings.NewReader(text))
				}
				return Trial{}, core.Errorf(core.KindException, core.FaultHandler, "no such module")
			}
		}, core.KindImport, "it printed: no, no"},
		{"driver", func(w *world) { w.down = core.Errorf(core.KindUnavailable, core.FaultDriver, "dead") }, core.KindUnavailable, "dead"},
	} {
		t.Run(test.step, func(t *testing.T) {
			inWorld(t, nil, func(t *testing.T, w *world) {
				before := w.must(t, "f", "")
				synctest.Wait()
				w.needs(locked("p", "1"))
				w.set(func() { test.fail(w) })
				w.was()
				_, err := w.deploy(t, "f", "p")
				expect(t, err, test.kind, core.AsError(err).Fault, test.says)
				if fn, _ := w.store.Get("f"); fn.Version != before.Version || fn.Code != before.Code {
					t.Errorf("it is %+v, was %+v", fn, before)
				}
				notes := w.was("try", "drain f but [1]")
				if len(notes) != 1 || !strings.HasPrefix(notes[0], "note f: a deploy failed: ") || !strings.Contains(notes[0], test.says) {
					t.Errorf("what lives was asked %q", notes)
				}
				if w.claims.deploys() || len(w.claims.packaging) > 0 {
					t.Error("its name or its packages are kept")
				}
			})
		})
	}
}

// A trial that the worker could not make is no reason against the function, and one that the caller has given
// up is no deploy.
func TestTrial(t *testing.T) { inWorld(t, nil, testTrial) }

func testTrial(t *testing.T, w *world) {
	w.needs(locked("p", "1"))
	w.trial = func(*core.Function, bool) (Trial, error) {
		return Trial{}, core.Errorf(core.KindExhausted, core.FaultWorker, "no memory")
	}
	var warned []string
	request := core.DeployRequest{Name: "f", Archive: archive(t, map[string]string{"needs.txt": "p"})}
	fn, err := w.Deploy(t.Context(), request, func(p core.Progress) {
		if p.Verb == core.VerbWarn {
			warned = append(warned, p.Detail)
		}
	})
	if err != nil || fn.Watched || !slices.Equal(fn.Changes, []string{core.AllVariables}) {
		t.Errorf("%+v, %v", fn, err)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "could not be tried: no memory") {
		t.Errorf("warned of %q", warned)
	}
	synctest.Wait() // until it has been tried once more, in vain
	w.trial = func(*core.Function, bool) (Trial, error) {
		t.Error("by force, and tried")
		return Trial{}, nil
	}
	if fn = w.must(t, "g", "", func(r *core.DeployRequest) { r.Force = true }); !fn.Watched {
		t.Errorf("it imports nothing: %+v", fn)
	}
	synctest.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	w.trial = func(*core.Function, bool) (Trial, error) {
		cancel()
		return Trial{}, core.Errorf(core.KindCanceled, core.FaultCaller, "gone")
	}
	if _, err := w.Deploy(ctx, core.DeployRequest{Name: "h", Archive: archive(t, nil)}, nil); !core.IsKind(err, core.KindCanceled) {
		t.Errorf("given up: %v", err)
	}
	if _, is := w.store.Get("h"); is {
		t.Error("what was given up is deployed")
	}
}

// With something imported ahead a trial is made once more with nothing ahead, when it raises.
func TestTrialAlone(t *testing.T) {
	raises := core.Errorf(core.KindException, core.FaultHandler, "raised")
	for _, test := range []struct {
		name         string
		ahead, alone error
		sets, more   []string // with something ahead, and more without
		tries        int
		kind         core.Kind // of the deploy's error
	}{
		{"well", nil, nil, nil, nil, 1, ""},
		{"raises with what is ahead", raises, nil, nil, []string{"MODE"}, 2, ""},
		{"raises in any case", raises, raises, nil, nil, 2, core.KindImport},
		{"sets a variable that nothing ahead looks at", nil, raises, []string{"MODE"}, nil, 1, ""},
		{"prepares for what is ahead", nil, nil, []string{"=p"}, []string{"=q"}, 2, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, nil, func(t *testing.T, w *world) {
				tries := 0
				w.trial = func(_ *core.Function, alone bool) (Trial, error) {
					if tries++; alone {
						return Trial{HandlerReport: core.HandlerReport{Sets: slices.Concat(test.sets, test.more)}}, test.alone
					}
					return Trial{HandlerReport: core.HandlerReport{Sets: test.sets}, Ahead: true}, test.ahead
				}
				w.needs(locked("p", "1"))
				fn, err := w.deploy(t, "f", "p")
				if tries != test.tries || test.kind == "" && err != nil || test.kind != "" && !core.IsKind(err, test.kind) {
					t.Fatalf("%d trials, %v", tries, err)
				}
				want := test.sets
				if tries > 1 {
					want = slices.Concat(want, test.more)
				}
				if err == nil && !slices.Equal(fn.Changes, want) {
					t.Errorf("it changes %q, want %q", fn.Changes, want)
				}
			})
		})
	}
}

// A package that two functions have is installed once, however they come, and the second lock of the same
// manifest is the first one.
func TestDeploysShare(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.needs(locked("p", "1"), locked("q", "2"))
		w.during = func(drivertest.Method) { time.Sleep(time.Second) } // everything of one goes on beside the others
		functions := make([]core.Function, 3)
		var all sync.WaitGroup
		for i, name := range []string{"a", "b", "c"} {
			all.Go(func() {
				var err error
				if functions[i], err = w.deploy(t, name, "p q"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := w.count(drivertest.Install); n != 1 {
			t.Errorf("installed %d times", n)
		}
		for _, fn := range functions {
			if len(fn.Packages) != 2 || !slices.Equal(fn.Packages, functions[0].Packages) || fn.Version != 1 {
				t.Errorf("%+v", fn)
			}
		}
	})
}

// An installation that fails leaves its packages to the deploy that waits for them; one that is given up
// waits no longer.
func TestClaimedPackages(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.needs(locked("p", "1"))
		w.during = func(m drivertest.Method) {
			if m == drivertest.Install {
				time.Sleep(time.Minute)
			}
		}
		w.Arrange(drivertest.Install, drivertest.Behaviour{Times: 1, Err: core.Errorf(core.KindInstall, core.FaultCaller, "broken")})
		var first, second, third error
		var all sync.WaitGroup
		all.Go(func() { _, first = w.deploy(t, "first", "p") })
		synctest.Wait()
		all.Go(func() { _, second = w.deploy(t, "second", "p") })
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		all.Go(func() {
			_, third = w.Deploy(ctx, core.DeployRequest{Name: "third", Archive: archive(t, map[string]string{"needs.txt": "p"})}, nil)
		})
		began := time.Now()
		all.Wait()
		expect(t, first, core.KindInstall, core.FaultCaller, "broken")
		if second != nil || !errors.Is(third, context.DeadlineExceeded) || time.Since(began) < 2*time.Minute {
			t.Errorf("%v, %v after %v", second, third, time.Since(began))
		}
		if n := w.count(drivertest.Install); n != 2 {
			t.Errorf("installed %d times", n)
		}
	})
}

// Of a name there is one deploy or removal at a time; another one is refused at once, and may be tried again.
func TestOneDeployOfAName(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.must(t, "f", "")
		w.during = func(drivertest.Method) { time.Sleep(time.Minute) }
		var first error
		var all sync.WaitGroup
		all.Go(func() { _, first = w.deploy(t, "f", "") })
		synctest.Wait()
		_, second := w.deploy(t, "f", "")
		for _, err := range []error{second, w.Remove(t.Context(), "f")} {
			expect(t, err, core.KindConflict, core.FaultCaller, `another deploy or removal of "f" is under way`)
			if !core.AsError(err).Retryable {
				t.Errorf("%v may be tried again", err)
			}
		}
		all.Wait()
		if fn, _ := w.store.Get("f"); first != nil || fn.Version != 2 {
			t.Errorf("%+v, %v", fn, first)
		}
		if err := w.Remove(t.Context(), "f"); err != nil {
			t.Error(err)
		}
		expect(t, w.Remove(t.Context(), "f"), core.KindNotFound, core.FaultCaller, `no function "f"`)
		if fn := w.must(t, "f", ""); fn.Version != 3 {
			t.Errorf("after a removal its versions begin again: %d", fn.Version)
		}
	})
}

// What only zygotes without use have left is collected when they have ended, and not before.
func TestCollectAfterSwitch(t *testing.T) {
	inWorld(t, func(c *Config) { c.PackageAge = time.Nanosecond }, func(t *testing.T, w *world) {
		w.Start()
		w.needs(locked("p", "1"))
		fn := w.must(t, "f", "p")
		digest := fn.Packages[0].Digest
		w.set(func() { w.used[digest], w.ends["f"] = true, make(chan struct{}) })
		if err := w.Remove(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
		there := func() bool {
			synctest.Wait()
			_, ok := w.store.Find("lang1", fn.Packages[0])
			return ok
		}
		if time.Sleep(90 * time.Minute); !there() {
			t.Fatal("the package of a zygote that lives is gone")
		}
		w.set(func() { delete(w.used, digest) })
		close(w.ends["f"])
		if there() {
			t.Error("the package of nobody is still there")
		}
	})
}

// A deploy that fails with much to say says the beginning of it in the worker's log, and the function's log
// gets all of it.
func TestRefusedAtLength(t *testing.T) {
	w := newWorld(t, nil)
	put(t, w, "f", "")
	b := w.newBatch("", nil)
	b.function = "f"
	b.end(core.Errorf(core.KindInstall, core.FaultCaller, "%s", strings.Repeat("error\n", 100000)))
	if w.log.Len() > 2*maxRefusal || !strings.Contains(w.log.String(), "bytes left out") {
		t.Errorf("%d bytes in the worker's log", w.log.Len())
	}
	if notes := w.was(); len(notes) != 1 || !strings.HasPrefix(notes[0], "note f: a deploy failed: error\nerror\n") {
		t.Errorf("in the function's log: %.1000q", notes)
	}
}
