package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What of a driver does a function see?

// TestFunctionsSeeTheLoopAlone looks from outside at what zygotes and instances of each language have below
// /pipsqueak: the loop, and no other file of the driver, such as its installer or scanner.
func TestFunctionsSeeTheLoopAlone(t *testing.T) {
	system(t)
	for _, l := range subjects {
		t.Run(l.name, func(t *testing.T) {
			coretest.Requires(t, l.needs...)
			w, function := shared(t), "sees-"+l.name
			w.deploy(t, function, directory(t, l.dir("bare")).with("pipsqueak.yaml", "reuse: true\n"))
			result[any](t, w, function, `{}`)
			ours := filesBelow(t, filepath.Join(programs(t), "libexec", l.name))
			runtime, looked := w.function(t, function).Runtime, []core.Role{}
			for _, n := range w.snapshot(t).Nodes {
				root := fmt.Sprintf("/proc/%d/root/pipsqueak", n.PID)
				if _, err := os.Stat(root); n.Runtime != runtime || n.PID == 0 || err != nil {
					continue // of another language, or ended
				}
				looked = append(looked, n.Role)
				loop := 0
				for at, shown := range filesBelow(t, root) {
					for path, file := range ours {
						switch {
						case !os.SameFile(file, shown):
						case strings.HasPrefix(path, filepath.Join(programs(t), "libexec", l.name, "loop")+"/"):
							loop++
						default:
							t.Errorf("%s %s sees %s, as %s", n.Role, n.ID, path, at)
						}
					}
				}
				if loop == 0 {
					t.Errorf("%s %s sees no file of the loop", n.Role, n.ID)
				}
			}
			if !slices.Contains(looked, core.RoleZygote) || !slices.Contains(looked, core.RoleInstance) {
				t.Errorf("there were %v", looked)
			}
		})
	}
}

// filesBelow returns the files below a directory, by path. Some may go meanwhile.
func filesBelow(t *testing.T, dir string) map[string]os.FileInfo {
	t.Helper()
	files := map[string]os.FileInfo{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		files[path] = info
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}
