package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What can a hostile server, or a hostile function, do to whoever runs the client?

func TestForTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext\n":                "plain\ttext\n",
		"größer → 日本 👍":                "größer → 日本 👍",
		"\x1b]0;title\x07\x1b[2J":      `\x1b]0;title\a\x1b[2J`,
		"one\rtwo\b\x7f":               `one\rtwo\b\x7f`,
		"C1 \u009b31m, as a byte \x9b": `C1 \u009b31m, as a byte \x9b`,
		"right \u202eto left\u2066":    `right \u202eto left\u2066`,
		"cut \xe2\x82":                 "cut ",
	} {
		for _, size := range []int{1, 2, 3, 100} {
			var out strings.Builder
			w := forTerminal(&out)
			for rest := text; rest != ""; {
				part := rest[:min(size, len(rest))]
				if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
				rest = rest[len(part):]
			}
			if out.String() != want {
				t.Errorf("%q, %d bytes at a time, is written as %q, want %q", text, size, out.String(), want)
			}
		}
	}
}

// The files of a lock are written into the function's directory, whatever names a server gives them.
func TestLockStaysInside(t *testing.T) {
	for _, name := range []string{"../escaped", "/tmp/pipsqueak-escaped", "a/../../escaped", "..", "", "link/file", "pipsqueak.lock"} {
		top := t.TempDir()
		dir := filepath.Join(top, "hello")
		coretest.Must(t, os.MkdirAll(dir, 0o755))
		coretest.Must(t, os.MkdirAll(filepath.Join(top, "outside"), 0o755))
		coretest.Must(t, os.Symlink("../outside", filepath.Join(dir, "link")))
		err := writeLock(dir, core.Lock{Runtime: "python3.11", Files: map[string]string{"good.lock": "good", name: "evil"}})
		if err == nil || !core.IsKind(err, core.KindInvalid) || core.AsError(err).Fault != core.FaultWorker || !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("%q: %v", name, err)
		}
		var found []string
		coretest.Must(t, filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
			if d.Type().IsRegular() {
				found = append(found, path)
			}
			return err
		}))
		if len(found) != 0 {
			t.Errorf("with the file %q there are %q afterwards", name, found)
		}
	}
}
