package integration

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// pure is what core/plan may import of the standard library: nothing of it has an effect, of time only the
// arithmetic is used, and random numbers come from a seed.
var pure = []string{"cmp", "container/heap", "maps", "math", "math/bits", "math/rand/v2", "slices", "strings", "time", "unicode", "unicode/utf8"}

// seeded is what core/plan may use of package rand.
var seeded = []string{"New", "NewPCG", "Rand"}

// clocks are the functions of package time that read a clock or wait for one.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// rulePure keeps core/plan free of clocks, locks and processes.
func rulePure(sources []source) (violations []string) {
	for _, s := range sources {
		if s.test() || s.folder() != "core/plan" {
			continue
		}
		for _, spec := range s.file.Imports {
			if name := strings.Trim(spec.Path.Value, `"`); !strings.HasPrefix(name, modulePath) && !slices.Contains(pure, name) {
				violations = append(violations, s.at(spec)+": core/plan imports "+name+": a plan is data in, decision out, without effects; the tree has those")
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				of, ok := n.X.(*ast.Ident)
				if ok && of.Name == "rand" && !slices.Contains(seeded, n.Sel.Name) {
					violations = append(violations, s.at(n)+": rand."+n.Sel.Name+" in core/plan: its random numbers come from a seed, so that a decision can be repeated")
				}
				if ok && of.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
					violations = append(violations, s.at(n)+": time."+n.Sel.Name+" in core/plan: it reads no clock, so that a decision can be repeated; the caller passes the time")
				}
			case *ast.GoStmt, *ast.ChanType:
				violations = append(violations, s.at(n)+": core/plan starts and shares nothing: the caller has the lock")
			}
			return true
		})
	}
	return violations
}

// carriers are the packages that carry out what core/plan decides.
var carriers = []string{"core/tree", "core/sched"}

// ruleNumbers keeps the numbers that decide something out of the carriers: they are core/plan's.
func ruleNumbers(sources []source) (violations []string) {
	refuse := func(s source, n ast.Node, text string) {
		violations = append(violations, s.at(n)+": "+text+" in "+s.folder()+": it carries out what core/plan decides, so the number is a policy of core/plan")
	}
	for _, s := range sources {
		if s.test() || !slices.Contains(carriers, s.folder()) {
			continue
		}
		for _, decl := range s.file.Decls {
			decl, ok := decl.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST && decl.Tok != token.VAR {
				continue
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				if n, ok := n.(*ast.BasicLit); ok && (n.Kind == token.INT || n.Kind == token.FLOAT) {
					refuse(s, n, "the number "+n.Value)
				}
				return true
			})
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if n, ok := n.(*ast.SelectorExpr); ok {
				of, ok := n.X.(*ast.Ident)
				if ok && of.Name == "time" && slices.Contains([]string{"Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"}, n.Sel.Name) {
					refuse(s, n, "a duration in time."+n.Sel.Name)
				}
			}
			return true
		})
	}
	return violations
}
