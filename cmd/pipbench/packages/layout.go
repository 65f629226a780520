package packages

import (
	"encoding/base64"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// layout says which files packages have.
type layout struct {
	catalog   *Catalog
	templates []profile.Template
}

func (layout) serial() bool { return false }
func (layout) close() error { return nil }

// file is one of a package.
type file struct {
	path string
	size int64  // that the content has at least
	code string // that a source file begins with
}

// files returns the files of a package but its first one, which imports it: where a template has them, and as
// large.
func (l layout) files(p Package) []file {
	random := rand.New(Numbers(l.catalog.Seed, l.catalog.Language, "files", p.Name))
	count := p.Files - 1
	template := l.template(random, p.Files)
	groups := template.Groups
	bytes, of := int64(1), 0
	for _, g := range groups {
		bytes, of = bytes+g.Bytes, of+g.Files
	}
	size := float64(p.Size) * l.catalog.Scale
	var all []file
	made, before := 0, 0
	for n, g := range groups {
		before += g.Files
		until := int(math.Round(float64(count) * float64(before) / float64(of)))
		weights, sum := make([]float64, until-made), 0.0
		for i := range weights {
			weights[i] = math.Exp(random.NormFloat64())
			sum += weights[i]
		}
		for i, w := range weights {
			dir := g.Dir
			if again := i / (2 * g.Files); again > 0 { // a template for fewer files is laid out again beside itself
				dir = path.Join(dir, "n"+strconv.Itoa(again))
			}
			name := "f" + strconv.Itoa(n) + "_" + strconv.Itoa(i)
			if g.Ext != "" {
				name += "." + extension(g.Ext)
			}
			all = append(all, file{path: path.Join(dir, name), size: int64(size * float64(g.Bytes) / float64(bytes) * w / sum)})
		}
		made = until
	}
	return all
}

// rest is the size of a package that its files leave to the first one: all of it, if there are no others.
func (l layout) rest(p Package, all []file) int64 {
	size := int64(float64(p.Size) * l.catalog.Scale)
	for _, f := range all {
		size -= f.size
	}
	return size
}

// extension is what a file is called that has nothing of what it seems: no tool may take it for a library.
func extension(ext string) string {
	switch ext {
	case "so", "a", "o", "dll", "exe", "dylib", "node", "jar", "whl", "pth", "egg", "gem":
		return ext + "_"
	}
	return ext
}

// template draws one that has about as many files.
func (l layout) template(random *rand.Rand, files int) profile.Template {
	return slices.MinFunc(slices.Clone(l.templates), func(a, b profile.Template) int {
		far := func(t profile.Template) float64 { return math.Abs(math.Log(float64(t.Count()) / float64(files))) }
		switch d := far(a) - far(b) + 0.5*random.NormFloat64(); {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return 0
	})
}

// loaded returns which files an import of the package loads, at most as many as it has modules besides the
// first: source files, in the order in which they lie.
func (p Package) loaded(all []file, ext string) (modules []int) {
	for i, f := range all {
		if len(modules) < p.Modules-1 && path.Ext(f.path) == ext && !strings.ContainsAny(path.Dir(f.path), ".- ") {
			modules = append(modules, i)
		}
	}
	return modules
}

// content is what a file of a version has: its code, and to its size what no other file has and cannot be
// compressed; in source files, as comments.
func (l layout) content(p Package, v Version, f file, comment string) []byte {
	random := Numbers(l.catalog.Seed, l.catalog.Language, "content", p.Name, v.Number, f.path)
	content := []byte(f.code)
	rest := int(f.size) - len(content)
	if rest <= 0 {
		return content
	}
	if comment == "" {
		noise := make([]byte, rest)
		_, _ = random.Read(noise)
		return append(content, noise...)
	}
	noise := make([]byte, 72)
	for rest > 0 {
		_, _ = random.Read(noise)
		line := comment + base64.StdEncoding.EncodeToString(noise)
		line = line[:max(len(comment), min(len(line), rest-1))] + "\n"
		content = append(content, line...)
		rest -= len(line)
	}
	return content
}
