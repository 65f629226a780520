package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What does a test need of the machine, and does it fail in CI without that?

// What tests need. Runtime is a function of the program's name.
var (
	Root    = coretest.Root()
	Cgroups = coretest.Need{Name: "cgroups", Met: func() error {
		for _, dir := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
			if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
				return writableDir(dir)
			}
		}
		return errors.New("no cgroup hierarchy under /sys/fs/cgroup")
	}}
)

// Runtime needs an interpreter at its usual place.
func Runtime(program string) coretest.Need { return coretest.File("/usr/bin/" + program) }

// system is what nearly every test here needs.
func system(t testing.TB) {
	t.Helper()
	coretest.Requires(t, Root, Cgroups, Runtime("python3"))
}

func writableDir(dir string) error {
	probe := filepath.Join(dir, fmt.Sprintf("integration-probe-%d", os.Getpid()))
	if err := os.Mkdir(probe, 0o755); err != nil {
		return err
	}
	return os.Remove(probe)
}

// programs returns the folder with the built programs: PIPSQUEAK_BIN, or one that is built for this run of
// the tests by the same recipe as everywhere, `make build`.
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
