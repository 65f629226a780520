package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Does a driver that is new share packages?

// driverWithPackages makes a driver as the tutorial says, gives it an installer, and returns the directory it
// is in.
func driverWithPackages(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "made")
	succeed(t, filepath.Join(programs(t), "pipsqueak"), "driver", "new", "perl", dir, "--source", repositoryRoot(t))
	text, err := os.ReadFile(filepath.Join(repositoryRoot(t), "integration/testdata/driver-packages/packages.go.txt"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "packages.go"), string(text))
	edit(t, filepath.Join(dir, "main.go"), "driver.Serve(zygote.New", "serve(zygote.New", `core.CapabilityFork}`, `core.CapabilityFork, core.CapabilityInstall}`)
	succeed(t, "make", "-C", dir, "build")
	return filepath.Join(dir, "build")
}

// edit replaces texts in a file: before and after, any number of times.
func edit(t *testing.T, path string, texts ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(texts); i += 2 {
		if !strings.Contains(string(text), texts[i]) {
			t.Fatalf("%s has no %q", path, texts[i])
		}
	}
	writeFile(t, path, strings.NewReplacer(texts...).Replace(string(text)))
}

// TestDriverShares: the processes of a new driver see which files packages look for, so those that look for
// none are in zygotes; those that do see the files of each function. What makes a process see that is not for
// what a handler starts.
func TestDriverShares(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir(), "--drivers", driverWithPackages(t))
	f := files{
		"wheels/plain.py": "shared = 7\n",
		"wheels/looks.py": "import os\nsettings = open('settings').read() if os.path.exists('settings') else 'none'\n",
		"handler.py": `
import os, subprocess
import looks, plain
def handler(event, context):
    started = subprocess.run(["/usr/bin/env"], capture_output=True, text=True).stdout
    return [plain.shared, looks.settings, "LD_PRELOAD" in os.environ or "LD_PRELOAD" in started, "libpipsqueak" in started]
`,
		"pipsqueak.yaml": "reuse: false\n",
	}
	w.deploy(t, "bare", f)
	eventually(t, patience, "a zygote that has imported both packages", func() bool {
		return slices.ContainsFunc(w.snapshot(t).Nodes, func(n core.NodeInfo) bool {
			return n.Role == core.RoleZygote && slices.Equal(slices.Sorted(slices.Values(n.Modules)), []string{"looks", "plain"})
		})
	})
	w.deploy(t, "set", f.with("settings", "mine"))
	for name, want := range map[string]string{"bare": `[7,"none",false,false]`, "set": `[7,"mine",false,false]`} {
		for range 3 {
			if a := w.run(t, name, `1`); strings.ReplaceAll(string(a.body), " ", "") != want {
				t.Fatalf("%s: %v, want %s", name, a, want)
			}
		}
	}
	if instances := w.leaves(t, "bare"); len(instances) == 0 || len(instances[0].Modules) != 2 {
		t.Errorf("what is to serve next is %+v", instances)
	}
}
