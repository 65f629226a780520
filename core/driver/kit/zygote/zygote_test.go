package zygote

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

func TestForksAndImports(t *testing.T) {
	d := newDriver(t)
	_, f := root(t, d, "root")
	go f.serve()
	path, names := gate(t)
	var all sync.WaitGroup
	var nodes []core.NodeID
	for i := range 16 {
		id := core.NodeID(fmt.Sprint("n", i))
		nodes = append(nodes, id)
		all.Go(func() {
			if err := d.Fork(t.Context(), id, "root", core.Door{ID: id, Gate: path}); err != nil {
				t.Error(err)
			}
			for range 2 {
				r, err := d.Import(t.Context(), id, core.Load{Modules: []string{"m"}})
				if err != nil || r.Took != 500*time.Millisecond || r.Modules["m"] != 250*time.Millisecond || r.Threads != 1 {
					t.Errorf("%+v, %v", r, err)
				}
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for range 16 {
		seen[<-names] = true
	}
	if len(seen) != 16 || !seen["n7"] {
		t.Errorf("at the gate: %v", seen)
	}
	mustKnow(t, d, append(nodes, "root")...)
}

// TestSeen: the driver adds to a report what the library sees in the process, and all when it sees nothing. A
// loop that watches is asked nothing.
func TestSeen(t *testing.T) {
	const report = `{"took":0.5,"modules":{},"threads":1,"reads":["A"],"asks":["*"]}`
	for name, c := range map[string]struct {
		watches     bool
		parked      string
		says        []string
		reads, asks string
	}{
		"seen":       {false, `{"parked":true,"sees":true}`, []string{`{"sees":true}`, report, `{"sees":true,"reads":["A","B"],"asks":["./c"]}`}, "[A B]", "[* ./c]"},
		"not seen":   {false, parked, []string{report}, "[* A]", "[* ./]"},
		"by itself":  {true, `{"parked":true,"sees":true}`, []string{report}, "[A]", "[*]"},
		"lost sight": {false, `{"parked":true,"sees":true}`, []string{`{}`}, "[]", "[]"},
	} {
		d := newDriver(t)
		d.language.Watches = c.watches
		p, f := root(t, d, "root")
		f.say(c.parked)
		if err := p.park(t.Context()); err != nil {
			t.Fatal(err)
		}
		heard := make(chan string, len(c.says))
		go func() {
			for _, says := range c.says {
				r, _, _ := f.hear()
				heard <- r.Op
				f.say(says)
			}
		}()
		r, err := d.Import(t.Context(), "root", core.Load{Watch: true})
		if lost := name == "lost sight"; lost != (err != nil) || fmt.Sprint(r.Reads) != c.reads || fmt.Sprint(r.Asks) != c.asks {
			t.Errorf("%s: the report has %q and %q, %v", name, r.Reads, r.Asks, err)
		}
		var ops []string
		for range c.says {
			ops = append(ops, <-heard)
		}
		if want := map[int]string{1: "import", 3: "look import looked"}[len(ops)]; strings.Join(ops, " ") != want && name != "lost sight" {
			t.Errorf("%s: it was asked to %q, want %q", name, ops, want)
		}
	}
}

// A process that says the wrong thing, or nothing, at each of the three times when it has to speak.
func TestBadAnswers(t *testing.T) {
	tests := []struct {
		name, says string // "" ends the process
		kind       core.Kind
		fault      core.Fault
		part       string
	}{
		{"garbage", "}{", core.KindInternal, core.FaultDriver, "cannot be understood"},
		{"oversized", `{"parked":true,"forked":true,"threads":1}` + strings.Repeat(" ", launch.MaxPacket), core.KindInternal, core.FaultDriver, "over 131072 bytes"},
		{"something else", `{"took":1}`, core.KindInternal, core.FaultDriver, "should have said"},
		{"error", `{"error":{"kind":"exhausted","fault":"worker","message":"no pids"}}`, core.KindExhausted, core.FaultWorker, "no pids"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDriver(t)
			path, _ := gate(t)
			first, f := root(t, d, "first")
			f.say(test.says)
			mustBe(t, first.park(t.Context()), test.kind, test.fault, test.part)
			d.forget(first)

			_, forker := parkedRoot(t, d)
			go func() { forker.hear(); forker.say(test.says) }()
			mustBe(t, d.Fork(t.Context(), "n", "root", core.Door{ID: "n", Gate: path}), test.kind, test.fault, test.part)
			if test.name == "error" {
				mustKnow(t, d, "root") // it said why it could not, and can again
			} else {
				mustKnow(t, d)
			}

			d = newDriver(t)
			_, importer := parkedRoot(t, d)
			go func() { importer.hear(); importer.say(test.says) }()
			_, err := d.Import(t.Context(), "root", core.Load{})
			mustBe(t, err, test.kind, test.fault, test.part)
			mustKnow(t, d)
		})
	}
}

func TestProcessEnds(t *testing.T) {
	path, _ := gate(t)
	box := core.Door{ID: "n", Gate: path}
	t.Run("before it is parked", func(t *testing.T) {
		d := newDriver(t)
		p, f := root(t, d, "root")
		f.conn.Close()
		mustBe(t, p.park(t.Context()), core.KindUnavailable, core.FaultDriver, "before it stood")
		mustKnow(t, d)
	})
	t.Run("idle", func(t *testing.T) {
		d := newDriver(t)
		_, f := parkedRoot(t, d)
		f.conn.Close()
		mustKnow(t, d)
		mustBe(t, d.Fork(t.Context(), "n", "root", box), core.KindUnavailable, core.FaultWorker, "root")
	})
	t.Run("in a fork", func(t *testing.T) {
		d := newDriver(t)
		_, f := parkedRoot(t, d)
		go func() { f.hear(); f.conn.Close() }()
		mustBe(t, d.Fork(t.Context(), "n", "root", box), core.KindUnavailable, core.FaultWorker, "root has ended")
		mustKnow(t, d)
	})
	t.Run("child", func(t *testing.T) {
		d := newDriver(t)
		_, f := parkedRoot(t, d)
		go func() {
			_, files, _ := f.hear()
			for _, file := range files {
				file.Close()
			}
			f.say(forked)
		}()
		mustBe(t, d.Fork(t.Context(), "n", "root", box), core.KindUnavailable, core.FaultDriver, "n ended before it stood")
		mustKnow(t, d, "root")
	})
	t.Run("in an import", func(t *testing.T) {
		d := newDriver(t)
		_, f := parkedRoot(t, d)
		go func() { f.hear(); f.conn.Close() }()
		_, err := d.Import(t.Context(), "root", core.Load{})
		mustBe(t, err, core.KindExit, core.FaultHandler, "root ended while it imported")
		mustKnow(t, d)
	})
}

// Who gives up must neither take the zygote from the others nor leave them his answer.
func TestLateAnswer(t *testing.T) {
	d := newDriver(t)
	path, _ := gate(t)
	_, f := parkedRoot(t, d)
	mustBe(t, d.Fork(brief(t), "late", "root", core.Door{ID: "late", Gate: path}), core.KindTimeout, core.FaultDriver, "root")
	mustBe(t, d.Fork(brief(t), "queued", "root", core.Door{ID: "queued", Gate: path}), core.KindTimeout, core.FaultDriver, "root")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	mustBe(t, d.Fork(canceled, "queued", "root", core.Door{ID: "queued", Gate: path}), core.KindCanceled, core.FaultCaller, "root")
	mustKnow(t, d, "root")

	var forks atomic.Int64
	go func() {
		for {
			r, files, ok := f.hear()
			if !ok {
				return
			}
			if r.Op == "fork" {
				first := forks.Add(1) == 1
				go newFar(t, files[0]).serve()
				files[1].Close()
				if first { // the one that nobody waits for
					f.say(`{"error":{"kind":"exhausted","fault":"worker","message":"late"}}`)
				} else {
					f.say(forked)
				}
			}
		}
	}()
	if err := d.Fork(t.Context(), "next", "root", core.Door{ID: "next", Gate: path}); err != nil {
		t.Error(err)
	}
	if n := forks.Load(); n != 2 {
		t.Errorf("the zygote was asked for %d forks, want the late one and the next", n)
	}
	mustKnow(t, d, "root", "next")
}

// An instance is core's as soon as it is parked, and is never forked.
func TestInstanceIsForgotten(t *testing.T) {
	d := newDriver(t)
	_, f := root(t, d, "root")
	f.instances = true
	go f.serve()
	path, _ := gate(t)
	for i := range 100 {
		id := core.NodeID(fmt.Sprint("n", i))
		if err := d.Fork(t.Context(), id, "root", core.Door{ID: id, Gate: path}); err != nil {
			t.Fatal(err)
		}
		err := d.Fork(t.Context(), "other", id, core.Door{ID: "other", Gate: path})
		mustBe(t, err, core.KindUnavailable, core.FaultWorker, string(id))
	}
	mustKnow(t, d, "root")
}

func TestImportGivenUpIsForgotten(t *testing.T) {
	d := newDriver(t)
	parkedRoot(t, d)
	_, err := d.Import(brief(t), "root", core.Load{})
	mustBe(t, err, core.KindTimeout, core.FaultDriver, "root")
	mustKnow(t, d)
}

// A process that talks and talks, while nobody has asked it, is cut off and blocks nobody.
func TestSpeaksOutOfTurn(t *testing.T) {
	d := newDriver(t)
	p, f := root(t, d, "root")
	for range 100 {
		f.say(parked)
	}
	<-p.ended
	mustKnow(t, d)
	if err := p.park(t.Context()); err != nil {
		t.Errorf("its first word was lost: %v", err)
	}
}

// The last word of a process comes before its end, however close they are.
func TestLastWord(t *testing.T) {
	for range 200 {
		d := newDriver(t)
		p, f := parkedRoot(t, d)
		go func() { f.hear(); f.say(report); f.conn.Close() }()
		if _, err := p.load(t.Context(), core.Load{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefusals(t *testing.T) {
	d := newDriver(t)
	path, _ := gate(t)
	_, f := parkedRoot(t, d)
	go func() {
		f.hear()
		f.say(`{"took":1,"threads":3}`)
	}()
	mustBe(t, d.Fork(t.Context(), "root", "root", core.Door{ID: "root", Gate: path}), core.KindConflict, core.FaultWorker, "root")
	mustBe(t, d.Fork(t.Context(), "n", "root", core.Door{ID: "n", Gate: path + "-not"}), core.KindUnavailable, core.FaultWorker, "gate of n")
	if r, err := d.Import(t.Context(), "root", core.Load{Modules: []string{"threaded"}}); err != nil || r.Threads != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	mustBe(t, d.Fork(t.Context(), "n", "root", core.Door{ID: "n", Gate: path}), core.KindInvalid, core.FaultWorker, "3 threads")
	mustKnow(t, d, "root")
	_, err := d.Import(t.Context(), "root", core.Load{Packages: []string{strings.Repeat("x", launch.MaxPacket)}})
	mustBe(t, err, core.KindTooLarge, core.FaultCaller, "131072")
	mustKnow(t, d)
}
