package results

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results")
	const head = `{"run":{"target":"x","mode":"open","events":2}}` + "\n"
	for text, want := range map[string]string{
		"":                                  "line 1: run: results begin",
		`{"deploy":{"function":"f"}}`:       "line 1: run: results begin",
		head + head:                         "line 2: run: results begin",
		head + "{}\n":                       "line 2: neither a deploy, a request nor memory",
		head + "{\n" + head:                 "line 2: unexpected EOF",
		head + `{"request":{"n":2}}` + "\n": "line 2: request: n: 2 is not one of 2 events",
		head + `{"request":{"n":0,"latency_ms":"1"}}` + "\n": "Request.request.latency_ms",
		head + `{"request":{"n":0,"minutes":1}}` + "\n":      `line 2: json: unknown field "minutes"`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := os.WriteFile(path, []byte(head+`{"request":{"n":1}}`+"\n"+`{"request":{"n`), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := Open(path); err != nil || len(r.Requests) != 1 {
		t.Errorf("a last line that was cut off: %v, %v", r, err)
	}
}
