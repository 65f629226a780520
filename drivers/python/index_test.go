package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestIndexCredentials has an index send its reader on: the credentials go along to other pages of it, and to
// no other host.
func TestIndexCredentials(t *testing.T) {
	secret := func(r *http.Request) string { return r.Header.Get("Authorization") }
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("other:" + secret(r))) }))
	defer other.Close()
	index := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/there", http.StatusFound)
		default:
			_, _ = w.Write([]byte("index:" + secret(r)))
		}
	}))
	defer index.Close()
	address := strings.Replace(index.URL, "http://", "http://u:p@", 1)
	for path, want := range map[string]string{"/away": "other:", "/here": "index:Basic dTpw"} {
		var got string
		ask(t, "import index as i; print(json.dumps(i.get(sys.argv[1], '*/*')[0].decode()))", nil, &got, address+path)
		if got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// TestIndexAnswers has an index answer oddly.
func TestIndexAnswers(t *testing.T) {
	packed := "\x1f\x8b and so on"
	index := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/encoded":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte(packed))
		case "/short":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("short"))
		case "/large":
			_, _ = w.Write(make([]byte, 2000))
		}
	}))
	defer index.Close()
	var got string
	ask(t, "import index as i; print(json.dumps(i.get_archive(sys.argv[1]).decode('latin-1')))", nil, &got, index.URL+"/encoded")
	if got = strings.ReplaceAll(got, "\u008b", "\x8b"); got != packed {
		t.Errorf("the archive is %q", got)
	}
	const program = "import index as i\ni.MAX_ARCHIVE = 1000\ntry:\n    i.get_archive(sys.argv[1])\nexcept OSError as error:\n    print(json.dumps(str(error)))"
	for path, want := range map[string]string{"/short": "in the middle", "/large": "larger than"} {
		ask(t, program, nil, &got, index.URL+path)
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
	ask(t, "import index as i\ntry:\n    list(i.files_of(sys.argv[1].encode(), 'x/json'))\nexcept ValueError as error:\n    print(json.dumps(str(error)))", nil, &got, `{"files":[5]}`)
	if !strings.Contains(got, "PEP 691") {
		t.Errorf("a page that is none: %s", got)
	}
}

// TestSilentIndex waits for no attestation longer than it should, and does not say then that there is none.
func TestSilentIndex(t *testing.T) {
	asked, end := make(chan struct{}), make(chan struct{})
	index := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent/":
			close(asked)
			<-end
		default:
			<-asked
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"files":[]}`))
		}
	}))
	defer index.Close()
	defer close(end)
	const program = `
import time
import signatures as s
packages = [{"name": n, "version": "1", "archives": []} for n in ("silent", "quick")]
signatures = s.Signatures(packages)
end = time.monotonic() + 30
while "quick" not in signatures.lacking and time.monotonic() < end:
    time.sleep(0.01)
s.PATIENCE = 0
print(json.dumps({name: one["detail"] for name, one in signatures.of({}).items()}))
`
	var got map[string]string
	ask(t, program, []string{"UV_DEFAULT_INDEX=" + index.URL}, &got)
	if got["silent-1"] != "the index has not answered in time" || got["quick-1"] != "the index has no attestation" {
		t.Errorf("%v", got)
	}
}

// TestNoCertificates names a file of certificates that does not exist.
func TestNoCertificates(t *testing.T) {
	t.Setenv("PIPSQUEAK_LIBEXEC", drivertest.Libexec(t))
	t.Setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
	d, err := newDriver(slog.New(slog.DiscardHandler)).Describe(t.Context())
	if err != nil || len(d.Runtimes) == 0 || !strings.Contains(strings.Join(d.Problems, " "), "/nonexistent/ca.pem") {
		t.Fatalf("%+v, %v", d, err)
	}
	for _, mount := range d.Runtimes[0].Tools {
		if mount.Source == "/nonexistent/ca.pem" {
			t.Errorf("%+v", mount)
		}
	}
}
