package v1

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestForeignBodies: a body that is no JSON is refused, with the place that takes it; the type that curl
// gives to JSON does no harm.
func TestForeignBodies(t *testing.T) {
	server := serve(t, &fakeService{invoke: echo})
	const form = "application/x-www-form-urlencoded"
	for _, test := range []struct{ media, body, says string }{
		{form, "a=5", "for /fn/f"},
		{"text/plain; charset=utf-8", "hello", "text/plain is an HTTP request"},
		{"image/png", "\x89PNG", "for /fn/f"},
		{"multipart/form-data; boundary=x", "--x--", "for /fn/f"},
		{form, `{"a": 1}`, ""},
		{"application/octet-stream", `5`, ""},
	} {
		a := ask(t, "POST", server.URL+"/run/f", test.body, "Content-Type: "+test.media)
		if refused := test.says != ""; (a.status == 400) != refused || !strings.Contains(a.body, test.says) {
			t.Errorf("%s: %d %s", test.media, a.status, a.body)
		}
	}
	for _, media := range []string{"application/json", "application/cloudevents+json", ""} {
		if a := ask(t, "POST", server.URL+"/run/f", "{", "Content-Type: "+media); a.status != 400 || strings.Contains(a.body, "/fn/") {
			t.Errorf("%s: %d %s", media, a.status, a.body)
		}
	}
}

// An event may come out of gzip, within the bounds of one that does not; every other coding is told to be
// unknown, everywhere.
func TestContentEncoding(t *testing.T) {
	server := serve(t, &fakeService{invoke: echo})
	whole := zipped(t, `{"a": 1}`)
	for _, test := range []struct {
		name, body, coding string
		status             int
		has                string
	}{
		{"gzip", whole, "gzip", 200, `{"a": 1}`},
		{"its old name, in capitals", whole, "X-GZIP", 200, `{"a": 1}`},
		{"nothing in gzip", zipped(t, ""), "gzip", 200, `{}`},
		{"identity", `{"a": 1}`, "identity", 200, `{"a": 1}`},
		{"no gzip", `{"a": 1}`, "gzip", 400, "Content-Encoding"},
		{"cut gzip", whole[:len(whole)-6], "gzip", 400, "Content-Encoding"},
		{"gzip with a wrong checksum", whole[:len(whole)-5] + "xxxxx", "gzip", 400, "Content-Encoding"},
		{"a bomb", zipped(t, strings.Repeat(" ", core.MaxEvent+1)), "gzip", 413, ""},
		{"as large as may be", zipped(t, strings.Repeat(" ", core.MaxEvent-1)+"1"), "gzip", 200, ""},
		{"gzip without a word", whole, "", 400, "not in UTF-8"},
		{"deflate", "x", "deflate", 415, "Content-Encoding"},
		{"brotli", "x", "br", 415, "Content-Encoding"},
		{"twice", "x", "gzip, gzip", 415, "Content-Encoding"},
	} {
		a := ask(t, "POST", server.URL+"/run/f", test.body, "Content-Encoding: "+test.coding)
		if a.status != test.status || !strings.Contains(a.body, test.has) {
			t.Errorf("%s: %d %s", test.name, a.status, gateway.Clip(a.body))
		}
		if a.status == 415 && a.header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("%s: %v", test.name, a.header)
		}
	}
	for _, path := range []string{"/v1/functions/f", "/v1/functions", "/v1/locks"} {
		method := map[bool]string{true: "PUT", false: "POST"}[path == "/v1/functions/f"]
		if a := ask(t, method, server.URL+path, whole, "Content-Encoding: gzip"); a.status != 415 || !strings.Contains(a.failure(t).Message, "Content-Encoding") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
