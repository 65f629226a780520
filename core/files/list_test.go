package files

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

// digestOfDir is the digest of a directory.
func digestOfDir(dir string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	return Digest(root)
}

func TestBounds(t *testing.T) {
	for want, bounds := range map[string]Bounds{"": {Entries: 3, Bytes: 4}, "more than 2 files and directories": {Entries: 2, Bytes: 4}, "more than 0 MiB together": {Entries: 3, Bytes: 3}} {
		dir := t.TempDir()
		filestest.Write(t, dir, map[string]string{"a": "12", "b/c": "34"})
		root, err := os.OpenRoot(dir)
		coretest.Must(t, err)
		defer root.Close()
		_, err = Seal(root, bounds)
		if want != "" {
			coretest.WantError(t, err, core.KindTooLarge, core.FaultCaller, want)
		} else {
			coretest.Must(t, err)
		}
	}
}

func TestDigest(t *testing.T) {
	base := map[string]string{"a": "1", "b/c": "2 x", "l": "-> a", "empty": "dir"}
	of := func(files map[string]string) string {
		dir := t.TempDir()
		filestest.Write(t, dir, files)
		digest, err := digestOfDir(dir)
		coretest.Must(t, err)
		return digest
	}
	// Written down, so that a change of the format, which would orphan what is in data directories, does not
	// go unnoticed.
	if got, want := of(base), "sha256:63abc0bb79d6c8c8d1c535ac08421b45b371b6ef412fbccec07eed311f4fa4d4"; got != want {
		t.Errorf("the digest is %s, was %s", got, want)
	}
	seen := map[string]string{of(base): "base"}
	for what, change := range map[string]map[string]string{
		"content":         {"a": "2"},
		"one more":        {"d": ""},
		"byte code":       {"b/__cache__/c.pyc": "2"},
		"not executable":  {"b/c": "2"},
		"executable":      {"a": "1 x"},
		"link elsewhere":  {"l": "-> b"},
		"file for a link": {"l": "a"},
		"empty directory": {"b/d": "dir"},
		"file for it":     {"empty": ""},
		"line in a name":  {"a\nfile \"x\" 0": ""},
	} {
		changed := maps.Clone(base)
		maps.Copy(changed, change)
		digest := of(changed)
		if other, ok := seen[digest]; ok {
			t.Errorf("%s has the digest of %s", what, other)
		}
		seen[digest] = what
	}
	same := t.TempDir()
	filestest.Write(t, same, base)
	coretest.Must(t, os.Link(filepath.Join(same, "a"), filepath.Join(t.TempDir(), "other")))
	coretest.Must(t, os.Chmod(filepath.Join(same, "a"), 0o600))
	coretest.Must(t, os.Chmod(filepath.Join(same, "b/c"), 0o700|fs.ModeSetuid))
	coretest.Must(t, os.Chtimes(filepath.Join(same, "a"), time.Unix(1, 0), time.Unix(1, 0)))
	if digest, err := digestOfDir(same); err != nil || seen[digest] != "base" {
		t.Errorf("times, modes and hard links changed the digest: %v %v", seen[digest], err)
	}
}

// TestList has the list of a tree with names as nobody gives them, which comes back as it was.
func TestList(t *testing.T) {
	dir := t.TempDir()
	filestest.Write(t, dir, map[string]string{"a": "1", "b/c d": "2 x", "b/\"q\" \n\\": "3", "\xff\xfe": "4", "empty": "dir", "l": "-> b/c d", "ü": ""})
	root, err := os.OpenRoot(dir)
	coretest.Must(t, err)
	defer root.Close()
	list, err := Read(root)
	coretest.Must(t, err)
	text, digest := list.Text()
	again, err := ParseList(text, digest)
	coretest.Must(t, err)
	if got, _ := again.Text(); string(got) != string(text) || len(again) != 8 {
		t.Errorf("got\n%swant\n%s", got, text)
	}
	if list, err := ParseList(append(text, "dir \"z\"\n"...), digest); err == nil {
		t.Errorf("the list of another tree is read as %v", list)
	}
	for _, bad := range []string{"", "pipsqueak tree 2\n", listHead + "x \"a\"\n", listHead + "file \"a\" 1\n", listHead + "file a 1 00\n", listHead + "dir \"a\n"} {
		if list, err := parseList([]byte(bad)); err == nil {
			t.Errorf("%q is read as %v", bad, list)
		}
	}
}
