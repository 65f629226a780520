package integration

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What does a scan leave that ends early, and does the next one go on?

// TestScanGoesOn kills a scan in its middle and lets another one go on.
func TestScanGoesOn(t *testing.T) {
	coretest.Requires(t, Root, Cgroups, Runtime("python3"))
	dir, data, out := t.TempDir(), filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "scan.jsonl")
	const archives = 30
	for i := range archives {
		name := fmt.Sprintf("some%d", i)
		pack(t, filepath.Join(dir, name+"-1.0-py3-none-any.whl"), files{name + ".py": "x = 1\n", name + "-1.0.dist-info/METADATA": "Name: " + name + "\nVersion: 1.0\n"})
	}
	program := filepath.Join(programs(t), "pipsqueak")
	cmd := exec.Command(program, "scan", "--data", data, "--out", out, "--jobs", "1", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := func() int {
		text, _ := os.ReadFile(out)
		return bytes.Count(text, []byte("\n"))
	}
	for deadline := time.Now().Add(time.Minute); lines() < 3 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	before := lines()
	if before < 3 || before >= archives {
		t.Fatalf("%d results when it was killed", before)
	}
	file, err := os.OpenFile(out, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"archive":"half`); err != nil {
		t.Fatal(err)
	}
	file.Close()
	if said, err := exec.Command(program, "scan", "--data", data, "--out", out, dir).CombinedOutput(); err == nil || !strings.Contains(string(said), "--resume") {
		t.Errorf("an existing file is overwritten: %v %s", err, said)
	}
	said, err := exec.Command(program, "scan", "--data", data, "--out", out, "--resume", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if all := results(t, out); len(all) != archives {
		t.Errorf("%d results of %d archives", len(all), archives)
	}
	if told := fmt.Sprintf("%d packages scanned, %d of them earlier", archives, before); !strings.Contains(string(said), told) {
		t.Errorf("it said %s, and not %q", said, told)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
		t.Errorf("what was unpacked is left: %v, %v", left, err)
	}
}

// TestInterruptedScan ends scans by signals, as early as they have made something and later: nothing is left.
// Of one that was killed, the next worker on the directory removes what is left.
func TestInterruptedScan(t *testing.T) {
	coretest.Requires(t, Root, Cgroups, Runtime("python3"))
	dir, data := t.TempDir(), t.TempDir()
	for i := range 100 {
		name := fmt.Sprintf("some%d", i)
		pack(t, filepath.Join(dir, name+"-1.0-py3-none-any.whl"), files{name + ".py": "x = 1\n", name + "-1.0.dist-info/METADATA": "Name: " + name + "\nVersion: 1.0\n"})
	}
	place := filepath.Join(data, "scanning")
	name := fmt.Sprintf("pipsqueak-%x", sha256.Sum256([]byte(place)))[:18]
	left := func() []string {
		all, _ := filepath.Glob(place)
		run, _ := filepath.Glob("/run/" + name)
		return slices.Concat(all, run, groupsNamed(name))
	}
	const first, later = "as soon as it has a directory", "when it has results"
	for _, how := range []struct {
		signal os.Signal
		when   string
	}{{os.Interrupt, first}, {syscall.SIGTERM, first}, {os.Interrupt, later}, {syscall.SIGTERM, later}, {os.Kill, later}} {
		out := filepath.Join(t.TempDir(), "scan.jsonl")
		cmd := exec.Command(filepath.Join(programs(t), "pipsqueak"), "scan", "--data", data, "--out", out, dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Minute, how.when, func() bool {
			_, err := os.Stat(place)
			text, _ := os.ReadFile(out)
			return err == nil && (how.when == first || len(text) > 0)
		})
		_ = cmd.Process.Signal(how.signal)
		_ = cmd.Wait()
		if how.signal == os.Kill {
			if found := left(); len(found) < 3 {
				t.Errorf("of a scan that was killed only %q is left", found)
			}
			startWorker(t, data)
		} else if got := cmd.ProcessState.ExitCode(); got != 2 {
			t.Errorf("%v %s: it exits with %d", how.signal, how.when, got)
		}
		if found := left(); len(found) > 0 {
			t.Errorf("%v %s leaves %q", how.signal, how.when, found)
		}
	}
}

// TestKilledScan kills a worker while it scans the packages of a deploy: nothing is left of it, and the next
// worker deploys the same.
func TestKilledScan(t *testing.T) {
	system(t)
	scanned := files{"py_scanned/__init__.py": ""}
	for i := range 300 { // it takes its time
		scanned[fmt.Sprintf("py_scanned/m%d.py", i)] = strings.Repeat("def f(a, b):\n    return [a, b, {a: b}, f(b, a)]\n", 100)
	}
	newPythonIndex(t, "").addWheel(t, "py-scanned", "1.0", "", scanned)
	data, policy := t.TempDir(), filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("default: refuse\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := handlerFile("import py_scanned\n\ndef handler(event, context):\n    return py_scanned.__name__\n").with("requirements.txt", "py-scanned\n")
	first, err := start(programs(t), data, "--scan-policy", policy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.stop() }) // for a test that fails before it kills
	ended := make(chan answer, 1)
	go func() {
		a, err := first.do(t.Context(), http.MethodPut, "/v1/functions/scanned", bytes.NewReader(f.archive(t)))
		if err != nil {
			a = answer{body: []byte(err.Error())}
		}
		ended <- a
	}()
	eventually(t, time.Minute, "it scans", func() bool {
		return slices.ContainsFunc(descendants(first.cmd.Process.Pid), func(pid int) bool {
			return strings.Contains(commandLine(pid), "scan.py") && syscall.Kill(pid, syscall.SIGSTOP) == nil // so that it goes on until it is killed
		})
	})
	seen, err := traces(first)
	if err != nil {
		t.Fatal(err)
	}
	first.kill()
	if a := <-ended; a.status != 0 {
		t.Fatalf("the deploy had ended with %v", a)
	}

	next := startWorker(t, data, "--scan-policy", policy)
	eventually(t, 10*time.Second, "nothing is left of the killed worker", func() bool { return len(seen.left()) == 0 })
	next.ask(t, http.MethodGet, "/v1/functions/scanned", nil).expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
	next.deploy(t, "scanned", f)
	if got := result[string](t, next, "scanned", `{}`); got != "py_scanned" {
		t.Errorf("it answers %q", got)
	}
	eventually(t, 10*time.Second, "nothing is left in staging", func() bool {
		left, err := os.ReadDir(filepath.Join(data, "staging"))
		return err == nil && len(left) == 0
	})
	if found := next.verify(t); found.Trees != 2 || len(found.Damaged) > 0 {
		t.Errorf("the store has %+v", found)
	}
	if scans, err := os.ReadDir(filepath.Join(data, "scans")); err != nil || len(scans) != 1 {
		t.Errorf("of the scans the store has %v: %v", scans, err)
	}
}
