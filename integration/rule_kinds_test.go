package integration

import (
	"go/ast"
	"slices"
)

// ruleKinds keeps the kinds of error complete: Kinds() returns every constant of type Kind but KindNone, and
// some test names it.
func ruleKinds(sources []source) (violations []string) {
	var kinds []*ast.Ident
	where := map[string]source{}
	var listed, tested []string
	for _, s := range sources {
		if s.test() {
			tested = append(tested, names(s.file)...)
		}
		if s.folder() != "core" || s.test() {
			continue
		}
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.GenDecl:
				for _, kind := range constants(d, "Kind") {
					kinds, where[kind.Name] = append(kinds, kind), s
				}
			case *ast.FuncDecl:
				if d.Name.Name == "Kinds" {
					listed = names(d.Body)
				}
			}
		}
	}
	for _, kind := range kinds {
		if kind.Name == "KindNone" {
			continue
		}
		if !slices.Contains(listed, kind.Name) {
			violations = append(violations, where[kind.Name].at(kind)+": Kinds() does not return "+kind.Name)
		}
		if !slices.Contains(tested, kind.Name) {
			violations = append(violations, where[kind.Name].at(kind)+": no test names "+kind.Name)
		}
	}
	return violations
}

// constants returns the names of the constants that a declaration declares with a type.
func constants(decl *ast.GenDecl, of string) (found []*ast.Ident) {
	for _, spec := range decl.Specs {
		if value, is := spec.(*ast.ValueSpec); is {
			if kind, is := value.Type.(*ast.Ident); is && kind.Name == of {
				found = append(found, value.Names...)
			}
		}
	}
	return found
}

// names returns every identifier below a node.
func names(below ast.Node) (found []string) {
	ast.Inspect(below, func(n ast.Node) bool {
		if ident, is := n.(*ast.Ident); is {
			found = append(found, ident.Name)
		}
		return true
	})
	return found
}
