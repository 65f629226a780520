package plan

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Needs is, for each package, which modules it has and which packages it requires. It is not changed any more once a tree has it.
type Needs map[core.Package]Need

// Need is what is known of one package.
type Need struct {
	Modules  []string
	Requires []string // names of packages
}

// Within tells whether a module is the other one or a part of it: what follows in its name is no letter.
func Within(module, of string) bool {
	rest, ok := strings.CutPrefix(module, of)
	next, _ := utf8.DecodeRuneInString(rest)
	return ok && (rest == "" || !unicode.IsLetter(next) && !unicode.IsDigit(next) && next != '_' && next != '-')
}

// importable tells whether a module of a set can be imported where there is only some of it: whether its package is there, with all that it requires.
// What is of no package is the language's own.
func (n Needs) importable(module string, all, some core.Set) bool {
	var owner core.Package
	own := ""
	for _, p := range all {
		for _, m := range n[p].Modules {
			if len(m) > len(own) && Within(module, m) {
				owner, own = p, m
			}
		}
	}
	if own == "" {
		_, name, ways := strings.Cut(module, ":") // in which it can be imported: a package tells of one
		return !ways || n.importable(name, all, some)
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
