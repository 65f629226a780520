package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Does a stop answer everybody in time?

const sleeps = "import time\n\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"

// TestStopUnderLoad stops a worker while events run and others wait: who waits is refused at once, who is
// done within ten seconds is answered, who is not is told so then, and the worker exits with 0. A terminal's
// end does the same as SIGTERM.
func TestStopUnderLoad(t *testing.T) {
	system(t)
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(fmt.Sprint(signal), func(t *testing.T) {
			w := startWorker(t, t.TempDir())
			one := files{"handler.py": sleeps, "pipsqueak.yaml": "timeout_ms: 120000\nmax_instances: 1\n"}
			for _, name := range []string{"long", "short"} {
				w.deploy(t, name, one)
				w.run(t, name, "0")
			}
			type outcome struct {
				a    answer
				err  error
				took time.Duration
			}
			var group sync.WaitGroup
			outcomes := make([]outcome, 3)
			var stopped time.Time
			send := func(i int, name, event string) {
				group.Go(func() {
					a, err := w.do(context.Background(), http.MethodPost, "/run/"+name, strings.NewReader(event))
					outcomes[i] = outcome{a, err, time.Since(stopped)}
				})
				time.Sleep(300 * time.Millisecond)
			}
			send(0, "long", "60")
			send(1, "long", "0") // waits for the other
			send(2, "short", "4")
			stopped = time.Now()
			if err := w.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			select {
			case <-w.done:
			case <-time.After(30 * time.Second):
				t.Fatal("it does not stop")
			}
			took := time.Since(stopped)
			group.Wait()
			if w.err != nil || took > 14*time.Second {
				t.Errorf("the worker ended after %v with %v", took, w.err)
			}
			for _, o := range outcomes {
				if o.err != nil {
					t.Fatalf("no answer: %v", o.err)
				}
			}
			outcomes[0].a.expectError(t, core.KindCanceled, core.FaultWorker, http.StatusServiceUnavailable)
			if o := outcomes[1]; !o.a.expectError(t, core.KindUnavailable, core.FaultWorker, http.StatusServiceUnavailable).Retryable || o.took > 3*time.Second {
				t.Errorf("who waited was answered %v after %v", o.a, o.took)
			}
			if o := outcomes[2]; o.a.status != http.StatusOK {
				t.Errorf("what would have ended in time was answered %v", o.a)
			}
		})
	}
}

// TestSecondSignal: one more signal ends a worker that waits for its events at once, and nohup keeps the
// terminal's end from it.
func TestSecondSignal(t *testing.T) {
	system(t)
	data := t.TempDir()
	w, err := launch(exec.Command("nohup", filepath.Join(programs(t), "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data), data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what the killed one has left, the next one ends
		next := startWorker(t, data)
		_ = next
	})
	w.deploy(t, "f", files{"handler.py": sleeps, "pipsqueak.yaml": "timeout_ms: 120000\n"})
	w.run(t, "f", "0")
	_ = w.cmd.Process.Signal(syscall.SIGHUP)
	time.Sleep(500 * time.Millisecond)
	w.run(t, "f", "0")
	go w.do(context.Background(), http.MethodPost, "/run/f", strings.NewReader("60"))
	time.Sleep(300 * time.Millisecond)
	for range 2 {
		_ = w.cmd.Process.Signal(os.Interrupt)
		time.Sleep(500 * time.Millisecond)
	}
	select {
	case <-w.done:
	case <-time.After(5 * time.Second):
		w.kill()
		t.Error("it still waits for its events")
	}
}

// TestRunBesideRemoval sends events to a function that is removed and deployed again meanwhile. Each is
// answered by the function, or is told that there is none, or that it comes too soon.
func TestRunBesideRemoval(t *testing.T) {
	system(t)
	w := shared(t)
	const name = "removal"
	f := files{"handler.py": "def handler(event, context):\n    return event\n", "pipsqueak.yaml": "reuse: false\n"}
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var mu sync.Mutex
	wrong, answers := []string(nil), map[int]int{}
	for range 6 {
		group.Go(func() {
			for ctx.Err() == nil {
				a, err := w.do(context.WithoutCancel(ctx), http.MethodPost, "/run/"+name, strings.NewReader("1"))
				mu.Lock()
				answers[a.status]++
				if err != nil || a.status != http.StatusOK && a.status != http.StatusNotFound && a.status != http.StatusServiceUnavailable {
					wrong = append(wrong, fmt.Sprint(a, err))
				}
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	for range 25 {
		w.deploy(t, name, f)
		time.Sleep(30 * time.Millisecond)
		w.ask(t, http.MethodDelete, "/v1/functions/"+name, nil)
	}
	stop()
	group.Wait()
	t.Logf("answers: %v", answers)
	if len(wrong) > 0 || answers[200] == 0 || answers[404] == 0 {
		t.Errorf("answers %v, of which wrong: %s", answers, strings.Join(wrong[:min(len(wrong), 5)], "\n"))
	}
}
