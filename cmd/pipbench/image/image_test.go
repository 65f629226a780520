package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// TestDraw compares a tree with its template: counts, sizes, depths, and how many files are together.
func TestDraw(t *testing.T) {
	template, err := Open("debian")
	coretest.Must(t, err)
	all := Draw(template, 1, 1)
	var sizes, depths []float64
	links, below, seen := 0, map[string]float64{}, map[string]bool{"": true}
	for _, e := range all {
		name := strings.TrimSuffix(e.Path, "/")
		parent := filepath.Dir("/" + name)[1:]
		if seen[name] || !seen[parent] {
			t.Fatalf("%s is there twice, or before its directory", e.Path)
		}
		seen[name] = true
		switch {
		case e.Link != "":
			links++
			if target := filepath.Join(parent, e.Link); !seen[target] {
				t.Fatalf("%s leads to %s, which is not there", e.Path, target)
			}
		case name != e.Path:
			depths = append(depths, float64(strings.Count(e.Path, "/")))
		default:
			sizes = append(sizes, float64(e.Size))
			below[parent]++
		}
	}
	if len(depths) != 766 || len(sizes) != 4767 || links != 589 {
		t.Errorf("%d directories, %d files, %d links", len(depths), len(sizes), links)
	}
	var counts []float64
	for _, n := range below {
		counts = append(counts, n)
	}
	if share := 1 - float64(len(counts))/766; math.Abs(share-0.355) > 0.03 {
		t.Errorf("%.3f of the directories are empty, want 0.355", share)
	}
	for what, values := range map[string][]float64{"size": sizes, "depth": depths, "files_below": counts} {
		d := map[string]interface{ At(float64) float64 }{"size": template.Size, "depth": template.Depth, "files_below": template.FilesBelow}[what]
		slices.Sort(values)
		for _, share := range []float64{0.1, 0.25, 0.5, 0.75, 0.9, 0.99} {
			is, want := values[int(share*float64(len(values)))], d.At(share)
			if math.Abs(is-want) > 1+0.25*want {
				t.Errorf("%s: the quantile %g is %g, want %g", what, share, is, want)
			}
		}
	}
	small := Draw(template, 1, 0.01)
	for i, e := range small {
		if e.Path != all[i].Path || math.Abs(float64(e.Size)-float64(all[i].Size)/100) > 1 {
			t.Fatalf("a hundredth of %+v is %+v", all[i], e)
		}
	}
	if slices.Equal(all, Draw(template, 2, 1)) {
		t.Error("another seed gives the same tree")
	}
}

// read reads what a directory has, as a tar archive has it.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	coretest.Must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case entry.IsDir():
			found[name+"/"] = ""
		case entry.Type()&fs.ModeSymlink != 0:
			found[name], err = os.Readlink(path)
		default:
			var text []byte
			text, err = os.ReadFile(path)
			found[name] = string(text)
		}
		return err
	}))
	return found
}

// TestWrite writes a tree twice as a directory and once as an archive: all have the same bytes, which cannot
// be compressed.
func TestWrite(t *testing.T) {
	template, err := Open("debian")
	coretest.Must(t, err)
	dir := t.TempDir()
	all := Draw(template, 1, 0.01)
	for _, name := range []string{"a", "b", "c.tar"} {
		coretest.Must(t, Write(t.Context(), all, 1, filepath.Join(dir, name)))
		if err := Write(t.Context(), all, 1, filepath.Join(dir, name)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s was written twice: %v", name, err)
		}
	}
	coretest.Must(t, Write(t.Context(), all, 2, filepath.Join(dir, "other")))
	a, b, other := read(t, filepath.Join(dir, "a")), read(t, filepath.Join(dir, "b")), read(t, filepath.Join(dir, "other"))
	file, err := os.Open(filepath.Join(dir, "c.tar"))
	coretest.Must(t, err)
	defer file.Close()
	archive, members := tar.NewReader(file), 0
	var together, squeezed bytes.Buffer
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		coretest.Must(t, err)
		text, err := io.ReadAll(archive)
		coretest.Must(t, err)
		if got := string(text) + header.Linkname; a[header.Name] != got {
			t.Fatalf("%s is another in the archive", header.Name)
		}
		members++
		together.Write(text)
	}
	if len(a) != len(all) || members != len(all) {
		t.Errorf("%d entries in the directory and %d in the archive, want %d", len(a), members, len(all))
	}
	same := 0
	for name, text := range a {
		if b[name] != text {
			t.Fatalf("%s is another when it is written again", name)
		}
		if len(text) > 8 && !strings.Contains(text, "../") && other[name] == text {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d files are the same with another seed", same)
	}
	zipped := gzip.NewWriter(&squeezed)
	_, _ = zipped.Write(together.Bytes())
	coretest.Must(t, zipped.Close())
	if squeezed.Len() < together.Len() {
		t.Errorf("%d bytes can be compressed to %d", together.Len(), squeezed.Len())
	}
}

// TestInterrupted checks that nothing half is left.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range []string{"a", "a.tar"} {
		if err := Write(ctx, []Entry{{Path: "x"}}, 1, filepath.Join(dir, name)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// TestImpossible changes one place of the shipped template: the error names the file, and the line or the
// field.
func TestImpossible(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.yaml")
	for _, c := range []struct{ old, changed, want string }{
		{"value: 766", "value: 0", "directories: 0 is not from 1 to 1e+07"},
		{"value: 4767", "value: -1", "files: -1 is not from 0"},
		{"value: 4767", "value: 0", "links: there are no files"},
		{"value: 589", "value: .nan", "links: NaN is not from 0"},
		{"value: 0.355", "value: 1.355", "empty: 1.355 is not from 0 to 1"},
		{"0.05: 209", "0.05: 600", "line 7: quantiles: 0.1: 508 is below the one before"},
		{"{0: 1, 0.03: 2,", "{0: 0, 0.03: 2,", "depth: the smallest is 0"},
		{"0.99: 7, 1: 8", "0.99: 7, 1: 800", "depth: the largest is 800"},
		{"files_below:", "files_above:", "files_above"},
	} {
		text := strings.Replace(string(debian), c.old, c.changed, 1)
		if !strings.Contains(text, c.changed) {
			t.Errorf("the template has no %q", c.old)
		}
		coretest.Must(t, os.WriteFile(path, []byte(text), 0o644))
		if _, err := Open(path); err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, want %q", c.changed, c.old, err, c.want)
		}
	}
	coretest.Must(t, os.WriteFile(path, []byte("name: x\ndirectories: {value: 1}\n"), 0o644))
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "size: it is missing") {
		t.Errorf("a template without sizes: %v", err)
	}
	if _, err := Open("ubuntu"); err == nil || !strings.Contains(err.Error(), "--template: it is neither debian nor a file") {
		t.Errorf("a strange template: %v", err)
	}
}
