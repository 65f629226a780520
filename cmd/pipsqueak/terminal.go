package main

import (
	"io"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// forTerminal returns a writer to a terminal. What others have written is printed there: logs, results, names
// from a server. Characters that a terminal would obey are printed as Go writes them, such as \x1b: with
// these somebody could hide lines, or change the title and the clipboard.
func forTerminal(terminal io.Writer) io.Writer { return &visible{terminal: terminal} }

type visible struct {
	terminal io.Writer
	half     []byte // the beginning of a character, of which the rest comes with the next Write
}

// Write writes all of p, but for a character that is not whole yet. It returns len(p) if nothing failed.
func (v *visible) Write(p []byte) (int, error) {
	text := append(v.half, p...)
	out := make([]byte, 0, len(text))
	for len(text) > 0 && utf8.FullRune(text) {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n' || r == '\t':
			out = append(out, byte(r))
		case r == utf8.RuneError && size == 1:
			out = append(out, `\x`+strconv.FormatUint(uint64(text[0]), 16)...)
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			quoted := strconv.QuoteRuneToASCII(r)
			out = append(out, quoted[1:len(quoted)-1]...)
		default:
			out = append(out, text[:size]...)
		}
		text = text[size:]
	}
	v.half = append(v.half[:0:0], text...)
	if _, err := v.terminal.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
