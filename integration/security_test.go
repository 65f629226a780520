package integration

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Is docs/security.md true? What it says shows something is there.

func TestSecurityDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repositoryRoot(t), "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]bool{}
	for _, s := range repository(t) {
		for name := range testsIn(s) {
			functions[name] = true
		}
	}
	for _, missing := range unsupported(string(text), functions) {
		t.Error(missing)
	}
	words := strings.Join(strings.Fields(string(text)), " ")
	for _, one := range attacks {
		if one.unshown != "" && !strings.Contains(words, "*"+one.name+"*") {
			t.Errorf("docs/security.md does not say why no build shows what stops who tries to %s", one.name)
		}
	}
	if found := unsupported("*fly to the moon* `TestMoon` *read a file of\n  the host* `TestA`", map[string]bool{"TestA": true}); len(found) != 2 {
		t.Errorf("of two names that are nobody's, these are found: %q", found)
	}
}

var (
	italic   = regexp.MustCompile(`(^|[^*])\*([^*\s][^*]*)\*`)
	testName = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
)

// unsupported returns the attacks and tests that a text names and that are not there.
func unsupported(text string, functions map[string]bool) (missing []string) {
	for _, match := range italic.FindAllStringSubmatch(text, -1) {
		name := strings.Join(strings.Fields(match[2]), " ")
		if !slices.ContainsFunc(attacks, func(one attack) bool { return one.name == name }) {
			missing = append(missing, "docs/security.md names the attack "+name+", which nobody tries")
		}
	}
	for _, match := range testName.FindAllStringSubmatch(text, -1) {
		if !functions[match[1]] {
			missing = append(missing, "docs/security.md names the test "+match[1]+", which there is not")
		}
	}
	return missing
}

// testsIn returns the names of the functions of a source of tests.
func testsIn(s source) map[string]bool {
	names := map[string]bool{}
	if !s.test() {
		return names
	}
	for _, decl := range s.file.Decls {
		if f, is := decl.(*ast.FuncDecl); is {
			names[f.Name.Name] = true
		}
	}
	return names
}
