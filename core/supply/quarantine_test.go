package supply

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// spoil changes a byte of the only file of a function's package.
func (w *world) spoil(t *testing.T, fn core.Function) {
	t.Helper()
	path, err := w.store.PackagePath(fn.Runtime, fn.Packages[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(path, "x")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[0] ^= 1
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// damage verifies everything, and returns the one damage that there is.
func (w *world) damage(t *testing.T) core.Damage {
	t.Helper()
	verified, err := w.Packages().Verify(t.Context(), core.VerifyRequest{}, nil)
	if err != nil || len(verified.Damaged) != 1 {
		t.Fatalf("%+v, %v", verified, err)
	}
	return verified.Damaged[0]
}

// used is a world in which a function has a damaged package.
func used(t *testing.T, w *world) core.Function {
	t.Helper()
	w.needs(locked("p", "1"))
	fn := w.must(t, "f", "p")
	synctest.Wait()
	w.spoil(t, fn)
	w.was()
	return fn
}

// A damaged package is kept from everybody, installed once more as it was, and given back.
func TestReinstall(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		fn := used(t, w)
		w.set(func() {
			w.during = func(drivertest.Method) {
				if err := w.store.Refused(fn.Runtime, fn.Code, fn.Packages); !core.IsKind(err, core.KindUnavailable) {
					t.Errorf("while it is damaged: %v", err)
				}
			}
		})
		d := w.damage(t)
		if !d.Repaired || d.Package != "p==1" || !slices.Equal(d.Functions, []string{"f"}) || d.Outcome != "it was installed again" {
			t.Errorf("%+v", d)
		}
		if err := w.store.Refused(fn.Runtime, fn.Code, fn.Packages); err != nil {
			t.Errorf("when it is whole: %v", err)
		}
		if was := w.was("preload", "try", "correct"); !slices.Equal(was, []string{"expel " + fn.Packages[0].Digest}) {
			t.Errorf("what lives was asked %q", was)
		}
		if now, _ := w.store.Get("f"); now.Version != 1 {
			t.Errorf("%+v", now)
		}
	})
}

// A package that has other files each time that it is installed takes the place of the damaged one, in a
// version of its own.
func TestExchange(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		fn := used(t, w)
		w.set(func() { w.files = func(p core.Locked) string { return "other files of " + p.Name } })
		if d := w.damage(t); !d.Repaired {
			t.Errorf("%+v", d)
		}
		synctest.Wait()
		now, _ := w.store.Get("f")
		if now.Version != 2 || now.Replaced != 1 || now.Packages[0].Digest == fn.Packages[0].Digest || now.Code != fn.Code {
			t.Errorf("%+v", now)
		}
		if was := w.was("preload", "try", "correct", "expel"); !slices.Equal(was, []string{"drain f but [2]"}) {
			t.Errorf("what lives was asked %q", was)
		}
	})
}

// While a function is being deployed nobody exchanges its package; who asked is told what to do, and nothing
// is kept afterwards.
func TestExchangeBesideDeploy(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		fn := used(t, w)
		w.set(func() { w.files = func(core.Locked) string { return "other files" } })
		done, err := w.claims.name("f")
		if err != nil {
			t.Fatal(err)
		}
		d := w.damage(t)
		if d.Repaired || !strings.Contains(d.Outcome, "f cannot have them: another deploy") || !strings.Contains(d.Outcome, "deploy it again") {
			t.Errorf("%+v", d)
		}
		if now, _ := w.store.Get("f"); now.Version != 1 || now.Packages[0] != fn.Packages[0] {
			t.Errorf("%+v", now)
		}
		done()
		if now := w.must(t, "f", "p"); now.Version != 2 || now.Packages[0] == fn.Packages[0] {
			t.Errorf("deployed again it is %+v", now)
		}
	})
}

// A package that cannot be installed stays in quarantine, is tried again now and then, and functions go on
// when that succeeds.
func TestMendLater(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		fn := used(t, w)
		w.set(func() { w.down = core.Errorf(core.KindUnavailable, core.FaultDriver, "no network") })
		if d := w.damage(t); d.Repaired || !strings.Contains(d.Outcome, "no network") {
			t.Errorf("%+v", d)
		}
		w.Start()
		time.Sleep(2*collectEvery + time.Minute)
		if err := w.store.Refused(fn.Runtime, fn.Code, fn.Packages); err == nil {
			t.Error("it is out of quarantine")
		}
		w.set(func() { w.down = nil })
		time.Sleep(collectEvery)
		synctest.Wait()
		if err := w.store.Refused(fn.Runtime, fn.Code, fn.Packages); err != nil {
			t.Error(err)
		}
		if !strings.Contains(w.log.String(), `outcome="it `) {
			t.Error("the log does not say so")
		}
	})
}

