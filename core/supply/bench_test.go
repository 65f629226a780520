package supply

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// errand is a task for a function with a package, which can write to a directory of the test.
func errand(t *testing.T, run func(ctx context.Context, s core.Door) error) task {
	fn := core.Function{Name: "f", Limits: core.Limits{Memory: 1 << 20}}
	tool := core.Mount{Source: "/opt/tool", Target: "/tool"}
	return task{fn: &fn, runtime: core.Runtime{ID: "lang1", Registries: []string{"https://registry.example"}, Tools: []core.Mount{tool}},
		writable: []core.Mount{outMount(t.TempDir())}, timeout: time.Minute, run: run}
}

// What an installer sees is what its task says; its sandbox is gone when the task is done, however that
// ended.
func TestTask(t *testing.T) {
	inWorld(t, func(c *Config) { c.Registries = []string{"https://more.example"} }, func(t *testing.T, w *world) {
		job := errand(t, func(context.Context, core.Door) error { return nil })
		job.shown = []core.Mount{{Source: "/code", Target: core.CodeDir}}
		inner := filepath.Join(job.writable[0].Source, "inner")
		if err := os.Mkdir(inner, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, network := range []bool{false, true} {
			job.network = network
			if err := w.bench.do(t.Context(), job); err != nil {
				t.Fatal(err)
			}
		}
		var targets []string
		for _, m := range w.boxes[0].config.Mounts {
			targets = append(targets, m.Target)
		}
		if !slices.Equal(targets, []string{core.OutDir, core.CodeDir, "/tool"}) {
			t.Errorf("it sees %q", targets)
		}
		offline, online := w.boxes[0].config, w.boxes[1].config
		if offline.Registries != nil || !slices.Equal(online.Registries, []string{"https://registry.example", "https://more.example"}) {
			t.Errorf("it reaches %q, and with the network %q", offline.Registries, online.Registries)
		}
		if offline.ID == online.ID || offline.Role != core.RoleInstaller || offline.Function != "f" || offline.Limits.Memory != 1<<20 {
			t.Errorf("%+v", offline)
		}
		if info, err := os.Stat(inner); err != nil || info.Mode().Perm() != 0o777 {
			t.Errorf("it cannot write into %v, %v", info, err)
		}
	})
}

// The error of a task says what the installer said last, unless the caller is to blame, who has an error that
// is complete.
func TestTaskFails(t *testing.T) {
	for _, test := range []struct {
		name  string
		world func(w *world)
		err   error
		kind  core.Kind
		fault core.Fault
		says  string
		not   string
	}{
		{"driver's", func(w *world) { w.words = " last words\n" }, core.Errorf(core.KindInternal, core.FaultDriver, "broken"),
			core.KindInternal, core.FaultDriver, "broken; it said: last words", ""},
		{"caller's", func(w *world) { w.words = "last words" }, core.Errorf(core.KindInstall, core.FaultCaller, "no such package"),
			core.KindInstall, core.FaultCaller, "no such package", "it said"},
		{"silent", func(*world) {}, core.Errorf(core.KindInternal, core.FaultDriver, "broken"), core.KindInternal, core.FaultDriver, "broken", "it said"},
		{"memory", func(w *world) { w.oom = true }, core.Errorf(core.KindInternal, core.FaultDriver, "it was killed"),
			core.KindInstall, core.FaultCaller, "more memory than an installation may use", "killed"},
		{"password", func(*world) {}, core.Errorf(core.KindInstall, core.FaultCaller, "GET https://me:secret@registry.example/p: 401"),
			core.KindInstall, core.FaultCaller, "https://registry.example/p", "secret"},
		{"no UTF-8", func(w *world) { w.words = "bad \xff" }, core.Errorf(core.KindInternal, core.FaultDriver, "broken"),
			core.KindInternal, core.FaultDriver, "bad ?", "\xff"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, nil, func(t *testing.T, w *world) {
				test.world(w)
				err := w.bench.do(t.Context(), errand(t, func(context.Context, core.Door) error { return test.err }))
				expect(t, err, test.kind, test.fault, test.says)
				if test.not != "" && strings.Contains(err.Error(), test.not) {
					t.Errorf("%q says %q", err, test.not)
				}
				if len(w.bench.lastWords.said) > 0 {
					t.Error("its words are kept")
				}
			})
		})
	}
}

