package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Whatever is counted in a cgroup of either version keeps it from being used again, and so does a count that
// cannot be read.
func TestCountsOfCgroups(t *testing.T) {
	for what, files := range map[string]map[string][]string{ // the first text is that of a new one
		"v1": {
			"memory.oom_control":              {"oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "oom_kill_disable 0\nunder_oom 0\n"},
			"memory.memsw.max_usage_in_bytes": {"3000000\n", "33400000\n", "33554432\n", ""},
			"memory.memsw.limit_in_bytes":     {"33554432\n"},
			"memory.usage_in_bytes":           {"1000000\n", "2000000\n", ""},
			"pids.events":                     {"max 0\n", "max 1\n"},
			"pids.current":                    {"0\n", "1\n"},
		},
		"v2": {
			"memory.events":  {"low 0\nhigh 0\nmax 5\noom 0\noom_kill 0\noom_group_kill 0\n", "low 0\nhigh 0\nmax 5\noom 1\noom_kill 0\n", "low 0\nhigh 0\nmax 5\noom 0\noom_kill 1\n", ""},
			"memory.current": {"1000000\n", "2000000\n", ""},
			"pids.events":    {"max 0\n", "max 1\n"},
			"pids.current":   {"0\n", "1\n"},
		},
	} {
		dir := t.TempDir()
		write := func(name, text string) { coretest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)) }
		for name, texts := range files {
			write(name, texts[0])
		}
		c := &cgroup{unified: what == "v2", countsSwap: true, memory: dir, pids: dir}
		var err error
		c.current, err = openUnpolled(filepath.Join(dir, "pids.current"), unix.O_RDONLY)
		coretest.Must(t, err)
		defer c.current.Close()
		fits := func() bool { return c.isUnmarked() && c.isEmpty() }
		if !fits() {
			t.Errorf("%s: a new one is not used", what)
		}
		for name, texts := range files {
			for _, text := range texts[1:] {
				write(name, text)
				if fits() {
					t.Errorf("%s: it is used again with %q in %s", what, text, name)
				}
			}
			write(name, texts[0])
		}
	}
}
