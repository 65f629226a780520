package integration

import (
	"go/ast"
	"go/token"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Does CI run each fuzz target?

// TestFuzzTargets holds that `make fuzz` runs each fuzz target, and that each begins with inputs of which
// some are good and some are not.
func TestFuzzTargets(t *testing.T) {
	plan := exec.CommandContext(t.Context(), "make", "-nk", "fuzz")
	plan.Dir = ".."
	out, _ := plan.CombinedOutput() // it fails where something is not installed yet
	written := fuzzTargets(repository(t))
	if len(written) < 15 {
		t.Errorf("only %d fuzz targets: archives, manifests, locks, frames, control packets and paths have some", len(written))
	}
	for target, seeds := range written {
		if !slices.Contains(strings.FieldsFunc(string(out), func(r rune) bool { return r == ' ' || r == ';' || r == '\n' }), target) {
			t.Errorf("make fuzz, which CI calls, does not run %s", target)
		}
		if seeds < 2 {
			t.Errorf("%s begins with %d inputs: add one that is good and one that is refused", target, seeds)
		}
	}
}

// fuzzTargets returns the fuzz targets as folder:name, with how many inputs each adds: one in a loop counts
// as two.
func fuzzTargets(sources []source) map[string]int {
	targets := map[string]int{}
	for _, s := range sources {
		for _, declaration := range s.file.Decls {
			f, is := declaration.(*ast.FuncDecl)
			if !is || f.Recv != nil || !s.test() || !strings.HasPrefix(f.Name.Name, "Fuzz") {
				continue
			}
			seeds := 0
			count := func(weight int) func(ast.Node) bool {
				return func(n ast.Node) bool {
					if call, is := n.(*ast.CallExpr); is {
						if called, is := call.Fun.(*ast.SelectorExpr); is && called.Sel.Name == "Add" {
							seeds += weight
						}
					}
					return true
				}
			}
			ast.Inspect(f.Body, count(1))
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if _, loops := n.(*ast.RangeStmt); loops {
					ast.Inspect(n, count(1))
				}
				return true
			})
			targets[s.folder()+":"+f.Name.Name] = seeds
		}
	}
	return targets
}

func TestFuzzTargetsAreFound(t *testing.T) {
	s, err := parse(token.NewFileSet(), "core/x/x_test.go", []byte(`package x
func FuzzOne(f *testing.F) { f.Add(1) }
func FuzzMany(f *testing.F) { for range 3 { f.Add(1) } }
func (r rig) FuzzNone(f *testing.F) {}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := fuzzTargets([]source{s}); len(got) != 2 || got["core/x:FuzzOne"] != 1 || got["core/x:FuzzMany"] != 2 {
		t.Errorf("found %v", got)
	}
}
