package registry

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// made is a registry with a few packages of a language.
func made(t *testing.T, language string) (*httptest.Server, *packages.Catalog) {
	t.Helper()
	p, err := profile.Shipped(language)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c, err := packages.Write(t.Context(), p, 12, 1, 0.001, dir, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return server, c
}

// ask sends a request, and returns the answer.
func ask(t *testing.T, method, url, accept string) (status int, header http.Header, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(content)
}

// TestSimple follows the links of both forms of the simple index: files and their metadata have the digests
// that the index says.
func TestSimple(t *testing.T) {
	server, c := made(t, "python")
	if _, _, root := ask(t, http.MethodGet, server.URL+"/python/simple/", "text/html"); strings.Count(root, "<a href=") != len(c.Packages) {
		t.Errorf("the index is\n%s", root)
	}
	link := regexp.MustCompile(`<a href="([^"#]+)#sha256=([0-9a-f]+)" data-requires-python="[^"]*"(?: data-core-metadata="sha256=([0-9a-f]+)")?[^>]*>([^<]+)</a>`)
	wheels := 0
	for _, p := range c.Packages {
		page := server.URL + "/python/simple/" + p.Name + "/"
		_, header, text := ask(t, http.MethodGet, page, simpleJSON+", text/html;q=0.1")
		var form struct {
			Versions []string
			Files    []pythonFile
		}
		if err := json.Unmarshal([]byte(text), &form); err != nil || header.Get("Content-Type") != simpleJSON || len(form.Versions) != len(p.Versions) {
			t.Fatalf("%v, %v\n%s", err, header, text)
		}
		_, _, text = ask(t, http.MethodGet, page, "text/html")
		links := link.FindAllStringSubmatch(text, -1)
		if len(links) != len(form.Files) || len(links) < len(p.Versions) {
			t.Fatalf("%d files and %d links in\n%s", len(form.Files), len(links), text)
		}
		for i, f := range form.Files {
			if l := links[i]; l[1] != f.URL || l[2] != f.Hashes["sha256"] || l[3] != f.Metadata["sha256"] || l[4] != f.Filename {
				t.Errorf("the link %q is for another file than %v", l, f)
			}
			_, _, content := ask(t, http.MethodGet, server.URL+f.URL, "")
			if got := fmt.Sprintf("%x", sha256.Sum256([]byte(content))); got != f.Hashes["sha256"] || int64(len(content)) != f.Size {
				t.Errorf("%s has %d bytes with the digest %s, want %d with %s", f.Filename, len(content), got, f.Size, f.Hashes["sha256"])
			}
			if f.Metadata != nil {
				wheels++
				_, _, metadata := ask(t, http.MethodGet, server.URL+f.URL+".metadata", "")
				if fmt.Sprintf("%x", sha256.Sum256([]byte(metadata))) != f.Metadata["sha256"] || !strings.Contains(metadata, "Name: "+p.Name+"\n") {
					t.Errorf("the metadata of %s is\n%s", f.Filename, metadata)
				}
			}
		}
	}
	if wheels == 0 {
		t.Error("no file has metadata")
	}
}

// TestRequests checks what a client gets that wants something else.
func TestRequests(t *testing.T) {
	server, c := made(t, "ruby")
	for path, want := range map[string]int{"/": 404, "/python/simple/": 404, "/ruby/versions": 200, "/ruby/info/" + packages.Module(c.Packages[0].Name): 200,
		"/ruby/gems/packages.json": 404, "/ruby/files/../packages.json": 404, "/ruby/files/": 404} {
		if status, _, body := ask(t, http.MethodGet, server.URL+path, ""); status != want {
			t.Errorf("%s: %d, want %d\n%s", path, status, want, body)
		}
	}
	if status, header, _ := ask(t, http.MethodPut, server.URL+"/ruby/versions", ""); status != http.StatusMethodNotAllowed || header.Get("Allow") != "GET, HEAD" {
		t.Errorf("PUT: %d, %v", status, header)
	}
	if status, header, body := ask(t, http.MethodHead, server.URL+"/ruby/versions", ""); status != http.StatusOK || body != "" || header.Get("Content-Length") == "0" {
		t.Errorf("HEAD: %d, %v", status, header)
	}
}

func TestNothingToServe(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "has no packages") {
		t.Errorf("an empty directory: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "node"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "node/packages.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "node") {
		t.Errorf("a broken catalog: %v", err)
	}
}
