package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func FuzzRequestID(f *testing.F) {
	f.Add("abc")
	f.Add("a b")
	f.Fuzz(func(t *testing.T, given string) {
		id := RequestID(http.Header{HeaderRequestID: {given}})
		if id == "" || len(id) > 128 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q became %q", given, id)
		}
		if _, err := json.Marshal(id); err != nil {
			t.Error(err)
		}
	})
}

// The table of statuses that users read is the one that is used.
func TestStatusesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(statuses) != len(core.Kinds()) {
		t.Errorf("%d kinds have a status, and there are %d", len(statuses), len(core.Kinds()))
	}
	for _, kind := range core.Kinds() {
		s, known := statuses[kind]
		if !known {
			t.Errorf("the kind %s has no status", kind)
		}
		for _, code := range []int{s.caller, s.handler, s.driver, s.worker} {
			if code < 400 || code > 599 {
				t.Errorf("%s has status %d", kind, code)
			}
		}
		if row := fmt.Sprintf("| `%s` | %d | %d | %d | %d |", kind, s.caller, s.handler, s.driver, s.worker); !strings.Contains(string(page), row) {
			t.Errorf("docs/http.md has no row %s", row)
		}
	}
}
