package integration

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What happens with a bad archive?

// zeros is a reader of n zero bytes.
func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// tarball writes a tar.gz of a good handler and then the entries; an entry with a size gets zeros.
func tarball(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(zipped)
	good := tar.Header{Name: "handler.py", Size: int64(len(echo)), Typeflag: tar.TypeReg, Mode: 0o644}
	if err := w.WriteHeader(&good); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, echo); err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		entry.Mode = 0o644
		if err := w.WriteHeader(&entry); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, zeros(entry.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// zipball writes a zip of a good handler and then the named files, each of size zeros.
func zipball(t testing.TB, size int64, names ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	write := func(name string, content io.Reader) {
		file, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(file, content); err != nil {
			t.Fatal(err)
		}
	}
	write("handler.py", strings.NewReader(echo))
	for _, name := range names {
		write(name, zeros(size))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBadArchives(t *testing.T) {
	system(t)
	w := shared(t)
	defer traffic(t, w)()
	reg := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	many := make([]tar.Header, 30_000)
	for i := range many {
		many[i] = reg(fmt.Sprintf("d/%d", i))
	}
	whole := tarball(t, reg("more"))
	cases := []struct {
		name    string
		archive []byte
		kind    core.Kind
		status  int
	}{
		{"no bytes", nil, core.KindInvalid, 400},
		{"not an archive", []byte("this is no archive, this is a sentence"), core.KindInvalid, 400},
		{"gzip of no tar", gzipped(t, []byte(strings.Repeat("text ", 1000))), core.KindInvalid, 400},
		{"cut off", whole[:len(whole)/2], core.KindInvalid, 400},
		{"zip cut off", []byte("PK\x03\x04 and then nothing"), core.KindInvalid, 400},
		{"no handler", files{"readme.txt": "no code here"}.archive(t), core.KindInvalid, 400},
		{"parent", tarball(t, reg("../outside")), core.KindInvalid, 400},
		{"parent inside", tarball(t, reg("a/../../outside")), core.KindInvalid, 400},
		{"absolute", tarball(t, reg("/tmp/outside")), core.KindInvalid, 400},
		{"zip parent", zipball(t, 1, "../outside"), core.KindInvalid, 400},
		{"zip parent by backslash", zipball(t, 1, `..\outside`), core.KindInvalid, 400},
		{"link out", tarball(t, tar.Header{Name: "out", Linkname: "../../../etc/passwd", Typeflag: tar.TypeSymlink}), core.KindInvalid, 400},
		{"absolute link", tarball(t, tar.Header{Name: "out", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}), core.KindInvalid, 400},
		{"hard link out", tarball(t, tar.Header{Name: "out", Linkname: "/etc/passwd", Typeflag: tar.TypeLink}), core.KindInvalid, 400},
		{"through a link", tarball(t, tar.Header{Name: "d", Linkname: "/tmp", Typeflag: tar.TypeSymlink}, reg("d/outside")), core.KindInvalid, 400},
		{"device", tarball(t, tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}), core.KindInvalid, 400},
		{"fifo", tarball(t, tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}), core.KindInvalid, 400},
		{"too many entries", tarball(t, many...), core.KindTooLarge, 413},
		{"bomb", tarball(t, tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: 600 << 20}), core.KindTooLarge, 413},
		{"zip bomb", zipball(t, 300<<20, "zeros", "more"), core.KindTooLarge, 413},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w.ask(t, http.MethodPut, "/v1/functions/bad", c.archive).expectError(t, c.kind, "", c.status)
			w.run(t, "bad", `{}`).expectError(t, core.KindNotFound, core.FaultCaller, 404)
		})
	}
}

// TestHugeArchive uploads 300 MB that do not compress.
func TestHugeArchive(t *testing.T) {
	system(t)
	w := shared(t)
	defer traffic(t, w)()
	const size = 300 << 20
	body, pipe := io.Pipe()
	go func() {
		zipped, _ := gzip.NewWriterLevel(pipe, gzip.NoCompression)
		out := tar.NewWriter(zipped)
		err := out.WriteHeader(&tar.Header{Name: "noise", Typeflag: tar.TypeReg, Mode: 0o644, Size: size})
		if err == nil {
			_, err = io.Copy(out, io.LimitReader(rand.NewChaCha8([32]byte{}), size))
		}
		if err == nil {
			err = zipped.Close()
		}
		_ = pipe.CloseWithError(err)
	}()
	a, err := w.do(t.Context(), http.MethodPut, "/v1/functions/huge", body)
	_ = body.Close()
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	a.expectError(t, core.KindTooLarge, core.FaultCaller, http.StatusRequestEntityTooLarge)
	w.run(t, "huge", `{}`).expectError(t, core.KindNotFound, core.FaultCaller, 404)
}

// TestDeployFailureKeepsTheOld checks that a function is what it was before when its next deploy fails.
func TestDeployFailureKeepsTheOld(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "steady", handlerFile("def handler(event, context):\n    return 'old'\n"))
	w.ask(t, http.MethodPut, "/v1/functions/steady", []byte("rubbish")).expectError(t, core.KindInvalid, "", 400)
	w.put(t, "steady", handlerFile(echo).with("requirements.txt", "this-package-does-not-exist-4711==1.0\n")).expectError(t, core.KindInstall, "", 422)
	if got := result[string](t, w, "steady", `{}`); got != "old" {
		t.Errorf("answer %q", got)
	}
	if f := decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/steady", nil)); f.Version != 1 {
		t.Errorf("version %d after two failed deploys", f.Version)
	}
}

func gzipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
