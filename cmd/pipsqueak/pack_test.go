package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// packed returns what is in an archive of a directory: a file's content, "dir", or "-> target".
func packed(t *testing.T, dir string) map[string]string {
	t.Helper()
	var out bytes.Buffer
	if err := pack(&out, dir, nil); err != nil {
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Uname != "" {
			t.Errorf("%+v", header)
		}
		switch header.Typeflag {
		case tar.TypeDir:
			found[header.Name] = "dir"
		case tar.TypeSymlink:
			found[header.Name] = "-> " + header.Linkname
		default:
			found[header.Name] = string(content)
		}
	}
}

func TestPack(t *testing.T) {
	dir := write(t, "f", map[string]string{
		"handler.py": "pass\n", "lib/a.py": "a", "lib/__pycache__/a.pyc": "x", ".git/config": "x", "node_modules/m/index.js": "m", ".env": "e", ".venv/bin/x": "x", "a.log": "x", ".pipsqueakignore": "*.log\n",
	})
	for name, target := range map[string]string{"link.py": "handler.py", ".venv/bin/python": "/usr/bin/python3", "later": "built/file"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{".pipsqueakignore": "*.log\n", "handler.py": "pass\n", "lib/": "dir", "lib/a.py": "a", "link.py": "-> handler.py", "later": "-> built/file",
		"node_modules/": "dir", "node_modules/m/": "dir", "node_modules/m/index.js": "m"}
	if got := packed(t, dir); !maps.Equal(got, want) {
		t.Errorf("packed %q\nwant %q", got, want)
	}
}

// TestPackLinks follows links to shared code of the same repository, and refuses all others that lead out of
// the directory.
func TestPackLinks(t *testing.T) {
	repository := write(t, "repository", map[string]string{
		".git/HEAD": "x", "functions/f/handler.py": "h", "shared/a.py": "a", "shared/inner/b.py": "b", "shared/.env": "x", "other/c.py": "c", "functions/f/.pipsqueakignore": "shared/inner\n",
	})
	dir := filepath.Join(repository, "functions/f")
	link := func(name, target string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(repository, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("functions/f/shared", "../../shared")
	link("functions/f/one.py", filepath.Join(repository, "other/c.py"))
	link("shared/here.py", "a.py")
	link("shared/there", "../other")
	want := map[string]string{".pipsqueakignore": "shared/inner\n", "handler.py": "h", "one.py": "c", "shared/": "dir", "shared/a.py": "a", "shared/here.py": "-> a.py", "shared/there/": "dir", "shared/there/c.py": "c"}
	if got := packed(t, dir); !maps.Equal(got, want) {
		t.Errorf("packed %q\nwant %q", got, want)
	}
	for target, says := range map[string]string{"/etc/hostname": "only links to files of the same git repository", "../../functions": "has it inside", "../../absent": "no such file", "itself": "too many links"} {
		link("functions/f/itself", target)
		err := pack(io.Discard, dir, nil)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "f/itself") {
			t.Errorf("a link to %s: %v, want %q", target, err, says)
		}
		if err := os.Remove(filepath.Join(dir, "itself")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(repository, ".git")); err != nil {
		t.Fatal(err)
	}
	if err := pack(io.Discard, dir, nil); err == nil || !strings.Contains(err.Error(), "only links to files of the same git repository") {
		t.Errorf("without a repository: %v", err)
	}
}

func TestPackRefusesASocket(t *testing.T) {
	dir := write(t, "f", map[string]string{"handler.py": ""})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := pipsqueak(t, newWorld(), "", "deploy", dir)
	if got.status != 1 || !strings.Contains(got.err, "pipe is a p") {
		t.Errorf("%+v", got)
	}
}
