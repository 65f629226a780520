package integration

import (
	"go/ast"
	"maps"
	"slices"
	"strings"
)

// ruleMutexes wants the order of a package's mutexes in its comment, when it has more than one: in types, or
// in functions.
func ruleMutexes(sources []source) (violations []string) {
	mutexes, ordered := map[string]int{}, map[string]bool{}
	for _, s := range sources {
		if s.test() || ast.IsGenerated(s.file) {
			continue
		}
		if s.file.Doc != nil && strings.Contains(s.file.Doc.Text(), "Mutex order: ") {
			ordered[s.folder()] = true
		}
		count := func(kind ast.Expr, names int) {
			if kind, is := kind.(*ast.SelectorExpr); is && (kind.Sel.Name == "Mutex" || kind.Sel.Name == "RWMutex") {
				mutexes[s.folder()] += max(1, names)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				count(n.Type, len(n.Names))
			case *ast.ValueSpec:
				count(n.Type, len(n.Names))
			}
			return true
		})
	}
	for _, folder := range slices.Sorted(maps.Keys(mutexes)) {
		if mutexes[folder] > 1 && !ordered[folder] {
			violations = append(violations, folder+": it has several mutexes, and its package comment has no \"Mutex order: \": say which is taken before which")
		}
	}
	return violations
}
