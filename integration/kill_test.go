package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What happens when something is killed?

const sleeper = "import time\ndef handler(event, context):\n    print('" + begun + "', flush=True)\n    time.sleep(event['s'])\n    return 'slept'\n"

// begun is what handlers print that are invoked by inFlight.
const begun = "the handler has begun"

// kill9 kills a process of a worker, which has to be alive.
func kill9(t testing.TB, pid int) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("pid %d in the tree", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill -9 %d: %v", pid, err)
	}
}

// inFlight invokes in the background and returns when the handler has printed begun; the channel gives the
// answer.
func inFlight(t testing.TB, w *worker, name, event string) <-chan answer {
	t.Helper()
	before := w.begun(t, name)
	answers := make(chan answer, 1)
	go func() {
		a, err := w.do(t.Context(), http.MethodPost, "/run/"+name, strings.NewReader(event))
		if err != nil {
			a = answer{body: []byte(err.Error())}
		}
		answers <- a
	}()
	eventually(t, patience, name+" runs", func() bool { return w.begun(t, name) > before })
	return answers
}

// begun returns how often a function's handlers have printed that they had begun.
func (w *worker) begun(t testing.TB, name string) int {
	t.Helper()
	return strings.Count(string(w.ask(t, http.MethodGet, "/v1/functions/"+name+"/logs", nil).body), begun)
}

