package integration

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// maxTracked bounds a tracked file, in bytes. The largest of ours is a generated one of 90 KB.
const maxTracked = 512 << 10

// TestTrackedFiles holds that the repository has sources only: no compiled program, no archive that somebody built in passing.
func TestTrackedFiles(t *testing.T) {
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for name := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
		if problem := untrackable(t, filepath.Join("..", string(name))); problem != "" {
			t.Errorf("%s %s: remove it with git rm, and add its name to .gitignore", name, problem)
		}
	}
}

func TestTrackedFilesAreLookedAt(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if untrackable(t, program) == "" {
		t.Error("a compiled program passes for a source")
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, maxTracked+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if untrackable(t, large) == "" {
		t.Error("a large file passes for a source")
	}
}

// untrackable returns why a file must not be tracked, or nothing. A file that is gone, or a link, may be.
func untrackable(t *testing.T, name string) string {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	if info.Size() > maxTracked {
		return "is too large for a source"
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); err == nil && bytes.Equal(magic, []byte("\x7fELF")) {
		return "is a compiled program"
	}
	return ""
}
