package bundle

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// packed is one file of an archive, "path content", a directory when it ends with a slash.
type packed struct {
	name, content string
	mode          fs.FileMode
}

func asTar(t *testing.T, files ...packed) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: int64(f.mode), Size: int64(len(f.content)), ModTime: time.Now(), Typeflag: tar.TypeReg, Uid: 7}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
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

func asZip(t *testing.T, files ...packed) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		h.SetMode(f.mode)
		one, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(one, f.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestReadBundle: the digest is that of what the worker unpacks, whatever the archive is like, and another
// for any other code.
func TestReadBundle(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	handler, settings, script := packed{"handler.py", "x = 1\n", 0o644}, packed{"pipsqueak.yaml", "name: hello\n", 0o644}, packed{"lib/run.sh", "#!\n", 0o755}
	in := func(dir string, files ...packed) []packed {
		files = slices.Clone(files)
		for i := range files {
			files[i].name = dir + files[i].name
		}
		return files
	}
	with := func(f packed, change func(*packed)) packed { change(&f); return f }
	all := []packed{handler, settings, script}
	s, _, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := ""
	for _, test := range []struct {
		name    string
		archive []byte
		same    bool
	}{
		{"as it is", asTar(t, all...), true},
		{"another order and other modes", asTar(t, with(script, func(f *packed) { f.mode = 0o700 }), settings, with(handler, func(f *packed) { f.mode = 0o600 })), true},
		{"in a directory", asTar(t, append([]packed{{"hello/", "", 0o755}}, in("hello/", all...)...)...), true},
		{"as a zip", asZip(t, all...), true},
		{"other content", asTar(t, with(handler, func(f *packed) { f.content = "x = 2\n" }), settings, script), false},
		{"another settings", asTar(t, handler, with(settings, func(f *packed) { f.content = "name: hello\nmemory_mb: 512\n" }), script), false},
		{"another name", asTar(t, with(handler, func(f *packed) { f.name = "handle.py" }), settings, script), false},
		{"executable", asTar(t, with(handler, func(f *packed) { f.mode = 0o755 }), settings, script), false},
		{"a file more", asTar(t, append(all, packed{"z.py", "", 0o644})...), false},
		{"an empty directory more", asTar(t, append(all, packed{"z/", "", 0o755})...), false},
		{"a file less", asTar(t, handler, settings), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Read(t.Context(), bytes.NewReader(test.archive))
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = got.Digest
			}
			if got.Name != "hello" || (got.Digest == want) != test.same {
				t.Errorf("%+v; the first was %s", got, want)
			}
			dir, _, err := Unpack(t.Context(), bytes.NewReader(test.archive), s.Staging())
			if err != nil {
				t.Fatal(err)
			}
			if staged, err := s.StagedDigest(dir); err != nil || staged != got.Digest {
				t.Errorf("the worker's is %s, %v", staged, err)
			}
			committed, release, err := s.CommitCode(dir)
			if err != nil {
				t.Fatal(err)
			}
			release()
			if committed != got.Digest {
				t.Errorf("the code in the store is %s", committed)
			}
		})
	}
	for name, archive := range map[string][]byte{"nothing": nil, "no archive": []byte("hello"), "a bad settings": asTar(t, handler, packed{"pipsqueak.yaml", "nam: x\n", 0o644})} {
		if _, err := Read(t.Context(), bytes.NewReader(archive)); err == nil {
			t.Errorf("%s has a digest", name)
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v %v", left, err)
	}
}
