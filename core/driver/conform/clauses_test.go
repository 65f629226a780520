package conform_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/conform"
)

// TestClauses holds the kit against PROTOCOL.md: a clause that nobody checks needs a reason.
func TestClauses(t *testing.T) {
	text, err := os.ReadFile("../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, match := range regexp.MustCompile(`(?m)^- \*\*([CGZE]\d+)\*\*`).FindAllStringSubmatch(string(text), -1) {
		written = append(written, match[1])
	}
	if len(written) < 70 {
		t.Fatalf("only %d clauses found in PROTOCOL.md", len(written))
	}
	checked := map[string]bool{}
	for _, c := range conform.Cases() {
		for _, clause := range c.Clauses {
			checked[clause] = true
			if !slices.Contains(written, clause) {
				t.Errorf("the case %s names the clause %s, which PROTOCOL.md does not have", c.Name, clause)
			}
		}
	}
	for _, name := range written {
		i := slices.IndexFunc(conform.Clauses, func(c conform.Clause) bool { return c.Name == name })
		switch {
		case i < 0:
			t.Errorf("the kit does not know the clause %s", name)
		case !checked[name] && conform.Clauses[i].Unseen == "":
			t.Errorf("no case checks the clause %s, and nothing says why", name)
		case checked[name] && conform.Clauses[i].Unseen != "":
			t.Errorf("the clause %s is checked, and called one that cannot be seen", name)
		}
	}
	if len(conform.Clauses) != len(written) {
		t.Errorf("the kit lists %d clauses, PROTOCOL.md has %d", len(conform.Clauses), len(written))
	}
}

func TestCasesAreNamed(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+/[a-zA-Z0-9-]+$`)
	seen := map[string]bool{}
	for _, c := range conform.Cases() {
		if !form.MatchString(c.Name) || seen[c.Name] || len(c.Clauses) == 0 {
			t.Errorf("the case %q has a bad name, one that is there twice, or names no clause", c.Name)
		}
		seen[c.Name] = true
	}
	if len(seen) < 80 {
		t.Errorf("there are only %d cases", len(seen))
	}
}
