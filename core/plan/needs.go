package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Needs is, for each package, the modules that it has, the packages that it requires, and what importing
// it costs. It never changes once a tree has it.
type Needs map[core.Package]Need

// Need is the modules, requirements and costs of one package. The costs are those of importing it when all
// that it requires has been imported.
type Need struct {
	Modules  []string
	Requires []string      // names of packages
	Took     time.Duration // zero before it was probed
	Bytes    int64         // of memory
}

// Within says whether a module is the other one or a part of it: its name goes on with no letter, digit, "_"
// or "-".
func Within(module, of string) bool {
	rest, ok := strings.CutPrefix(module, of)
	next, _ := utf8.DecodeRuneInString(rest)
	return ok && (rest == "" || !unicode.IsLetter(next) && !unicode.IsDigit(next) && next != '_' && next != '-')
}

// importable says whether a module of all packages can be imported where only some of them are: its package
// must be there, with all that it requires. A module of no package is the language's own.
func (n Needs) importable(module string, all, some core.Set) bool {
	owner, found := n.owner(module, all)
	if !found {
		return true
	}
	seen := core.Set{owner}
	for i := 0; i < len(seen); i++ {
		if !has(some, seen[i]) {
			return false
		}
		for _, name := range n[seen[i]].Requires {
			at, _ := slices.BinarySearchFunc(all, name, func(p core.Package, name string) int { return cmp.Compare(p.Name, name) })
			for ; at < len(all) && all[at].Name == name; at++ {
				if !slices.Contains(seen, all[at]) {
					seen = append(seen, all[at])
				}
			}
		}
	}
	return true
}
