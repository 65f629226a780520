// Package lookalike finds names of packages that could be taken for popular ones: a slip of the finger,
// letters that look alike, an addition that sounds official.
package lookalike

import (
	"maps"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Names are the popular names of one registry.
type Names struct {
	popular map[string]bool
	sorted  []string          // the same, for one answer to one question
	plain   map[string]string // popular names by what is left of them without what is easily overlooked
	affixes []string
}

// Parse reads a list of names, one a line; a line that begins with # is a comment. Affixes are what others
// put before or after a name, with a hyphen, to make it sound official.
func Parse(list string, affixes ...string) Names {
	n := Names{popular: map[string]bool{}, plain: map[string]string{}, affixes: affixes}
	for line := range strings.Lines(list) {
		if name := strings.TrimSpace(line); name != "" && name[0] != '#' {
			n.popular[name] = true
			n.plain[plain(name)] = name
		}
	}
	n.sorted = slices.Sorted(maps.Keys(n.popular))
	return n
}

// shortest is how long a name is that any slip makes another: of shorter ones everything is close to
// something. Slips that are seldom meant count from shortestTwice on, two neighbours swapped or a letter
// doubled, and from shortestInner on, a letter less or more inside of the name, or that of the key beside it.
const shortest, shortestInner, shortestTwice = 6, 5, 4

// Suspicions returns one for each of the packages whose name is close to a popular one, and not popular
// itself.
func (n Names) Suspicions(packages []core.Package) []core.Suspicion {
	var found []core.Suspicion
	for _, p := range packages {
		if reason := n.reason(strings.ToLower(p.Name)); reason != "" {
			found = append(found, core.Suspicion{Package: p.String(), Rule: "name", Reason: reason})
		}
	}
	return found
}

func (n Names) reason(name string) string {
	if n.popular[name] {
		return ""
	}
	if like, ok := n.plain[plain(name)]; ok && len(like) >= 4 {
		return "its name looks like that of the popular " + like
	}
	for _, affix := range n.affixes {
		for _, rest := range []string{strings.TrimPrefix(name, affix+"-"), strings.TrimSuffix(name, "-"+affix)} {
			if rest != name && len(rest) >= 4 && n.popular[rest] {
				return "its name is that of the popular " + rest + " with " + affix + " added"
			}
		}
	}
	for _, like := range n.sorted {
		if min(len(name), len(like)) >= shortest && oneSlip(name, like) || min(len(name), len(like)) < shortest && rareSlip(name, like) {
			return "its name is one slip of the finger away from the popular " + like
		}
	}
	return ""
}

// alike are letters that are read as others.
var alike = strings.NewReplacer("-", "", "_", "", ".", "", "0", "o", "1", "l", "i", "l", "rn", "m", "vv", "w",
	"а", "a", "е", "e", "о", "o", "р", "p", "с", "c", "у", "y", "х", "x", "ѕ", "s", "і", "l") // the last are Cyrillic

func plain(name string) string {
	return strings.TrimSuffix(alike.Replace(strings.ToLower(name)), "s")
}

// oneSlip reports whether one letter more, less or other, or two neighbours swapped, makes one name the
// other. Where only the last letter differs and is a digit, they are versions of one thing.
func oneSlip(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if a == b || len(b)-len(a) > 1 || isDigit(b[len(b)-1]) && a == b[:len(b)-1] {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	if i == len(a)-1 && isDigit(a[i]) && isDigit(b[i]) {
		return false
	}
	swapped := i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	return swapped || a[i+1:] == b[i+1:]
}

// rareSlip is oneSlip for short names, of slips that are seldom a name of their own. Digits are left out, for
// they are versions.
func rareSlip(name, like string) bool {
	short, long := name, like
	if len(short) > len(long) {
		short, long = long, short
	}
	if len(like) < shortestTwice || len(long)-len(short) > 1 || !oneSlip(short, long) {
		return false
	}
	i := 0
	for i < len(short) && short[i] == long[i] {
		i++
	}
	switch {
	case len(short) == len(long):
		swapped := i+1 < len(long) && short[i] == long[i+1] && short[i+1] == long[i]
		return swapped || len(like) >= shortestInner && i > 0 && besideKey(short[i], long[i])
	case isDigit(long[i]):
		return false
	}
	return long[i] == long[i-min(i, 1)] && i > 0 || i > 0 && i < len(long)-1 && len(like) >= shortestInner
}

// keys are the rows of a keyboard.
var keys = [...]string{"qwertyuiop", "asdfghjkl", "zxcvbnm"}

// besideKey reports whether two letters are beside each other on a keyboard.
func besideKey(a, b byte) bool {
	for _, row := range keys {
		if i, j := strings.IndexByte(row, a), strings.IndexByte(row, b); i >= 0 && j >= 0 && (i-j == 1 || j-i == 1) {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