// zygotes returns the living zygotes, parents first.
func (w *worker) zygotes(t testing.TB) (nodes []core.NodeInfo) {
	t.Helper()
	for _, n := range w.snapshot(t).Nodes {
		if n.Role == core.RoleZygote && n.PID > 0 {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// fell ends all zygotes of a worker whose functions are not in use: the next start is cold.
func (w *worker) fell(t testing.TB) {
	t.Helper()
	eventually(t, patience, "no zygote is left", func() bool {
		left := w.zygotes(t)
		for _, n := range left {
			_ = syscall.Kill(n.PID, syscall.SIGKILL) // one that has ended already is what is wanted
		}
		return len(left) == 0
	})
}

func TestKilledInstance(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "killed", handlerFile(sleeper))
	defer traffic(t, w)()
	pending := inFlight(t, w, "killed", `{"s": 30}`)
	kill9(t, w.instances(t, "killed")[0].PID)
	select {
	case a := <-pending:
		a.expectError(t, core.KindExit, core.FaultHandler, http.StatusBadGateway)
	case <-time.After(20 * time.Second): // the handler itself would take 30
		t.Error("no answer 20 s after the instance was killed")
	}
	// An idle instance that dies is nobody's business: the next event does not see it.
	result[string](t, w, "killed", `{"s": 0}`)
	for _, n := range w.instances(t, "killed") {
		kill9(t, n.PID)
	}
	if got := result[string](t, w, "killed", `{"s": 0}`); got != "slept" {
		t.Errorf("after its idle instance was killed: %q", got)
	}
}

// TestKilledChildAhead kills the child that is made ahead of the next start: that start does without.
func TestKilledChildAhead(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "ahead", handlerFile(sleeper).with("pipsqueak.yaml", "reuse: false\n"))
	defer traffic(t, w)()
	parked := func() (child core.NodeInfo) {
		for range 3 { // the second start asks for one
			result[string](t, w, "ahead", `{"s": 0}`)
		}
		eventually(t, patience, "a child is made ahead", func() bool {
			for _, n := range w.leaves(t, "ahead") {
				if n.State == "parked" {
					child = n
				}
			}
			return child.PID > 0
		})
		return child
	}
	kill9(t, parked().PID)
	if got := result[string](t, w, "ahead", `{"s": 0}`); got != "slept" {
		t.Errorf("after its child made ahead was killed: %q", got)
	}
	parked()
	w.ask(t, http.MethodDelete, "/v1/functions/ahead", nil)
	eventually(t, patience, "the child ends with its function", func() bool { return len(w.leaves(t, "ahead")) == 0 })
}

// TestKilledZygote kills a zygote with a package: what was forked from it dies with it, and is reported as
// retryable; the rest of the tree serves on, and the zygote comes back.
func TestKilledZygote(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	needsSix := files{"handler.py": "import six\n" + sleeper, "requirements.txt": "six==1.17.0\n"}
	w.deploy(t, "from-zygote", needsSix.with("pipsqueak.yaml", "reuse: false\n"))
	forkStart(t, w, "from-zygote", `{"s": 0}`)
	defer traffic(t, w)()
	pending := inFlight(t, w, "from-zygote", `{"s": 30}`)
	zygotes := w.zygotes(t)
	withSix := slices.IndexFunc(zygotes, func(n core.NodeInfo) bool { return len(n.Set) > 0 })
	if withSix < 0 {
		t.Fatalf("no zygote with a package among %+v", zygotes)
	}
	kill9(t, zygotes[withSix].PID)
	select {
	case a := <-pending:
		a.expectError(t, core.KindUnavailable, core.FaultWorker, http.StatusServiceUnavailable)
	case <-time.After(20 * time.Second):
		t.Error("no answer 20 s after the zygote was killed")
	}
	if got := result[string](t, w, "from-zygote", `{"s": 0}`); got != "slept" {
		t.Errorf("after its zygote was killed: %q", got)
	}
	forkStart(t, w, "from-zygote", `{"s": 0}`)
}

// TestKilledRootZygote kills the root: the whole tree is gone, and is rebuilt on demand.
func TestKilledRootZygote(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	w.deploy(t, "rooted", handlerFile(sleeper))
	result[string](t, w, "rooted", `{"s": 0}`)
	before := w.zygotes(t)
	if len(before) == 0 || before[0].Parent != "" {
		t.Fatalf("no root zygote in front of %+v", before)
	}
	kill9(t, before[0].PID)
	// An event that reached the instance just before its end is not tried again: it may have had effects.
	eventually(t, patience, "an answer", func() bool { return w.run(t, "rooted", `{"s": 0}`).status == http.StatusOK })
	for range 3 {
		if got := result[string](t, w, "rooted", `{"s": 0}`); got != "slept" {
			t.Errorf("after the root zygote was killed: %q", got)
		}
	}
	eventually(t, patience, "a root zygote of a later generation lives", func() bool {
		return slices.ContainsFunc(w.zygotes(t), func(n core.NodeInfo) bool { return n.Parent == "" && n.Generation > before[0].Generation })
	})
}

// TestKilledDriver kills the driver: an event that runs does not notice, idle instances serve on, and what
// needs a new process gets it from the driver's next life.
func TestKilledDriver(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	w.deploy(t, "running", handlerFile(sleeper))
	w.deploy(t, "fresh", handlerFile(sleeper).with("pipsqueak.yaml", "reuse: false\n"))
	done := traffic(t, w)
	pending := inFlight(t, w, "running", `{"s": 2}`)
	kill9(t, w.snapshot(t).Drivers[0].PID)
	if got := result[string](t, w, "fresh", `{"s": 0}`); got != "slept" {
		t.Errorf("a new instance after the driver was killed: %q", got)
	}
	a := <-pending
	if a.status != http.StatusOK {
		t.Errorf("the event that ran while the driver was killed got %v", a)
	}
	done()
	d := w.snapshot(t).Drivers[0]
	if d.Restarts != 1 || d.PID == 0 || d.Error != "" {
		t.Errorf("driver %+v, want one restart", d)
	}
	w.deploy(t, "later", handlerFile(sleeper))
	result[string](t, w, "later", `{"s": 0}`)
}

// TestKilledWorker kills the worker itself. Its driver dies with it; when the next worker has started,
// nothing of the first is left on the machine, and its functions answer.
func TestKilledWorker(t *testing.T) {
	system(t)
	data := t.TempDir()
	first, err := start(programs(t), data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.stop() }) // for a test that fails before it kills
	populate(t, first)
	pending := inFlight(t, first, "busy", `{"s": 30}`)
	seen, err := traces(first)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen.processes) < 4 || len(seen.namespaces) == 0 || len(seen.groups) == 0 {
		t.Fatalf("the traces of a busy worker are only %+v", seen)
	}
	first.kill()
	if a := <-pending; a.status != 0 {
		t.Errorf("answer %v of a killed worker", a)
	}
	next := startWorker(t, data)
	var left []string
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if left = seen.left(); len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if len(left) > 0 {
		t.Errorf("left of the killed worker:\n%s", strings.Join(left, "\n"))
	}
	for _, name := range []string{"busy", "idle-one"} {
		if got := result[string](t, next, name, `{"s": 0}`); got != "slept" {
			t.Errorf("%s after the restart: %q", name, got)
		}
	}
	if err := next.stop(); err != nil {
		t.Error(err)
	}
	if left := seen.leftSoon(patience); len(left) > 0 {
		t.Errorf("left after the second worker has stopped:\n%s", strings.Join(left, "\n"))
	}
}

