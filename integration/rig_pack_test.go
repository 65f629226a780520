package integration

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pack writes an archive of the kind that its name says.
func pack(t testing.TB, archive string, content files) {
	t.Helper()
	var out []byte
	switch base := filepath.Base(archive); {
	case strings.HasSuffix(base, ".whl"):
		out = packZip(t, content)
	case strings.HasSuffix(base, ".gem"):
		metadata := content["metadata"]
		delete(content, "metadata")
		out = packTar(t, "", files{"metadata.gz": string(packGzip(t, []byte(metadata))), "data.tar.gz": string(packGzip(t, packTar(t, "", content)))})
	case strings.HasSuffix(base, ".deb"):
		tree := t.TempDir()
		for name, text := range content {
			path := filepath.Join(tree, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
				t.Fatal(err)
			}
		}
		if said, err := exec.Command("dpkg-deb", "--root-owner-group", "--build", tree, archive).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		return
	default:
		out = packGzip(t, packTar(t, "package/", content))
	}
	if err := os.WriteFile(archive, out, 0o644); err != nil {
		t.Fatal(err)
	}
}

func packTar(t testing.TB, below string, content files) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(content)) {
		err := w.WriteHeader(&tar.Header{Name: below + name, Size: int64(len(content[name])), Mode: 0o644, Typeflag: tar.TypeReg})
		if _, werr := w.Write([]byte(content[name])); err != nil || werr != nil {
			t.Fatal(err, werr)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func packGzip(t testing.TB, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func packZip(t testing.TB, content files) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(content)) {
		file, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write([]byte(content[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// places are the lines that say themselves what is to be found in them, as "FOUND rule rule", and besides
// those that cannot.
func places(content files, besides ...string) []string {
	marker := regexp.MustCompile(`FOUND ([a-z -]+)`)
	all := slices.Clone(besides)
	for name, text := range content {
		for i, line := range strings.Split(text, "\n") {
			if m := marker.FindStringSubmatch(line); m != nil {
				for _, rule := range strings.Fields(m[1]) {
					all = append(all, fmt.Sprintf("%s %s:%d", rule, name, i+1))
				}
			}
		}
	}
	slices.Sort(all)
	return all
}