// A task has its time, and no more of the caller's than there is.
func TestTaskTimes(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		hang := func(ctx context.Context, _ core.Door) error {
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		if err := w.bench.do(t.Context(), errand(t, hang)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if err := w.bench.do(ctx, errand(t, hang)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// What cannot begin leaves nothing: no sandbox, and no words that nobody takes.
func TestTaskCannotBegin(t *testing.T) {
	w := newWorld(t, nil)
	ran := func(context.Context, core.Door) error { t.Error("it has begun"); return nil }
	missing := errand(t, ran)
	missing.writable[0].Source += "/gone"
	expect(t, w.bench.do(t.Context(), missing), core.KindInternal, core.FaultWorker, "preparing")

	odd := errand(t, ran)
	odd.network, odd.runtime.Registries = true, []string{"no address"}
	if err := w.bench.do(t.Context(), odd); err == nil {
		t.Error("what is no address is reached")
	}

	w.bench.create = func(context.Context, core.SandboxConfig) (Sandbox, error) { return nil, errors.New("no cgroups") }
	if err := w.bench.do(t.Context(), errand(t, ran)); err == nil || len(w.boxes) > 0 || len(w.bench.lastWords.said) > 0 {
		t.Errorf("%v, %d sandboxes, words of %d", err, len(w.boxes), len(w.bench.lastWords.said))
	}
}

// What an installer tries to reach besides its registries is refused, logged once, and in its error with what
// the operator can do.
func TestTaskIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	job := errand(t, func(_ context.Context, s core.Door) error {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		relay, err := w.OpenRelay(w.boxes[0].config, func(string) (net.Listener, error) { return listener, nil })
		if err != nil {
			return err
		}
		defer relay.Close()
		for range 2 {
			request, err := http.NewRequest(http.MethodGet, "http://elsewhere.example/", nil)
			if err != nil {
				return err
			}
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				return err
			}
			err = errors.Join(request.WriteProxy(conn), conn.SetDeadline(time.Now().Add(time.Minute)))
			_, readErr := conn.Read(make([]byte, 1))
			if err = errors.Join(err, readErr, conn.Close()); err != nil {
				return err
			}
		}
		return core.Errorf(core.KindInstall, core.FaultHandler, "the build of %s failed", s.ID)
	})
	job.network = true
	err := w.bench.do(t.Context(), job)
	expect(t, err, core.KindInstall, core.FaultHandler, "the build of i1 failed; it tried to reach elsewhere.example:80, which is no registry", "PIPSQUEAK_REGISTRIES")
	if n := strings.Count(w.log.String(), "it tried to reach"); n != 1 {
		t.Errorf("told %d times:\n%s", n, w.log)
	}
	if _, err := w.OpenRelay(core.SandboxConfig{Registries: []string{"no address"}}, nil); err == nil {
		t.Error("what is no address is reached")
	}
	_, err = w.OpenRelay(job.config(), func(string) (net.Listener, error) { return nil, errors.New("no port") })
	if err == nil || !strings.Contains(w.log.String(), "no port") {
		t.Errorf("%v:\n%s", err, w.log)
	}
}

func (t task) config() core.SandboxConfig {
	return core.SandboxConfig{Registries: t.runtime.Registries}
}

// The output of instances is nobody's here but in a trial of that version.
func TestCollectsWords(t *testing.T) {
	w := newWorld(t, nil)
	instance := core.SandboxConfig{ID: "instance-1", Role: core.RoleInstance, Function: "f", Version: 2}
	if w.Collect(instance, strings.NewReader("hello")) {
		t.Error("the words of an instance are taken")
	}
	w.bench.lastWords.expect(trialID("f", 2))
	for _, text := range []string{"hello ", "you"} {
		if !w.Collect(instance, strings.NewReader(text)) {
			t.Error("the words of a trial are not taken")
		}
	}
	if said, _ := w.bench.lastWords.take(trialID("f", 2)); said != "hello you" {
		t.Errorf("it said %q", said)
	}
	if w.Collect(instance, strings.NewReader("hello")) {
		t.Error("the words after a trial are taken")
	}
	long := strings.Repeat("x", maxWords) + "end"
	w.bench.lastWords.expect("i7")
	installer := core.SandboxConfig{ID: "i7", Role: core.RoleInstaller}
	w.Collect(installer, strings.NewReader(long))
	w.Collect(installer, strings.NewReader(""))
	if said, _ := w.bench.lastWords.take("i7"); len(said) != maxWords || !strings.HasSuffix(said, "xend") {
		t.Errorf("it said %d bytes, ending in %q", len(said), said[len(said)-5:])
	}
}
