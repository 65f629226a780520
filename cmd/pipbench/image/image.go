// Package image makes trees of files with the sizes, counts and depths of a template, to test stores and root
// directories with.
package image

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// Template is what a tree of files is like.
type Template struct {
	Name        string
	Directories profile.Figure       // how many there are
	Files       profile.Figure       // how many there are
	Links       profile.Figure       // how many symbolic ones there are
	Size        profile.Distribution // of a file, in bytes
	Depth       profile.Distribution // of a directory: 1 is one at the root
	FilesBelow  profile.Distribution `yaml:"files_below"` // of a directory that has any of its own
	Empty       profile.Figure       // the share of directories that have none
}

//go:embed debian-12.yaml
var debian []byte

// Open reads a template: debian, which comes with the program, or a file. The errors name the file, and the
// line or the field.
func Open(name string) (*Template, error) {
	text := debian
	if name != "debian" {
		var err error
		if text, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("--template: it is neither debian nor a file: %w", err)
		}
	}
	t := &Template{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	err := decoder.Decode(t)
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// check returns what is impossible in a template.
func (t *Template) check() error {
	const most = 10e6
	for _, one := range []struct {
		name         string
		value, least float64
		most         float64
	}{
		{"directories", t.Directories.Value, 1, most}, {"files", t.Files.Value, 0, most},
		{"links", t.Links.Value, 0, most}, {"empty", t.Empty.Value, 0, 1},
	} {
		if !(one.value >= one.least && one.value <= one.most) {
			return fmt.Errorf("%s: %g is not from %g to %g", one.name, one.value, one.least, one.most)
		}
	}
	for _, one := range []struct {
		name string
		d    profile.Distribution
		most float64
	}{{"size", t.Size, 1e12}, {"depth", t.Depth, 100}, {"files_below", t.FilesBelow, most}} {
		switch {
		case one.d.Source == "":
			return fmt.Errorf("%s: it is missing", one.name)
		case one.d.At(1) > one.most:
			return fmt.Errorf("%s: the largest is %g, and may be %g", one.name, one.d.At(1), one.most)
		case one.name != "size" && one.d.At(0) < 1:
			return fmt.Errorf("%s: the smallest is %g, and there is at least 1", one.name, one.d.At(0))
		}
	}
	if t.Links.Value > 0 && t.Files.Value == 0 {
		return errors.New("links: there are no files that they could lead to")
	}
	return nil
}

// Entry is a directory, whose path ends with a slash, a symbolic link with its target, or a file.
type Entry struct {
	Path, Link string
	Size       int64
}

// Draw draws a tree: directories before what is in them. The same template, seed and scale give the same
// tree.
func Draw(t *Template, seed uint64, scale float64) []Entry {
	random := rand.New(packages.Numbers(seed, "image", t.Name))
	dirs := directories(t, random)
	all := make([]Entry, 0, len(dirs)+int(t.Files.Value+t.Links.Value))
	for _, dir := range dirs {
		all = append(all, Entry{Path: dir + "/"})
	}
	var files []string
	sizes := even(int(t.Files.Value), t.Size, random)
	for i, dir := range places(t, dirs, random) {
		name := path.Join(dir, "f"+strconv.Itoa(i))
		files = append(files, name)
		all = append(all, Entry{Path: name, Size: int64(math.Round(sizes[i] * scale))})
	}
	for i := range int(t.Links.Value) {
		dir, to := dirs[random.IntN(len(dirs))], files[random.IntN(len(files))]
		all = append(all, Entry{Path: path.Join(dir, "l"+strconv.Itoa(i)), Link: strings.Repeat("../", strings.Count(dir, "/")+1) + to})
	}
	return all
}

// even are as many values of a distribution as are wanted, one of each part of it, in any order.
func even(count int, d profile.Distribution, random *rand.Rand) []float64 {
	values := make([]float64, count)
	for i, part := range random.Perm(count) {
		values[i] = d.At((float64(part) + random.Float64()) / float64(count))
	}
	return values
}

// directories are their paths, each in one that is less deep by one. Some have many below them, as in a
// preferential attachment.
func directories(t *Template, random *rand.Rand) []string {
	depths := even(int(t.Directories.Value), t.Depth, random)
	slices.Sort(depths)
	var dirs []string
	last, this := []string{""}, []string{} // of the depth before, and of this one
	depth := 1
	for i, d := range depths {
		// Where no directory is less deep by one, this one is less deep than it should be.
		for int(math.Round(d)) > depth && len(this) > 0 {
			last, this, depth = this, nil, depth+1
		}
		dir := path.Join(last[int(float64(len(last))*math.Pow(random.Float64(), 2))], "d"+strconv.Itoa(i))
		this = append(this, dir)
		dirs = append(dirs, dir)
	}
	return dirs
}

// places are the directories of all files, one for each: as many in one as the template says, in all together
// as many as there are.
func places(t *Template, dirs []string, random *rand.Rand) (all []string) {
	count := int(t.Files.Value)
	with := max(1, int(math.Round(float64(len(dirs))*(1-t.Empty.Value))))
	chosen := random.Perm(len(dirs))[:with]
	counts := even(with, t.FilesBelow, random)
	sum := 0.0
	for _, n := range counts {
		sum += n
	}
	made, before := 0, 0.0
	for i, place := range chosen {
		before += counts[i]
		until := int(math.Round(float64(count) * before / sum))
		all = append(all, slices.Repeat([]string{dirs[place]}, until-made)...)
		made = until
	}
	slices.SortStableFunc(all, cmp.Compare[string])
	return all
}
