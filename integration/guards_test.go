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

// Is ARCHITECTURE.md true? Its list of packages is the one that is enforced, and what it says guards an
// invariant is there.

func TestArchitectureDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repositoryRoot(t), "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range append(undocumented(string(text)), unguarded(string(text), repository(t))...) {
		t.Error(violation)
	}
}

// undocumented returns in which entries the list of packages is not the one of this test.
func undocumented(text string) (violations []string) {
	for _, r := range imports {
		found := entriesOf(text, r.folder)
		if len(found) != 1 {
			violations = append(violations, fmt.Sprintf("the list of ARCHITECTURE.md has %d entries for %s", len(found), r.folder))
			continue
		}
		if own := list(found[0][1]); !slices.Equal(own, r.module) {
			violations = append(violations, fmt.Sprintf("ARCHITECTURE.md says that %s imports %q of this module; the rule is %q", r.folder, own, r.module))
		}
		if third := list(found[0][2]); len(third) != len(r.third) {
			violations = append(violations, fmt.Sprintf("ARCHITECTURE.md says that %s imports the third parties %q; the rule is %q", r.folder, third, r.third))
		}
	}
	return violations
}

// entry is an item of the list of packages, after the package: with the imports of this module and the third
// parties.
var entry = regexp.MustCompile(`^ .*\. Imports: (.*?)\.(?: Third parties: (.*)\.)?$`)

// entriesOf returns the matches of the entries of a package.
func entriesOf(text, folder string) (found [][]string) {
	for _, one := range items(text) {
		if rest, is := strings.CutPrefix(one, "- `"+folder+"`"); is {
			if match := entry.FindStringSubmatch(rest); match != nil {
				found = append(found, match)
			}
		}
	}
	return found
}

// list returns what a text lists.
func list(text string) []string {
	if text == "nothing" || text == "" {
		return nil
	}
	return strings.Split(text, ", ")
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
	_, section, _ := strings.Cut(text, "## What always holds\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, invariant := range items(section) {
		number := invariants + 1
		if !strings.HasPrefix(invariant, strconv.Itoa(number)+". ") {
			continue
		}
		invariants++
		_, guard, _ := strings.Cut(invariant, " Guarded by ")
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
	const right = "- `core/sched` decides. Imports: core, core/tree,\n  core/endpoint, core/plan, core/value.\n\n## What always holds\n\n" +
		"1. It holds.\n   Guarded by `TestA`; tests of core/tree.\n\n- another item\n"
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{"core/sched`", "core/shed`", "has 0 entries for core/sched"},
		{"core/value", "core/store", "says that core/sched imports"},
		{"core/value.", "core/value. Third parties: cobra.", "core/sched imports the third parties"},
		{"`TestA`", "`TestB`", "guarded by TestB, which there is not"},
		{"`TestA`", "`TestA/norule`", "guarded by TestA/norule, which"},
		{"of core/tree", "of core/sched", "guarded by tests of core/sched, which"},
		{"`TestA`; tests of core/tree", "good will", "invariant 1 of ARCHITECTURE.md names no guard"},
		{"Guarded", "Held", "invariant 1 of ARCHITECTURE.md names no guard"},
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
