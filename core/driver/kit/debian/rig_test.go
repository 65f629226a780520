package debian

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// served makes an archive of one package, tool 1.0, has this machine's apt know nothing else, and serves it
// as answer says. It returns how often the list of packages was fetched.
func served(t *testing.T, answer func(http.Handler) http.Handler) (lists *atomic.Int32) {
	t.Helper()
	if _, err := Tools(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, config, made := t.TempDir(), t.TempDir(), t.TempDir()
	buildDeb(t, made, filepath.Join(dir, "tool.deb"), "Maintainer: x\n", map[string]string{"usr/share/tool": "x"})
	text, err := os.ReadFile(filepath.Join(dir, "tool.deb"))
	if err != nil {
		t.Fatal(err)
	}
	list := fmt.Sprintf("Package: tool\nVersion: 1.0\nArchitecture: all\nDescription: x\nFilename: tool.deb\nSize: %d\nSHA256: %x\n\n", len(text), sha256.Sum256(text))
	files := answer(http.FileServer(http.Dir(dir)))
	lists = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/Packages") {
			lists.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	for path, text := range map[string]string{
		filepath.Join(dir, "Packages"):        list,
		filepath.Join(config, "sources.list"): "deb [trusted=yes] " + server.URL + "/ ./\n",
		filepath.Join(config, "apt.conf"):     fmt.Sprintf("Dir::Etc::sourcelist %q;\nDir::Etc::sourceparts \"-\";\nAcquire::Retries::Delay \"false\";\n", filepath.Join(config, "sources.list")),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("APT_CONFIG", filepath.Join(config, "apt.conf"))
	return lists
}

// buildDeb makes an archive of the package tool in a directory.
func buildDeb(t *testing.T, dir, to, control string, files map[string]string) {
	t.Helper()
	files["DEBIAN/control"] = "Package: tool\nVersion: 1.0\nArchitecture: all\nDescription: x\n" + control
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if said, err := exec.Command(dpkgDeb, "--nocheck", "--build", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}
