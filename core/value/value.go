// Package value says what an event and a result are: one JSON value in UTF-8, nested no deeper than every
// language can follow, with no number that is infinite to them.
package value

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Check returns why the text is no event and no result, in words that follow "it ", or nil. A text of 6 MiB
// takes some ten milliseconds.
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
	if at := unpaired(text); at >= 0 {
		return fmt.Errorf("has half of a surrogate pair, which is no character: %s at byte %d", text[at:at+6], at)
	}
	if number, at := infinite(text); number != "" {
		return fmt.Errorf("has a number beyond 1.8e308, which is infinite for most languages: %.20s at byte %d", number, at)
	}
	return nil
}

// infinite returns the first number in a JSON text that no float64 holds, and where it is; nothing when there
// is none. To its grammar 1e999 is a number like any other, and parsers differ: most read infinity, which
// JSON cannot say, some refuse it.
func infinite(text []byte) (number string, at int) {
	const manyDigits = 200 // fewer, with an exponent of two digits at the most, are under 1e300
	for at < len(text) {
		switch c := text[at]; {
		case c == '"':
			at++
			for {
				end := at + bytes.IndexByte(text[at:], '"')
				escapes := 0
				for text[end-1-escapes] == '\\' {
					escapes++
				}
				if at = end + 1; escapes%2 == 0 {
					break
				}
			}
		case c >= '0' && c <= '9':
			end, exponent := at+1, len(text)
			for ; end < len(text) && ofNumber(text[end]); end++ {
				if text[end]|0x20 == 'e' {
					exponent = end
				}
			}
			if end-at >= manyDigits || end-exponent > len("e99") {
				if _, err := strconv.ParseFloat(string(text[at:end]), 64); err != nil { // the text is valid: it is out of range
					return string(text[at:end]), at
				}
			}
			at = end
		default:
			at++
		}
	}
	return "", -1
}

// unpaired returns where the first escape is in a JSON text that stands for half of a surrogate pair, -1 when
// there is none: some languages have strings for it, and no UTF-8 does.
func unpaired(text []byte) int {
	escaped := func(at int) rune { // at a backslash; -1 for an escape of another kind
		if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
			return -1
		}
		unit, _ := strconv.ParseUint(string(text[at+2:at+6]), 16, 16) // the text is valid
		return rune(unit)
	}
	for at := 0; ; at += 2 {
		next := bytes.IndexByte(text[at:], '\\')
		if next < 0 {
			return -1
		}
		at += next
		if unit := escaped(at); utf16.IsSurrogate(unit) {
			if utf16.DecodeRune(unit, escaped(at+6)) == utf8.RuneError {
				return at
			}
			at += 6
		}
	}
}

// ofNumber reports whether a byte may be in a number of JSON.
func ofNumber(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c|0x20 == 'e' || c == '+' || c == '-'
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

// deep reports whether lists and objects are nested too deep. It comes before the validation, which takes a
// stack frame for each. The text may be no JSON: what counts is right up to where it stops to be.
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
