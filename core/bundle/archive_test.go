package bundle

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// tarGz makes a tar.gz. A header without a type is a file with the body; its mode is 0644 when it has none.
func tarGz(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for _, e := range entries {
		h := e.Header
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		h.Size = int64(len(e.body))
		must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, e.body)
		must(t, err)
	}
	must(t, w.Close())
	must(t, gz.Close())
	return b.Bytes()
}

type entry struct {
	tar.Header
	body string
}

func file(name, body string) entry { return entry{tar.Header{Name: name}, body} }

func directory(name string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o700}, ""}
}

func symlink(name, target string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}, ""}
}

func hardlink(name, target string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}, ""}
}

// zipOf makes a zip of the same entries.
func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.Name, Method: zip.Deflate, Modified: e.ModTime}
		body := e.body
		mode := fs.FileMode(e.Mode).Perm()
		switch e.Typeflag {
		case tar.TypeDir:
			mode |= fs.ModeDir
			h.Method = zip.Store
		case tar.TypeSymlink:
			mode |= fs.ModeSymlink
			body = e.Linkname
		case tar.TypeFifo:
			mode |= fs.ModeNamedPipe
		}
		h.SetMode(mode)
		out, err := w.CreateHeader(h)
		must(t, err)
		_, err = io.WriteString(out, body)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks that err is an error of that kind and fault, with all the words in its message.
func wantError(t testing.TB, err error, kind core.Kind, fault core.Fault, words ...string) {
	t.Helper()
	var e *core.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want a *core.Error of kind %s", err, err, kind)
	}
	if e.Kind != kind || e.Fault != fault {
		t.Errorf("got %s of the %s, want %s of the %s: %v", e.Kind, e.Fault, kind, fault, e)
	}
	for _, word := range words {
		if !strings.Contains(e.Message, word) {
			t.Errorf("the message has no %q: %s", word, e.Message)
		}
	}
}

// wantNothing checks that nothing is left in a directory.
func wantNothing(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		t.Errorf("%s still has %s", dir, e.Name())
	}
}
