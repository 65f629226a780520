package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// canary stands in the environment of every worker and must never be seen by a handler.
const canary = "canary-of-the-host-4711"

// worker is a running `pipsqueak serve`.
type worker struct {
	url  string // http://127.0.0.1:PORT
	data string
	cmd  *exec.Cmd
	logs *tail
	done chan struct{} // closed when the process has ended
	err  error         // of the process, after done
}

// start starts a worker on data, which may have been used by one before. The caller stops it.
func start(bin, data string, flags ...string) (*worker, error) {
	return launch(exec.Command(filepath.Join(bin, "pipsqueak"), append([]string{"serve", "--listen", "127.0.0.1:0", "--data", data}, flags...)...), data)
}

// launch is start by a command that becomes `pipsqueak serve`, and has serve among its arguments. Functions
// have no network unless the command says so, whatever this machine can.
func launch(cmd *exec.Cmd, data string) (*worker, error) {
	at, reference := slices.Index(cmd.Args, "serve"), os.Getenv("PIPSQUEAK_REFERENCE")
	if older := reference != "" && strings.HasPrefix(cmd.Args[at-1], reference); !older && !slices.Contains(cmd.Args, "--network") {
		cmd.Args = slices.Insert(cmd.Args, at+1, "--network", "none")
	}
	return launchAsIs(cmd, data)
}

func launchAsIs(cmd *exec.Cmd, data string) (*worker, error) {
	w := &worker{data: data, cmd: cmd, logs: &tail{}, done: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), "PIPSQUEAK_TEST_CANARY="+canary)
	w.cmd.Stderr = w.logs
	// When the tests are killed the worker stops as if by hand, and leaves nothing.
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	listening := make(chan string, 1)
	go func() {
		defer close(w.done)
		out := bufio.NewReader(stdout)
		for {
			line, err := out.ReadString('\n')
			if url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on "); ok {
				listening <- url
			}
			if err != nil {
				break
			}
		}
		_, _ = io.Copy(w.logs, out)
		w.err = w.cmd.Wait()
	}()
	select {
	case w.url = <-listening:
		return w, nil
	case <-w.done:
		return nil, fmt.Errorf("the worker ended before it listened: %w\n%s", w.err, w.logs)
	case <-time.After(30 * time.Second):
		w.kill()
		return nil, fmt.Errorf("the worker does not listen after 30 s\n%s", w.logs)
	}
}

// stop stops the worker as an operator does and waits for its end.
func (w *worker) stop() error {
	select {
	case <-w.done:
		return nil
	default:
	}
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-w.done:
	case <-time.After(20 * time.Second):
		w.kill()
		return fmt.Errorf("the worker did not stop in 20 s\n%s", w.logs)
	}
	if w.err != nil {
		return fmt.Errorf("the worker stopped with %w\n%s", w.err, w.logs)
	}
	return nil
}

// kill is kill -9.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	<-w.done
}

// startWorker starts a worker of the test's own, for tests that break it. It is stopped when the test ends.
func startWorker(t testing.TB, data string, flags ...string) *worker {
	t.Helper()
	w, err := start(programs(t), data, flags...)
	if err != nil {
		t.Fatal(err)
	}
	stopWith(t, w)
	return w
}

// stopWith stops a worker when the test ends.
func stopWith(t testing.TB, w *worker) {
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of the worker:\n%s", w.logs)
		}
	})
}

// one is the worker that all tests share which leave it as they found it.
var one struct {
	sync.Mutex
	worker *worker
}

// shared returns the worker of all tests that break nothing but their own functions. Their functions have
// names of their own.
func shared(t testing.TB) *worker {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() && one.worker != nil {
			t.Logf("end of the shared worker's log:\n%s", one.worker.logs.last(4<<10))
		}
	})
	one.Lock()
	defer one.Unlock()
	if one.worker != nil {
		select {
		case <-one.worker.done:
			t.Fatalf("the shared worker has ended: %v\n%s", one.worker.err, one.worker.logs)
		default:
			return one.worker
		}
	}
	bin := programs(t)
	data, err := os.MkdirTemp("", "pipsqueak-data-")
	if err != nil {
		t.Fatal(err)
	}
	temporary = append(temporary, data)
	if one.worker, err = start(bin, data); err != nil {
		one.worker = nil
		t.Fatal(err)
	}
	return one.worker
}

// stopShared stops the shared worker and checks that nothing of it is left.
func stopShared() error {
	one.Lock()
	defer one.Unlock()
	w := one.worker
	if w == nil {
		return nil
	}
	seen, traceErr := traces(w)
	err := errors.Join(traceErr, w.stop())
	if left := seen.leftSoon(patience); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left behind:\n%s", strings.Join(left, "\n")))
	}
	return err
}

// command runs the command-line client against the worker.
func (w *worker) command(t testing.TB, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(programs(t), "pipsqueak"), append(args, "--server", w.url)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}
