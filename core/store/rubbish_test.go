package store

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

// writer is a process that fills a directory of staging without end, as one that an earlier worker has left.
func writer(t *testing.T, s *Store) *exec.Cmd {
	t.Helper()
	dir := filepath.Join(s.dir, "staging", "left")
	cmd := exec.Command("sh", "-c", `i=0; while :; do mkdir -p "$0/$i"; echo x > "$0/$i/f"; echo x > "$0/$((i+1))"; i=$(((i+2)%64)); done`, dir)
	cmd.Stdout = io.Discard // a pipe, which its mkdir has as well: Wait waits for both
	coretest.Must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for !exists(filepath.Join(dir, "10")) {
		time.Sleep(time.Millisecond)
	}
	return cmd
}

// The processes of an earlier worker end before what they write is removed.
func TestOpenEndsWritersFirst(t *testing.T) {
	s := openTest(t)
	coretest.Must(t, s.Close())
	for range 20 {
		left := writer(t, s)
		next, warnings, err := OpenAfter(s.dir, func() error {
			coretest.Must(t, left.Process.Kill())
			_ = left.Wait()
			return nil
		})
		coretest.Must(t, err)
		if rest, _ := os.ReadDir(filepath.Join(s.dir, "staging")); len(rest) > 0 || len(warnings) > 0 {
			t.Fatalf("left: %v, warnings %v", rest, warnings)
		}
		coretest.Must(t, next.Close())
	}
}

// One that cannot be ended is in nobody's way.
func TestOpenBesideWriter(t *testing.T) {
	s := openTest(t)
	coretest.Must(t, s.Close())
	writer(t, s)
	for range 20 {
		next, _, err := Open(s.dir)
		coretest.Must(t, err)
		coretest.Must(t, next.Close())
	}
}

// Whatever lies about in the data directory, the worker starts, and functions that are whole are there.
func TestRubbish(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"unknown files": func(dir string) error {
			filestest.Write(t, dir, map[string]string{"notes": "x", "code/x": "x", "packages/y/z": "x", "index/a": "x", "index/b/c/d": "x", "locks/e": "x", "scans/f": "x", "scans/g/h": "x",
				"functions/i": "x", "functions/j/k": "x", "journal/l": "x", "journal/m/n": "x", "staging/o/p": "x", "code/z.damaged/q": "x"})
			return nil
		},
		"directories for files": func(dir string) error {
			filestest.Write(t, dir, map[string]string{"functions/d.json/x": "x", "functions/d.removed/x": "x", "journal/d.json/x": "x", "locks/" + strings.Repeat("0", 64) + ".json/x": "x"})
			return os.Remove(filepath.Join(dir, "lock"))
		},
		"a directory for the lock": func(dir string) error {
			filestest.Write(t, dir, map[string]string{"lock.d/x": "x"})
			return os.Rename(filepath.Join(dir, "lock.d"), must2(t, filepath.Join(dir, "lock"), os.Remove))
		},
		"files for directories": func(dir string) error {
			for _, name := range []string{"staging", "journal", "scans", "locks", "index"} {
				coretest.Must(t, os.RemoveAll(filepath.Join(dir, name)))
				filestest.Write(t, dir, map[string]string{name: "x"})
			}
			return nil
		},
		"a link for a directory": func(dir string) error {
			coretest.Must(t, os.RemoveAll(filepath.Join(dir, "journal")))
			return os.Symlink("nowhere", filepath.Join(dir, "journal"))
		},
		"nothing but functions": func(dir string) error {
			for _, name := range []string{"staging", "journal", "scans", "locks", "index"} {
				coretest.Must(t, os.RemoveAll(filepath.Join(dir, name)))
			}
			return nil
		},
		"modes": func(dir string) error {
			for _, name := range []string{"staging", "journal", "functions", "code"} {
				coretest.Must(t, os.Chmod(filepath.Join(dir, name), 0))
			}
			return nil
		},
		"a torn journal": func(dir string) error {
			filestest.Write(t, dir, map[string]string{"journal/x.json": `{"boot":"another","entries":[{"name":"p"},{}`, "journal/y.json": `{"boot":"another","entries":[{"digest":"sha256:zz"}]}`})
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t)
			deploy(t, s, "good", "1")
			coretest.Must(t, s.Close())
			coretest.Must(t, spoil(s.dir))
			for range 2 { // what was moved aside is no trouble either
				next, warnings, err := Open(s.dir)
				if err != nil {
					t.Fatalf("the worker does not start: %v", err)
				}
				t.Log(fmt.Sprint(warnings))
				if _, ok := next.Get("good"); !ok {
					t.Error("the function is gone")
				}
				if _, err := next.Stage(); err != nil {
					t.Error(err)
				}
				coretest.Must(t, next.Close())
			}
		})
	}
}

// must2 does something with a path and returns it.
func must2(t *testing.T, path string, do func(string) error) string {
	t.Helper()
	coretest.Must(t, do(path))
	return path
}
