package integration

import (
	"regexp"
	"slices"
	"strings"
)

// item is how an item of a list begins.
var item = regexp.MustCompile(`^(?:- |\d+\. )`)

// unwrapped returns the lines of a document, in which each item of a list is one line.
func unwrapped(text string) (found []string) {
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest := strings.TrimLeft(line, " "); inside && rest != line && rest != "" {
			found[len(found)-1] += " " + rest
			continue
		}
		found, inside = append(found, line), item.MatchString(line)
	}
	return found
}

// items returns the items of the lists of a document, each as one line with its mark.
func items(text string) []string {
	return slices.DeleteFunc(unwrapped(text), func(line string) bool { return !item.MatchString(line) })
}
