package integration

import (
	"fmt"
	"go/ast"
	"slices"
)

// contracts are the files that others implement, or call without reading the code behind them.
var contracts = []string{"core/driver.go", "core/installer.go", "core/function.go", "core/sandbox.go", "core/service.go"}

// ruleContract wants at least half of a contract to be comments: of the lines with something on them.
func ruleContract(sources []source) (violations []string) {
	for _, s := range sources {
		if !slices.Contains(contracts, s.name) {
			continue
		}
		code, comments := map[int]bool{}, map[int]bool{}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case nil, *ast.CommentGroup:
				return false
			default:
				code[s.set.Position(n.Pos()).Line], code[s.set.Position(n.End()-1).Line] = true, true
				return true
			}
		})
		for _, group := range s.file.Comments {
			for _, comment := range group.List {
				line := s.set.Position(comment.Pos()).Line
				comments[line] = true
				delete(code, line)
			}
		}
		if len(comments) < len(code) {
			violations = append(violations, fmt.Sprintf("%s: %d lines have a comment and %d have none: at least half of a contract says what holds", s.name, len(comments), len(code)))
		}
	}
	return violations
}
