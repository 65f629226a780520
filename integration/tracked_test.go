package integration

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// TestTrackedFiles holds that the repository has sources only, in the folders that are known: no compiled
// program, no archive that somebody built in passing.
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

// TestTrackedWords holds that no text has a word that the project has a usual one for.
func TestTrackedWords(t *testing.T) {
	for _, name := range tracked(t) {
		if name == "integration/rule_words_test.go" {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			if info, gone := os.Stat(filepath.Join("..", name)); gone != nil || info.IsDir() {
				continue // removed, or a link
			}
			t.Fatal(err)
		}
		for _, problem := range refused(string(text)) {
			t.Errorf("%s:%s", name, problem)
		}
	}
	if found := refused(twoRefused); len(found) != 2 {
		t.Errorf("of two refused words, these are found: %q", found)
	}
}

// makeLines and makeColumns bound the Makefile and the files that it includes: a target's dependencies are
// read at a glance.
const makeLines, makeColumns = 120, 140

// TestTrackedMakefiles holds that the Makefile is short, and names no driver: each says in its own driver.mk
// how it is built.
func TestTrackedMakefiles(t *testing.T) {
	seen := 0
	for _, name := range tracked(t) {
		if name != "Makefile" && filepath.Ext(name) != ".mk" {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		seen++
		for _, problem := range unreadable(name, string(text)) {
			t.Errorf("%s %s", name, problem)
		}
	}
	if seen < 4 {
		t.Errorf("only %d makefiles: the list is broken", seen)
	}
	long := strings.Repeat("all:\n", makeLines-1) + strings.Repeat("x", makeColumns+1) + "\n"
	if problems := unreadable("Makefile", long+"bin/driver-python: drivers/python/main.go\n"); len(problems) != 4 {
		t.Errorf("a Makefile that is too long, too wide and names a driver twice has the problems %q", problems)
	}
}

// namesDriver is how the Makefile would know of one driver.
var namesDriver = regexp.MustCompile(`drivers?[/-][a-z]+`)

// unreadable returns what is wrong with the text of a makefile.
func unreadable(name, text string) (problems []string) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > makeLines {
		problems = append(problems, fmt.Sprintf("has %d lines, more than %d: say how a part is built in the part's own folder", len(lines), makeLines))
	}
	for i, line := range lines {
		if len(line) > makeColumns {
			problems = append(problems, fmt.Sprintf("line %d has more than %d columns", i+1, makeColumns))
		}
		if name != "Makefile" {
			continue
		}
		for _, driver := range namesDriver.FindAllString(line, -1) {
			problems = append(problems, fmt.Sprintf("line %d names %s: its driver.mk can say that", i+1, driver))
		}
	}
	return problems
}

// TestTrackedMakefileTakesDrivers holds that a new language is a new folder: no other line changes.
func TestTrackedMakefileTakesDrivers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range tracked(t) {
		if name == "Makefile" || filepath.Ext(name) == ".mk" {
			text, err := os.ReadFile(filepath.Join("..", name))
			if err != nil {
				t.Fatal(err)
			}
			writeTracked(t, filepath.Join(dir, name), string(text))
		}
	}
	writeTracked(t, filepath.Join(dir, "drivers/perl/driver.mk"), "build: $(BIN)/pipsqueak-driver-perl $(LIBEXEC)/perl/loop.pl\n"+
		"$(LIBEXEC)/perl/loop.pl:\n\tcp drivers/perl/loop.pl $@\nPACKAGES += perl5:libperl-dev\n")
	plan := exec.CommandContext(t.Context(), "make", "-nk", "build", "BIN=/b")
	plan.Dir = dir
	out, _ := plan.CombinedOutput() // it fails for the other drivers, whose files are not there
	for _, want := range []string{"-o /b/pipsqueak-driver-perl ./drivers/perl\n", "cp drivers/perl/loop.pl /b/libexec/perl/loop.pl\n", " perl5:libperl-dev"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("make -nk build does not run %q:\n%s", want, out)
		}
	}
}

func writeTracked(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