// TestKilledWorkerWhileBuilding kills a worker while a build writes files without end: the next one ends that
// before it clears up, and starts.
func TestKilledWorkerWhileBuilding(t *testing.T) {
	system(t)
	data := t.TempDir()
	endless := files{"Makefile": "all:\n\ti=0; while :; do mkdir -p d$$i; echo x > d$$i/f; rm -rf d$$(((i+32)%64)); i=$$(((i+1)%64)); done\n", "pipsqueak.yaml": "runtime: native\n", "handler.c": "int x;\n"}
	for range 3 {
		w, err := start(programs(t), data)
		if err != nil {
			t.Fatal(err)
		}
		go w.do(context.Background(), http.MethodPut, "/v1/functions/endless", bytes.NewReader(endless.archive(t)))
		eventually(t, patience, "the build writes", func() bool {
			found, _ := filepath.Glob(filepath.Join(data, "staging", "*", "d*"))
			deeper, _ := filepath.Glob(filepath.Join(data, "staging", "*", "*", "d*"))
			return len(found)+len(deeper) > 0
		})
		w.kill()
	}
	w := startWorker(t, data)
	if left, err := os.ReadDir(filepath.Join(data, "staging")); err != nil || len(left) > 0 {
		t.Errorf("left of the builds: %v, %v", left, err)
	}
	if got := result[int](t, w, w.deploy(t, "good", handlerFile("def handler(event, context):\n    return event\n")).Name, "1"); got != 1 {
		t.Error(got)
	}
}

// TestStopLeavesNothing stops a worker with busy and idle instances as an operator does.
func TestStopLeavesNothing(t *testing.T) {
	system(t)
	before := groupsNamed("pipsqueak")
	w := startWorker(t, t.TempDir())
	populate(t, w)
	pending := inFlight(t, w, "busy", `{"s": 2}`)
	seen, err := traces(w)
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	if a := <-pending; a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
		t.Errorf("the event that ran during the stop got %v", a)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if left := seen.leftSoon(patience); len(left) > 0 {
		t.Errorf("left:\n%s", strings.Join(left, "\n"))
	}
	eventually(t, patience, "no more cgroups than before", func() bool { // other packages' tests have some meanwhile
		return !slices.ContainsFunc(groupsNamed("pipsqueak"), func(dir string) bool {
			return !slices.Contains(before, dir) && !usedByShared(dir)
		})
	})
}

// TestServeSaysWhere reads what a script reads: one line on standard output, after which requests are
// answered, and the exit status of a stop by SIGTERM.
func TestServeSaysWhere(t *testing.T) {
	system(t)
	w := &worker{data: t.TempDir()}
	w.cmd = exec.Command(filepath.Join(programs(t), "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", w.data)
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var logs tail
	w.cmd.Stderr = &logs
	pipe, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := time.AfterFunc(40*time.Second, func() { _ = w.cmd.Process.Kill() })
	defer ended.Stop()
	stdout := bufio.NewReader(pipe)
	line, err := stdout.ReadString('\n')
	if !regexp.MustCompile(`^listening on http://127\.0\.0\.1:\d+\n$`).MatchString(line) {
		t.Errorf("the line is %q, %v", line, err)
	}
	w.url = strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	seen, err := traces(w) // asks the worker, at once
	if err != nil {
		t.Error(err)
	}
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if more, err := io.ReadAll(stdout); len(more) > 0 || err != nil {
		t.Errorf("more on standard output: %q, %v", more, err)
	}
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, logs.String())
	}
	if left := seen.leftSoon(patience); len(left) > 0 {
		t.Errorf("left:\n%s", strings.Join(left, "\n"))
	}
}

// populate gives a worker instances, zygotes and a package.
func populate(t testing.TB, w *worker) {
	t.Helper()
	w.deploy(t, "busy", handlerFile(sleeper))
	w.deploy(t, "idle-one", files{"handler.py": "import six\n" + sleeper, "requirements.txt": "six==1.17.0\n"})
	result[string](t, w, "busy", `{"s": 0}`)
	result[string](t, w, "idle-one", `{"s": 0}`)
}

// usedByShared reports whether a cgroup belongs to the worker that the other tests share: one that has
// processes now.
func usedByShared(dir string) bool {
	one.Lock()
	defer one.Unlock()
	if one.worker == nil {
		return false
	}
	alive := false
	_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || alive || filepath.Base(path) != "cgroup.procs" {
			return nil
		}
		procs, err := os.ReadFile(path)
		alive = err == nil && len(procs) > 0
		return nil
	})
	return alive
}

// TestSecondWorkerOnTheSameData has to be refused: two workers would tread on each other's functions.
func TestSecondWorkerOnTheSameData(t *testing.T) {
	system(t)
	w := shared(t)
	second, err := start(programs(t), w.data)
	if err == nil {
		_ = second.stop()
		t.Fatal("a second worker started on the data directory of the first")
	}
	if !strings.Contains(err.Error(), w.data) {
		t.Errorf("the refusal does not name the directory: %v", err)
	}
	if errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if a := w.ask(t, http.MethodGet, "/healthz", nil); a.status != http.StatusOK {
		t.Errorf("the first worker afterwards: %v", a)
	}
}
