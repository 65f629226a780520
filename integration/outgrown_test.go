package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What does a package get that takes memory in a zygote?

// A package behaves when it is probed, and has its zygote take a GiB at each fork later. The zygote ends at
// its limit, every event is answered, and the package is in no zygote any more.
func TestOutgrown(t *testing.T) {
	system(t)
	for _, l := range attackers {
		if l.publish == nil {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			coretest.Requires(t, Runtime(l.program))
			address := l.publish(t, map[string]string{mischief: growing(t, l)})
			sources := t.TempDir()
			if l.name == "native" {
				sources = address
			}
			w := startWithSources(t, programs(t), t.TempDir(), sources)
			f := l.carrier(mischief).and(l.needs(address, mischief))
			w.deploy(t, "carrier", f.with("pipsqueak.yaml", f["pipsqueak.yaml"]+fresh))
			w.probed(t, "carrier")
			forkStart(t, w, "carrier", `""`)
			for range 20 {
				w.run(t, "carrier", `{}`)
			}
			const said = "of memory that it may use"
			if !strings.Contains(w.logs.String(), said) {
				t.Error("no zygote has outgrown its limit, or the log does not say so")
			}
			found := false
			for module, why := range w.function(t, "carrier").Apart {
				found = found || strings.Contains(module, "mischief") && strings.Contains(why, said)
			}
			if !found {
				t.Errorf("apart are %v", w.function(t, "carrier").Apart)
			}
			if most := w.mostMemory(t); most > 700<<20 {
				t.Errorf("the sandboxes had %d MiB together", most>>20)
			}
		})
	}
}

// growing returns the library of a package that takes memory when its process is forked.
func growing(t *testing.T, l attacker) string {
	t.Helper()
	sources, out := filepath.Join(repositoryRoot(t), "integration", "testdata", "attacks"), filepath.Join(t.TempDir(), "library")
	arguments := append([]string{"-shared", "-fPIC", "-O1", "-DAT_IMPORT", "-Wl,-soname,lib" + mischief + ".so.1", "-o", out, filepath.Join(sources, "growth.c")}, l.flags...)
	if l.packageAdapter != "" {
		arguments = append(arguments, filepath.Join(sources, l.packageAdapter))
	}
	if said, err := exec.Command("cc", arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	text, err := os.ReadFile(out)
	coretest.Must(t, err)
	return string(text)
}

// mostMemory returns how many bytes of memory all sandboxes of the worker had together at the most.
func (w *worker) mostMemory(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", w.zygotes(t)[0].PID))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, place, _ := strings.Cut(strings.TrimSpace(line), ":")
		controller, path, _ := strings.Cut(place, ":")
		for _, file := range []string{controller + path + "/../memory.max_usage_in_bytes", path + "/../memory.peak"} {
			text, err := os.ReadFile("/sys/fs/cgroup/" + file)
			if err == nil {
				most, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
				return most
			}
		}
	}
	t.Fatal("the worker's cgroup is not there")
	return 0
}
