package zygote

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

// TestMain makes the test program its own launcher, which enters no sandbox: it is the loop at once.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == launch.Launcher {
		play()
		return
	}
	os.Exit(m.Run())
}

// play reports how it was started as the one module of its report.
func play() {
	conn, err := net.FileConn(os.NewFile(3, "control"))
	if err != nil {
		panic(err)
	}
	f := far{conn: conn.(*net.UnixConn)}
	f.say(parked)
	if _, _, ok := f.hear(); ok {
		words, _ := json.Marshal(append(os.Args[1:], os.Environ()...))
		answer, _ := json.Marshal(reply{Threads: 1, Modules: map[string]float64{string(words): 1}})
		f.say(string(answer))
		f.hear()
	}
}

func TestPreload(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	libexec := t.TempDir()
	if err := os.Symlink(self, filepath.Join(libexec, launch.Launcher)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PIPSQUEAK_LIBEXEC", libexec)
	t.Setenv("SECRET", "of the driver")
	path, names := gate(t)
	d := New(Language{Env: []string{"A=b"}, Log: slog.New(slog.DiscardHandler), Command: func(rt core.RuntimeID) ([]string, error) {
		return []string{"/bin/" + string(rt), "loop"}, nil
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := d.Preload(ctx, "root", "x1", core.Door{ID: "root", Gate: path}); err != nil {
		t.Fatal(err)
	}
	if name := <-names; name != "root" {
		t.Errorf("at the gate stands %q", name)
	}
	mustBe(t, d.Preload(ctx, "root", "x1", core.Door{ID: "root", Gate: path}), core.KindConflict, core.FaultWorker, "root")
	select {
	case name := <-names:
		t.Errorf("%q went to the gate for an ID that is taken", name)
	case <-time.After(50 * time.Millisecond):
	}
	r, err := d.Import(ctx, "root", core.Load{})
	if err != nil {
		t.Fatal(err)
	}
	for words := range r.Modules {
		var got []string
		if err := json.Unmarshal([]byte(words), &got); err != nil || !reflect.DeepEqual(got[:2], []string{"/bin/x1", "loop"}) ||
			len(got) != 4+len(core.Everywhere()) || !slices.Contains(got, "TZ=:UTC") || !slices.Contains(got, "A=b") || !slices.Contains(got, "LD_PRELOAD="+LibraryPath) {
			t.Errorf("arguments and environment are %q, %v", got, err)
		}
	}
	p, err := d.process("root")
	if err != nil {
		t.Fatal(err)
	}
	d.forget(p)

	t.Setenv("PIPSQUEAK_LIBEXEC", t.TempDir())
	mustBe(t, d.Preload(ctx, "other", "x1", core.Door{ID: "other", Gate: path}), core.KindUnavailable, core.FaultDriver, "make build")
	mustKnow(t, d)
}
