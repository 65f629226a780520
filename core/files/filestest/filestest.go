// Package filestest writes and reads trees of files for tests, as maps of paths to what is there: a file's
// content, "dir", or "-> target" for a symbolic link. " x" after a content makes the file executable.
package filestest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Write makes the files of a tree below dir, and the directories above them.
func Write(t testing.TB, dir string, tree map[string]string) {
	t.Helper()
	for name, content := range tree {
		if err := write(filepath.Join(dir, name), content); err != nil {
			t.Fatal(err)
		}
	}
}

func write(name, content string) error {
	if content == "dir" {
		return os.MkdirAll(name, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if target, isLink := strings.CutPrefix(content, "-> "); isLink {
		return os.Symlink(target, name)
	}
	if body, executable := strings.CutSuffix(content, " x"); executable {
		return os.WriteFile(name, []byte(body), 0o755)
	}
	return os.WriteFile(name, []byte(content), 0o644)
}

// Read returns the tree below dir. A file whose mode is neither 0644 nor 0755 is an error of the test.
func Read(t testing.TB, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err == nil {
			tree[relative], err = read(t, name, entry)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func read(t testing.TB, name string, entry fs.DirEntry) (string, error) {
	t.Helper()
	switch entry.Type() {
	case fs.ModeDir:
		return "dir", nil
	case fs.ModeSymlink:
		target, err := os.Readlink(name)
		return "-> " + target, err
	}
	info, err := entry.Info()
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(name)
	switch info.Mode() {
	case 0o644:
	case 0o755:
		content = append(content, " x"...)
	default:
		t.Errorf("%s has the mode %v", name, info.Mode())
	}
	return string(content), err
}
