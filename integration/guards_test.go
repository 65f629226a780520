package integration

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Is ARCHITECTURE.md true? Its table of packages is the one that is enforced, and what it says guards an invariant is there.

func TestArchitectureDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repositoryRoot(t), "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range append(undocumented(string(text)), unguarded(string(text), repository(t))...) {
		t.Error(violation)
	}
}

// undocumented returns in which rows the table of packages is not the one of this test.
func undocumented(text string) (violations []string) {
	for _, r := range imports {
		cells := rowsOf(text, r.folder)
		if len(cells) != 1 {
			violations = append(violations, fmt.Sprintf("the table of ARCHITECTURE.md has %d rows for %s", len(cells), r.folder))
			continue
		}
		if own := list(cells[0], 2); !slices.Equal(own, r.module) {
			violations = append(violations, fmt.Sprintf("ARCHITECTURE.md says that %s imports %q of this module; the rule is %q", r.folder, own, r.module))
		}
		if third := list(cells[0], 3); len(third) != len(r.third) {
			violations = append(violations, fmt.Sprintf("ARCHITECTURE.md says that %s imports the third parties %q; the rule is %q", r.folder, third, r.third))
		}
	}
	return violations
}

// rowsOf returns the cells of the rows of tables that begin with a word.
func rowsOf(text, first string) (rows [][]string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "| "+first+" |") {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

// list returns what a cell lists, nil for a dash or no cell.
func list(cells []string, i int) []string {
	if i >= len(cells) || cells[i] == "–" || cells[i] == "" {
		return nil
	}
	return strings.Split(cells[i], ", ")
}

// backticked is a name in backticks, and testsOf the packages that are named as having tests.
var (
	backticked = regexp.MustCompile("`([^`]+)`")
	testsOf    = regexp.MustCompile("core/[a-z/]+[a-z]")
)

// unguarded returns which invariants have a guard that is not there, or none.
func unguarded(text string, sources []source) (violations []string) {
	functions, tested := map[string]bool{}, map[string]bool{}
	for _, s := range sources {
		if !s.test() {
			continue
		}
		tested[s.folder()] = true
		for _, decl := range s.file.Decls {
			if f, is := decl.(*ast.FuncDecl); is {
				functions[f.Name.Name] = true
			}
		}
	}
	invariants := 0
	for ; len(rowsOf(text, strconv.Itoa(invariants+1))) > 0; invariants++ {
		number, row := invariants+1, rowsOf(text, strconv.Itoa(invariants+1))[0]
		guard := row[len(row)-1]
		missing := func(what string) {
			violations = append(violations, fmt.Sprintf("invariant %d of ARCHITECTURE.md is guarded by %s, which there is not", number, what))
		}
		found := 0
		for _, name := range backticked.FindAllStringSubmatch(guard, -1) {
			test, rule, _ := strings.Cut(name[1], "/")
			if found++; !functions[test] || rule != "" && rules[rule] == nil {
				missing(name[1])
			}
		}
		for _, folder := range testsOf.FindAllString(guard, -1) {
			if found++; !tested[folder] {
				missing("tests of " + folder)
			}
		}
		if found == 0 {
			violations = append(violations, fmt.Sprintf("invariant %d of ARCHITECTURE.md names no guard", number))
		}
	}
	if invariants < 15 {
		violations = append(violations, fmt.Sprintf("ARCHITECTURE.md has %d invariants, and there were 15", invariants))
	}
	return violations
}

// TestArchitectureDocumentIsLookedAt feeds the checks of ARCHITECTURE.md what they must refuse.
func TestArchitectureDocumentIsLookedAt(t *testing.T) {
	test, err := parse(token.NewFileSet(), "core/tree/a_test.go", []byte("package tree; func TestA() {}"))
	if err != nil {
		t.Fatal(err)
	}
	const right = "| core/sched | decides | core, core/tree, core/endpoint, core/value | – |\n| 1 | it holds | `TestA`; tests of core/tree |\n"
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{"core/sched |", "core/shed |", "has 0 rows for core/sched"},
		{"core/value", "core/store", "says that core/sched imports"},
		{"–", "cobra", "core/sched imports the third parties"},
		{"`TestA`", "`TestB`", "guarded by TestB, which there is not"},
		{"`TestA`", "`TestA/norule`", "guarded by TestA/norule, which"},
		{"of core/tree", "of core/sched", "guarded by tests of core/sched, which"},
		{"`TestA`; tests of core/tree", "good will", "invariant 1 of ARCHITECTURE.md names no guard"},
	} {
		text := strings.Replace(right, c.from, c.to, 1)
		var got []string
		for _, violation := range append(undocumented(text), unguarded(text, []source{test})...) {
			if strings.Contains(violation, "core/sched") || strings.Contains(violation, "invariant 1 ") {
				got = append(got, violation)
			}
		}
		if c.want == "" && len(got) > 0 || !strings.Contains(strings.Join(got, "\n"), c.want) {
			t.Errorf("%q as %q: violations %q, want %q", c.from, c.to, got, c.want)
		}
	}
	if got := unguarded(right, []source{test}); len(got) != 1 || !strings.Contains(got[0], "has 1 invariants") {
		t.Errorf("one invariant alone: violations %q", got)
	}
}
