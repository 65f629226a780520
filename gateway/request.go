package gateway

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/gorilla/mux"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// HeaderRequestID is the header of a request's id, spelled as net/http does: it can be written into the map
// of headers.
const HeaderRequestID = "X-Request-Id"

// RequestID returns the caller's request id when it is fit for logs and headers, and a new one otherwise.
func RequestID(header http.Header) string {
	if given := header[HeaderRequestID]; len(given) == 1 && len(given[0]) > 0 && len(given[0]) <= 128 {
		sane := true
		for _, c := range []byte(given[0]) {
			sane = sane && c > ' ' && c < 0x7f
		}
		if sane {
			return given[0]
		}
	}
	// The id has to be unique, not secret. This source needs no system call.
	const digits = "0123456789abcdef"
	var id [32]byte
	for half := range 2 {
		for bits, i := rand.Uint64(), 0; i < 16; bits, i = bits>>4, i+1 {
			id[half*16+i] = digits[bits&15]
		}
	}
	return string(id[:])
}

// NameOf returns the name in the request's path: of a function, a secret, or another thing.
func NameOf(r *http.Request) (string, error) {
	encoded := mux.Vars(r)["name"]
	name, err := url.PathUnescape(encoded)
	if err != nil {
		return "", core.Errorf(core.KindInvalid, core.FaultCaller, "the name %q cannot be decoded: %w", Clip(encoded), err)
	}
	return name, CheckName(name)
}

// Accepts reports whether the request's Accept names the media type. A wildcard does not count: it asks for
// the default.
func Accepts(r *http.Request, media string) bool {
	for _, line := range r.Header.Values("Accept") {
		for one := range strings.SplitSeq(line, ",") {
			one, _, _ = strings.Cut(one, ";")
			if strings.EqualFold(strings.TrimSpace(one), media) {
				return true
			}
		}
	}
	return false
}

// CheckName refuses names that no function can have. The service may refuse others.
func CheckName(name string) error {
	reason := ""
	switch {
	case name == "":
		reason = "is empty"
	case len(name) > 255:
		reason = "is over 255 bytes long"
	case name == "." || name == "..":
		reason = "is a directory"
	}
	for _, c := range name {
		if c == '/' || c == '\\' || c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			reason = "has a character that is not allowed: " + strconv.QuoteRune(c)
			break
		}
	}
	if reason == "" {
		return nil
	}
	return core.Errorf(core.KindInvalid, core.FaultCaller, "the name %q %s; use letters, digits and - _ .", Clip(name), reason)
}
