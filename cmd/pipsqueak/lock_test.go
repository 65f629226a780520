package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestLock(t *testing.T) {
	dir := write(t, "hello", map[string]string{"handler.py": "pass", "own.lock": "the user's"})
	w := newWorld()
	at := func(name, version string) core.Locked {
		return core.Locked{Name: name, Version: version, Archives: []string{"sha256:00"}}
	}
	w.locked = core.Lock{Runtime: "python3.11", Inputs: "sha256:11", Packages: []core.Locked{at("a", "1"), at("b", "1")},
		Files: map[string]string{"own.lock": "the tool's", "other.lock": "text"}}
	file := filepath.Join(dir, "pipsqueak.lock")
	steps := "  0.0s  upload\n  0.0s  resolve lock                             2 packages, 1.5s\n"
	pipsqueak(t, w, "", "lock", dir).want(t, 0, "+ a 1\n+ b 1\n"+file+": 2 packages for python3.11\n", steps)
	for name, want := range map[string]string{"own.lock": "the user's", "other.lock": "text"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); string(text) != want {
			t.Errorf("%s is %q, want %q: %v", name, text, want, err)
		}
	}
	var written core.Lock
	text, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(text, &written) != nil || written.Inputs != "sha256:11" || len(written.Packages) != 2 || written.Files != nil {
		t.Errorf("%s, %v", text, err)
	}

	w.locked.Packages = []core.Locked{at("a", "2"), at("c", "1")}
	pipsqueak(t, w, "", "lock", dir).want(t, 0, "~ a 1 → 2\n+ c 1\n- b 1\n"+file+": 2 packages for python3.11\n", steps)
	if entries, _ := os.ReadDir(dir); len(entries) != 4 {
		t.Errorf("%d files in the directory: %v", len(entries), entries)
	}
}

func TestLockRefused(t *testing.T) {
	got := pipsqueak(t, newWorld(), "", "lock", filepath.Join(t.TempDir(), "nothing"))
	if got.status != 1 || !strings.Contains(got.err, "is not a directory") {
		t.Errorf("%+v", got)
	}
	dir := write(t, "app", map[string]string{"pipsqueak.yaml": "functions:\n  one:\n    dir: .\n  two:\n    dir: .\n", "handler.py": "1"})
	got = pipsqueak(t, newWorld(), "", "lock", dir)
	if got.status != 1 || !strings.Contains(got.err, "two functions") {
		t.Errorf("%+v", got)
	}
}
