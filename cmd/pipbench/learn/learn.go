// Package learn makes profiles of packages that are installed, or locked.
package learn

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"gonum.org/v1/gonum/stat"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// sample is packages that were found together.
type sample struct {
	language string
	isDir    bool // files are there, and not only names
	all      []found
}

// found is a package.
type found struct {
	name, version string
	files         []file
	requires      []requirement
	builds        bool
}

// file is one of a package, below it.
type file struct {
	path string
	size int64
}

// requirement is of another package of the sample, by its place, or of none of it.
type requirement struct {
	place int // -1 if it is not there
	kind  string
}

// The kinds of requirements, as profiles have shares of them.
const (
	anyVersion = "any"
	atLeast    = "at_least"
	compatible = "compatible"
	exact      = "exact"
	unknown    = "" // a lock does not say it
)

// From reads directories of installed packages and locks, all of one language, and returns a profile. It is
// that which comes with pipbench, with what can be learned in its place.
func From(name string, paths []string) (*profile.Profile, error) {
	var samples []sample
	for _, one := range paths {
		s, err := read(one)
		if err != nil {
			return nil, err
		}
		if len(s.all) == 0 {
			return nil, fmt.Errorf("%s: it has no packages", one)
		}
		if len(samples) > 0 && samples[0].language != s.language {
			return nil, fmt.Errorf("%s: its packages are for %s, and those of %s for %s: a profile is for one language",
				one, s.language, paths[0], samples[0].language)
		}
		samples = append(samples, s)
	}
	p, err := profile.Shipped(samples[0].language)
	if err != nil {
		return nil, err
	}
	p.Name = name
	learn(p, samples, "learned from "+strings.Join(paths, ", "))
	return checked(p)
}

// checked returns a profile as it is read again.
func checked(p *profile.Profile) (*profile.Profile, error) {
	text, err := Write(p)
	if err != nil {
		return nil, err
	}
	return profile.Parse(p.Name, text)
}

// Write returns a profile as the text of a file.
func Write(p *profile.Profile) ([]byte, error) { return yaml.Marshal(p) }

// read reads a directory or a lock.
func read(name string) (sample, error) {
	info, err := os.Stat(name)
	if err != nil {
		return sample{}, err
	}
	if !info.IsDir() {
		lock, known := locks[filepath.Base(name)]
		if !known {
			return sample{}, fmt.Errorf("%s: it is neither a directory nor one of package-lock.json, Gemfile.lock", name)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return sample{}, err
		}
		s, err := lock(text)
		if err != nil {
			return sample{}, fmt.Errorf("%s: %w", name, err)
		}
		return s, nil
	}
	for _, one := range []struct {
		mark string // what such a directory has
		read func(dir string) (sample, error)
	}{
		{"*.dist-info/METADATA", readPython}, {"specifications/*.gemspec", readRuby}, {"info/*.list", readDebian},
		{"*/package.json", readNode}, {"@*/*/package.json", readNode},
	} {
		marks, err := filepath.Glob(filepath.Join(name, one.mark))
		if err != nil {
			return sample{}, err
		}
		if len(marks) > 0 {
			s, err := one.read(name)
			s.isDir = true
			return s, err
		}
	}
	return sample{}, fmt.Errorf("%s: it is neither site-packages, node_modules, a directory of gems nor /var/lib/dpkg", name)
}

