package sbom

import (
	_ "embed"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// spdx is the part of CycloneDX's schema that lists the ids of licences and exceptions that a bill may have.
//
//go:embed spdx.schema.json
var spdx []byte

// names are what people call the licences that have ids.
//
//go:embed licences.txt
var names string

// known returns the id of each name, and of each id in other letters, as plain has them.
var known = sync.OnceValue(func() map[string]string {
	ids := map[string]string{}
	for id := range spdxIDs() {
		ids[plain(id)] = id
	}
	for line := range strings.Lines(names) {
		id, list, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for name := range strings.SplitSeq(list, ";") {
			ids[plain(name)] = id
		}
	}
	return ids
})

// insignificant are the characters and words of a name that tell no licence from another.
var insignificant = regexp.MustCompile(`[^a-z0-9.+]+|\b(?:the|licen[sc]e|version)\b|\bv(?:er)?\.?\s*(?:[0-9])`)

// plain returns a name without what does not count in it.
func plain(name string) string {
	words := insignificant.ReplaceAllStringFunc(strings.ToLower(name), func(found string) string {
		if last := found[len(found)-1]; last >= '0' && last <= '9' {
			return " " + string(last)
		}
		return " "
	})
	return strings.Join(strings.Fields(words), " ")
}

// idOf returns the SPDX id of a licence by its id or name, "" when it is not obvious.
func idOf(text string) string {
	if spdxIDs()[text] {
		return text
	}
	return known()[plain(text)]
}

// spdxIDs returns these ids.
var spdxIDs = sync.OnceValue(func() map[string]bool {
	var schema struct{ Enum []string }
	ids := map[string]bool{}
	if err := json.Unmarshal(spdx, &schema); err != nil {
		return ids // a test sees it
	}
	for _, id := range schema.Enum {
		ids[id] = true
	}
	return ids
})

// licences tells SPDX ids, names that stand for one, and expressions from other names. A bill has one
// expression or several licences, so an expression among others is given as a name.
func licences(stated []string) *cdx.Licenses {
	var all cdx.Licenses
	for _, text := range stated {
		text = strings.TrimSpace(text)
		id := idOf(text)
		switch {
		case text == "":
		case id != "" && slices.ContainsFunc(all, func(c cdx.LicenseChoice) bool { return c.License != nil && c.License.ID == id }):
		case id != "":
			all = append(all, cdx.LicenseChoice{License: &cdx.License{ID: id}})
		case len(stated) == 1 && isExpression(text):
			all = append(all, cdx.LicenseChoice{Expression: text})
		default:
			all = append(all, cdx.LicenseChoice{License: &cdx.License{Name: text}})
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &all
}

// isExpression reports whether all words of a text are those of SPDX expressions, in an order that one can
// have.
func isExpression(text string) bool {
	open, operand, exception := 0, true, false // how many brackets are open; whether a licence comes next, or an exception
	for _, word := range strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text)) {
		switch word {
		case "(":
			if open++; !operand {
				return false
			}
		case ")":
			if open--; operand || open < 0 {
				return false
			}
		case "AND", "OR", "WITH":
			if operand {
				return false
			}
			operand, exception = true, word == "WITH"
		default:
			known := exception || spdxIDs()[strings.TrimSuffix(word, "+")] || strings.HasPrefix(word, "LicenseRef-") || strings.HasPrefix(word, "DocumentRef-")
			if !operand || !known {
				return false
			}
			operand, exception = false, false
		}
	}
	return open == 0 && !operand
}
