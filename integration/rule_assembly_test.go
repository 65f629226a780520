package integration

import (
	"fmt"
	"go/ast"
)

// mostMethods is how many methods worker.Worker has at most.
const mostMethods = 25

// ruleAssembly keeps worker.Worker assembly: what it does beyond that belongs to a part with a type of its
// own.
func ruleAssembly(sources []source) (violations []string) {
	methods := 0
	for _, s := range sources {
		if s.test() || s.folder() != "core/worker" {
			continue
		}
		for _, decl := range s.file.Decls {
			f, is := decl.(*ast.FuncDecl)
			if !is || f.Recv == nil || receiver(f) != "Worker" {
				continue
			}
			if methods++; methods > mostMethods {
				violations = append(violations, s.at(f)+": "+f.Name.Name+fmt.Sprintf(" is method %d of Worker, which may have %d: make it a part's", methods, mostMethods))
			}
		}
	}
	return violations
}

// receiver returns the name of the type whose method that is.
func receiver(method *ast.FuncDecl) string {
	of := method.Recv.List[0].Type
	if pointer, is := of.(*ast.StarExpr); is {
		of = pointer.X
	}
	return fmt.Sprint(of)
}
