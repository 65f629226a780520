package bundle

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
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
		coretest.Must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, e.body)
		coretest.Must(t, err)
	}
	coretest.Must(t, w.Close())
	coretest.Must(t, gz.Close())
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
		coretest.Must(t, err)
		_, err = io.WriteString(out, body)
		coretest.Must(t, err)
	}
	coretest.Must(t, w.Close())
	return b.Bytes()
}

// wantNothing checks that nothing is left in a directory.
func wantNothing(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	coretest.Must(t, err)
	for _, e := range entries {
		t.Errorf("%s still has %s", dir, e.Name())
	}
}
