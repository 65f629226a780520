package integration

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Is everything in the repository meant to be there?

// maxTracked bounds a tracked file, in bytes. The largest of ours is a generated one of 90 KB.
const maxTracked = 512 << 10

// topFolders and topFiles are the whole top level of the repository: what a stranger sees first.
var (
	topFolders = []string{".ci", "cmd", "core", "docs", "drivers", "examples", "gateway", "integration"}
	topFiles   = []string{".gitignore", ".golangci.yml", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "DECISIONS.md", "LICENSE", "Makefile",
		"README.md", "SPECIFICATION.md", "go.mod", "go.sum"}
)

// TestTrackedFiles holds that the repository has sources only, in the folders that are known: no compiled program, no archive that somebody built in passing.
func TestTrackedFiles(t *testing.T) {
	names := tracked(t)
	if len(names) < 100 {
		t.Fatalf("git lists only %d files: the list is broken", len(names))
	}
	for _, name := range names {
		if problem := misplaced(name); problem != "" {
			t.Errorf("%s %s", name, problem)
		}
		if problem := untrackable(t, filepath.Join("..", name)); problem != "" {
			t.Errorf("%s %s: remove it with git rm, and add its name to .gitignore", name, problem)
		}
	}
}

// tracked returns the names of all tracked files, with slashes.
func tracked(t *testing.T) (names []string) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for name := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
		names = append(names, string(name))
	}
	return names
}

// misplaced returns why a tracked file is where none may be, or nothing.
func misplaced(name string) string {
	folder, _, below := strings.Cut(name, "/")
	switch {
	case below && !slices.Contains(topFolders, folder):
		return "is in a new folder at the top level: move it to one of " + strings.Join(topFolders, ", ")
	case !below && !slices.Contains(topFiles, name):
		return "is a new file at the top level: move it to the folder of what it is about"
	}
	return ""
}

func TestTrackedFilesAreLookedAt(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if untrackable(t, program) == "" {
		t.Error("a compiled program passes for a source")
	}
	for _, name := range []string{"osv/osv.go", "native", "tools/x", ".github/workflows/x.yml", "core2/core/x.go"} {
		if misplaced(name) == "" {
			t.Errorf("%s passes for a part of the top level", name)
		}
	}
	for _, name := range []string{"core/core.go", "README.md", ".ci/run", "cmd/pipsqueak/osv/osv.go"} {
		if problem := misplaced(name); problem != "" {
			t.Errorf("%s %s", name, problem)
		}
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
