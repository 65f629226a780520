package sbom

import (
	_ "embed"
	"encoding/json"
	"strings"
	"sync"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// spdx is the part of CycloneDX's schema that lists the ids of licences and exceptions that a bill may have.
//
//go:embed spdx.schema.json
var spdx []byte

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

// licences tells SPDX ids and expressions from names. A bill has one expression or several licences, so an expression among others is
// given as a name.
func licences(stated []string) *cdx.Licenses {
	var all cdx.Licenses
	for _, text := range stated {
		text = strings.TrimSpace(text)
		switch {
		case text == "":
		case spdxIDs()[text]:
			all = append(all, cdx.LicenseChoice{License: &cdx.License{ID: text}})
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

// isExpression tells whether all words of a text are those of SPDX expressions, in an order that one can have.
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