// A function that is removed while its package is being installed once more has no use of it, and leaves it
// to be collected.
func TestMendBesideRemoval(t *testing.T) {
	inWorld(t, func(c *Config) { c.PackageAge = time.Minute }, func(t *testing.T, w *world) {
		fn := used(t, w)
		w.set(func() {
			w.during = func(drivertest.Method) {
				if err := w.Remove(t.Context(), "f"); err != nil {
					t.Error(err)
				}
			}
		})
		w.damage(t)
		if got, _ := w.Functions(t.Context()); len(got) > 0 {
			t.Errorf("there are %+v", got)
		}
		w.set(func() { w.used[fn.Packages[0].Digest] = true })
		w.Start()
		time.Sleep(collectEvery + time.Minute)
		w.set(func() { w.used = nil })
		time.Sleep(collectEvery)
		synctest.Wait()
		if _, ok := w.store.Find(fn.Runtime, fn.Packages[0]); ok || len(w.store.Damaged()) > 0 {
			t.Errorf("it is there: %v; damaged are %v", ok, w.store.Damaged())
		}
	})
}

// Nobody is asked to repair the code of a function: only its author has it.
func TestDamagedCode(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		fn := w.must(t, "f", "")
		synctest.Wait()
		path, err := w.store.CodePath(fn.Code)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "handler.x"), []byte("evil"), 0o644); err != nil {
			t.Fatal(err)
		}
		w.was()
		if d := w.damage(t); d.Repaired || !strings.Contains(d.Outcome, "deploy f again") {
			t.Errorf("%+v", d)
		}
		if was := w.was("try", "preload"); !slices.Equal(was, []string{"drain f but []"}) {
			t.Errorf("what lives was asked %q", was)
		}
		w.must(t, "f", "")
		if now, _ := w.store.Get("f"); w.store.Refused(now.Runtime, now.Code, now.Packages) != nil {
			t.Error("what was deployed again is refused")
		}
	})
}

// A rule ends what has the package, refuses deploys of it, and lets them through when it is taken back.
func TestForbidden(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.needs(locked("p", "1"))
		fn := w.must(t, "f", "p")
		synctest.Wait()
		w.was()
		rule := core.Forbidden{Name: "p", Reason: "it is evil"}
		covered, err := w.Packages().Quarantine(t.Context(), rule)
		if err != nil || len(covered) != 1 || covered[0].Package != fn.Packages[0] {
			t.Errorf("%+v, %v", covered, err)
		}
		if was := w.was(); !slices.Equal(was, []string{"expel " + fn.Packages[0].Digest}) {
			t.Errorf("what lives was asked %q", was)
		}
		_, err = w.deploy(t, "g", "p")
		expect(t, err, core.AsError(err).Kind, core.AsError(err).Fault, "it is evil")
		if inventory, err := w.Packages().Inventory(t.Context()); err != nil || len(inventory.Forbidden) != 1 || len(inventory.Packages) != 1 ||
			!slices.Equal(inventory.Packages[0].Functions, []string{"f"}) || inventory.Size != inventory.Packages[0].Size {
			t.Errorf("%+v, %v", inventory, err)
		}
		rule.Reason = ""
		if _, err := w.Packages().Quarantine(t.Context(), rule); err != nil {
			t.Error(err)
		}
		w.must(t, "g", "p")
	})
}

// A verification reads what it is asked for, and says what there is not.
func TestVerify(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.needs(locked("p", "1"), locked("q", "2"))
		w.must(t, "f", "p q")
		for _, test := range []struct {
			packages []string
			trees    int
		}{{nil, 3}, {[]string{"p"}, 1}, {[]string{"q==2", "p"}, 2}} {
			steps := 0
			verified, err := w.Packages().Verify(t.Context(), core.VerifyRequest{Packages: test.packages}, func(core.Progress) { steps++ })
			if err != nil || verified.Trees != test.trees || steps != test.trees || len(verified.Damaged) > 0 {
				t.Errorf("%q: %+v in %d steps, %v", test.packages, verified, steps, err)
			}
		}
		for _, request := range []core.VerifyRequest{{Packages: []string{"nobody"}}, {Packages: []string{""}}, {Sample: 101}, {Sample: -1}} {
			if _, err := w.Packages().Verify(t.Context(), request, nil); !core.IsKind(err, core.KindNotFound) && !core.IsKind(err, core.KindInvalid) {
				t.Errorf("%+v: %v", request, err)
			}
		}
		of, err := w.Packages().PackagesOf(t.Context(), "f")
		if err != nil || len(of) != 2 || of[0].String() != "p==1" || of[1].Receipt.Modules[0] != "q" {
			t.Errorf("%+v, %v", of, err)
		}
		_, err = w.Packages().PackagesOf(t.Context(), "nobody")
		expect(t, err, core.KindNotFound, core.FaultCaller)
	})
}