// learn puts what samples say into a profile.
func learn(p *profile.Profile, samples []sample, source string) {
	var sizes, files, closures []float64
	kinds, versions := map[string]float64{}, map[string]map[string]bool{}
	requirements, builds, count := 0.0, 0.0, 0.0
	var whole []found // packages with files
	for _, s := range samples {
		for i, one := range s.all {
			count++
			closures = append(closures, float64(len(s.closure(i))))
			for _, r := range one.requires {
				if r.kind != unknown {
					kinds[r.kind]++
					requirements++
				}
			}
			if one.builds {
				builds++
			}
			if versions[one.name] == nil {
				versions[one.name] = map[string]bool{}
			}
			versions[one.name][one.version] = true
			if n := len(one.files); s.isDir && n > 0 {
				sizes, files = append(sizes, float64(max(1, one.size()))), append(files, float64(n))
				whole = append(whole, one)
			}
		}
	}
	of := func(what string, n int) string { return fmt.Sprintf("%s: %s of %d packages", source, what, n) }
	p.Closure = profile.Of(closures, of("closures", len(closures)))
	if requirements > 0 {
		share := func(kind string) float64 { return kinds[kind] / requirements }
		p.Constraints = profile.Constraints{Any: share(anyVersion), AtLeast: share(atLeast), Compatible: share(compatible), Exact: share(exact),
			Source: fmt.Sprintf("%s: %g requirements", source, requirements)}
	}
	if p.Language == "node" || p.Language == "ruby" { // elsewhere what is installed does not show it
		p.Builds = profile.Figure{Value: builds / count, Source: of("those that run code", int(count))}
	}
	if len(samples) > 1 {
		var numbers []float64
		for _, all := range versions {
			numbers = append(numbers, float64(len(all)))
		}
		p.Versions = profile.Of(numbers, of("versions", len(numbers)))
	}
	if len(sizes) < 2 {
		return
	}
	p.Attributes["size"] = profile.Of(sizes, of("sizes", len(sizes)))
	p.Attributes["files"] = profile.Of(files, of("files", len(files)))
	p.Templates = templates(whole)
	correlate(p, sizes, files, of("logarithms", len(sizes)))
}

// correlate learns how sizes go with numbers of files, unless that contradicts the other correlations.
func correlate(p *profile.Profile, sizes, files []float64, source string) {
	logs := func(all []float64) (logs []float64) {
		for _, x := range all {
			logs = append(logs, math.Log(x))
		}
		return logs
	}
	r := stat.Correlation(logs(sizes), logs(files), nil)
	if math.IsNaN(r) {
		return // all have as many
	}
	before := slices.Clone(p.Correlations)
	p.Correlations = slices.DeleteFunc(p.Correlations, func(c profile.Correlation) bool {
		return slices.Contains(c.Between, "size") && slices.Contains(c.Between, "files")
	})
	learned := profile.Figure{Value: max(-0.95, min(0.95, r)), Source: source}
	p.Correlations = append(p.Correlations, profile.Correlation{Between: []string{"size", "files"}, Figure: learned})
	if _, err := p.Joint(); err != nil {
		p.Correlations = before
	}
}

// closure are the places of all packages that come with one, itself included.
func (s sample) closure(i int) map[int]bool {
	have := map[int]bool{i: true}
	for next := []int{i}; len(next) > 0; next = next[1:] {
		for _, r := range s.all[next[0]].requires {
			if r.place >= 0 && !have[r.place] {
				have[r.place] = true
				next = append(next, r.place)
			}
		}
	}
	return have
}

func (f found) size() (size int64) {
	for _, one := range f.files {
		size += one.size
	}
	return size
}

// templates are how files lie in a dozen packages, from the smallest to the largest.
func templates(all []found) (chosen []profile.Template) {
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(len(a.files), len(b.files)) })
	n := min(12, len(all))
	for i := range n {
		one := all[i*(len(all)-1)/max(1, n-1)]
		groups := map[[2]string]*profile.Group{}
		for _, f := range one.files {
			dir, ext := path.Dir(f.path), strings.TrimPrefix(path.Ext(f.path), ".")
			if dir == "." {
				dir = ""
			}
			k := [2]string{dir, ext}
			if groups[k] == nil {
				groups[k] = &profile.Group{Dir: dir, Ext: ext}
			}
			groups[k].Files++
			groups[k].Bytes += f.size
		}
		t := profile.Template{Name: one.name + " " + one.version}
		for _, g := range groups {
			t.Groups = append(t.Groups, *g)
		}
		slices.SortFunc(t.Groups, func(a, b profile.Group) int { return cmp.Or(cmp.Compare(a.Dir, b.Dir), cmp.Compare(a.Ext, b.Ext)) })
		chosen = append(chosen, t)
	}
	return chosen
}
