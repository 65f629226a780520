package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// What does a test need of the machine, and does it fail in CI without that?

// need is something of the machine that a test cannot do without.
type need struct {
	name string
	met  func() error
}

// What tests need. Runtime is a function of the program's name.
var (
	Root = need{"root", func() error {
		if os.Geteuid() != 0 {
			return errors.New("not root; sandboxes need it")
		}
		return nil
	}}
	Cgroups = need{"cgroups", func() error {
		for _, dir := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
			if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
				return writableDir(dir)
			}
		}
		return errors.New("no cgroup hierarchy under /sys/fs/cgroup")
	}}
)

// Runtime needs an interpreter at its usual place: not in PATH, where pyenv and its like put others in front.
func Runtime(program string) need {
	return need{program, func() error {
		_, err := os.Stat("/usr/bin/" + program)
		return err
	}}
}

// requires skips the test when the machine lacks something, by name; with CI set, lacking is a failure.
func requires(t testing.TB, needs ...need) {
	t.Helper()
	for _, n := range needs {
		err := n.met()
		if err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("this test needs %s, and CI must have it: %v", n.name, err)
		}
		t.Skipf("needs %s: %v", n.name, err)
	}
}

// system is what nearly every test here needs.
func system(t testing.TB) {
	t.Helper()
	requires(t, Root, Cgroups, Runtime("python3"))
}

func writableDir(dir string) error {
	probe := filepath.Join(dir, fmt.Sprintf("integration-probe-%d", os.Getpid()))
	if err := os.Mkdir(probe, 0o755); err != nil {
		return err
	}
	return os.Remove(probe)
}

// programs returns the folder with the built programs: PIPSQUEAK_BIN, or one that is built for this run of the tests by the
// same recipe as everywhere, `make build`.
func programs(t testing.TB) string {
	t.Helper()
	dir, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var buildOnce = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("PIPSQUEAK_BIN"); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "pipsqueak")); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("PIPSQUEAK_BIN=%s has no pipsqueak in it; run `make build`", dir)
		}
		return filepath.Abs(dir)
	}
	dir, err := os.MkdirTemp("", "pipsqueak-bin-")
	if err != nil {
		return "", err
	}
	temporary = append(temporary, dir)
	if err := os.Chmod(dir, 0o755); err != nil { // like any place that programs are installed in
		return "", err
	}
	out, err := exec.Command("make", "-C", "..", "build", "BIN="+dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make build: %w\n%s", err, out)
	}
	return dir, nil
})

// temporary are the folders to remove when all tests have run.
var temporary []string

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the shared worker:", err)
		code = 1
	}
	for _, dir := range temporary {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// TestRequires checks that a missing need skips on a developer's machine and fails in CI.
func TestRequires(t *testing.T) {
	for _, ci := range []string{"", "true"} {
		t.Setenv("CI", ci)
		probe := &verdict{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			requires(probe, need{"nothing", func() error { return nil }}, need{"a unicorn", func() error { return errors.New("none here") }})
		}()
		<-done
		if probe.failed != (ci != "") || probe.skipped != (ci == "") || !strings.Contains(probe.text, "a unicorn") {
			t.Errorf("CI=%q: failed %v, skipped %v, text %q", ci, probe.failed, probe.skipped, probe.text)
		}
	}
}

// verdict records how a test would have ended.
type verdict struct {
	testing.TB
	failed, skipped bool
	text            string
}

func (v *verdict) Helper() {}
func (v *verdict) Fatalf(format string, args ...any) {
	v.failed, v.text = true, fmt.Sprintf(format, args...)
	runtime.Goexit()
}
func (v *verdict) Skipf(format string, args ...any) {
	v.skipped, v.text = true, fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// tail is an io.Writer that keeps the end of what was written, for the message of a failed test.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 64 << 10

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	if over := len(b.text) - tailSize; over > 0 {
		b.text = bytes.Clone(b.text[over:])
	}
	return len(p), nil
}

func (b *tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// last returns the last n bytes.
func (b *tail) last(n int) string {
	text := b.String()
	return text[max(0, len(text)-n):]
}
