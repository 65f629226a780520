// Package nearest finds the name that was most likely meant by one that there is not.
package nearest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// alike is how alike two names have to be, from 0 to 1, for one to be taken for the other.
const alike = 0.5

// longest is what counts of a name, in bytes: who types more means no name.
const longest = 64

// Name returns the name that was most likely meant, or nothing when none is near. Who guesses tends to leave
// out or add the end of a name, which a distance alone would rate as worse than another name that is short.
func Name(wrong string, names []string) string {
	wrong = strings.ToLower(wrong[:min(len(wrong), longest)])
	best, most := "", alike
	for _, name := range slices.Sorted(slices.Values(names)) {
		other := strings.ToLower(name)
		if len(wrong) > 1 && len(other) > 1 && (strings.HasPrefix(wrong, other) || strings.HasPrefix(other, wrong)) {
			return name
		}
		if match := levenshtein.Match(wrong, other, nil); match > most {
			best, most = name, match
		}
	}
	return best
}

// Question asks whether the nearest name was meant, such that it can follow a sentence: `; did you mean
// "hello"?`. It is empty when none is near.
func Question(wrong string, names []string) string {
	if name := Name(wrong, names); name != "" {
		return fmt.Sprintf("; did you mean %q?", name)
	}
	return ""
}
