package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// reference is the build with which the benchmarks compare this one: `make bench` makes it.
var reference = coretest.Need{Name: "the reference build in PIPSQUEAK_REFERENCE, which make bench makes", Met: func() error {
	_, err := os.Stat(filepath.Join(os.Getenv("PIPSQUEAK_REFERENCE"), "pipsqueak"))
	return err
}}

// metered starts a worker of a build in a cgroup of its own. spent returns the processor time of the worker
// and all that it has started, also of what has ended.
func metered(b *testing.B, bin string) (w *worker, spent func() time.Duration) {
	b.Helper()
	dir, spent := meter(b)
	command := exec.Command("sh", "-c", `echo $$ >"$0"/cgroup.procs && exec "$@"`, dir, filepath.Join(bin, "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", b.TempDir())
	w, err := launch(command, command.Args[len(command.Args)-1])
	if err != nil {
		b.Fatal(err)
	}
	stopWith(b, w)
	return w, spent
}

// meter makes a cgroup for a worker, which moves itself there, and has ended when the test does. spent
// returns the processor time of all that was in it.
func meter(b *testing.B) (dir string, spent func() time.Duration) {
	b.Helper()
	dir, file, unit := "/sys/fs/cgroup/cpuacct", "cpuacct.usage", time.Nanosecond
	if _, err := os.Stat(dir); err != nil { // v2
		dir, file, unit = "/sys/fs/cgroup", "cpu.stat", time.Microsecond
	}
	dir, err := os.MkdirTemp(dir, "pipsqueak-bench-")
	if err != nil {
		b.Fatal(err)
	}
	_ = unix.Setxattr(dir, "trusted.delegate", []byte("1"), 0) // on v2 the worker's own cgroups are below it then
	b.Cleanup(func() {
		for _, below := range []string{dir + "/worker", dir} {
			if err := os.Remove(below); err != nil && !os.IsNotExist(err) {
				b.Error(err)
			}
		}
	})
	return dir, func() time.Duration {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			b.Fatal(err)
		}
		number, _, _ := strings.Cut(strings.TrimPrefix(string(text), "usage_usec "), "\n")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			b.Fatalf("%s: %v", file, err)
		}
		return time.Duration(n) * unit
	}
}
