// Package value says what an event and a result are: one JSON value in UTF-8, nested no deeper than every language can follow.
package value

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Check returns why the text is no event and no result, in words that follow "it ", or nil. A text of 6 MiB takes some ten milliseconds.
func Check(text []byte) error {
	if !utf8.Valid(text) {
		return fmt.Errorf("is not in UTF-8: byte %d", invalidAt(text))
	}
	if deep(text) {
		return fmt.Errorf("has over %d lists and objects inside of each other", core.MaxNesting)
	}
	if !gjson.ValidBytes(text) {
		return fmt.Errorf("is not JSON: %w", syntax(text))
	}
	return nil
}

// invalidAt returns where the first byte is that is no UTF-8.
func invalidAt(text []byte) (at int) {
	for at < len(text) {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		at += size
	}
	return at
}

// deep tells whether lists and objects are nested too deep. It comes before the validation, which takes a stack frame for each. The text may be no JSON:
// what counts is right up to where it stops to be.
func deep(text []byte) bool {
	if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= core.MaxNesting {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > core.MaxNesting {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// syntax returns what is wrong with a text that is not JSON, and where.
func syntax(text []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(text, &raw)
	var at *json.SyntaxError
	if errors.As(err, &at) {
		return fmt.Errorf("%w at byte %d", err, at.Offset)
	}
	return err
}
