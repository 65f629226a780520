package integration

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// debianArchive serves libraries as Debian packages, lib<name>1 at version 1.0, and returns a directory that
// has the archive as apt's source.
func debianArchive(t *testing.T, libraries map[string]string) string {
	t.Helper()
	run := func(name string, arguments ...string) string {
		out, err := exec.Command(name, arguments...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	architecture, triplet := run("dpkg", "--print-architecture"), run("cc", "-print-multiarch")
	served := t.TempDir()
	packages := ""
	for name, library := range libraries {
		root := t.TempDir()
		lib := filepath.Join(root, "usr", "lib", triplet)
		control := fmt.Sprintf("Package: lib%s1\nVersion: 1.0\nArchitecture: %s\nMaintainer: nobody <nobody@example.org>\n", name, architecture)
		for path, text := range map[string]string{filepath.Join(lib, "lib"+name+".so.1"): library, filepath.Join(root, "DEBIAN", "control"): control + "Description: a library\n"} {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("lib"+name+".so.1", filepath.Join(lib, "lib"+name+".so")); err != nil {
			t.Fatal(err)
		}
		file := "lib" + name + "1.deb"
		run("dpkg-deb", "--root-owner-group", "--build", root, filepath.Join(served, file))
		archive, err := os.ReadFile(filepath.Join(served, file))
		if err != nil {
			t.Fatal(err)
		}
		packages += control + fmt.Sprintf("Filename: ./%s\nSize: %d\nSHA256: %x\nDescription: a library\n\n", file, len(archive), sha256.Sum256(archive))
	}
	release := fmt.Sprintf("Origin: Test\nSuite: test\nDate: Mon, 23 Nov 2026 00:00:00 UTC\nSHA256:\n %x %d Packages\n", sha256.Sum256([]byte(packages)), len(packages))
	sources := t.TempDir()
	server := httptest.NewServer(http.FileServer(http.Dir(served)))
	t.Cleanup(server.Close)
	for path, text := range map[string]string{filepath.Join(served, "Packages"): packages, filepath.Join(served, "Release"): release,
		filepath.Join(sources, "test.sources"): fmt.Sprintf("Types: deb\nURIs: %s\nSuites: ./\nTrusted: yes\n", server.URL)} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return sources
}
