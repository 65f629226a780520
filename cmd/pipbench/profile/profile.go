// Package profile says what the packages of an ecosystem are like: how large, how connected, how popular and
// how costly, each figure with its source.
package profile

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Languages are those that packages can be made for, and have a profile each.
var Languages = []string{"python", "node", "ruby", "native"}

// Attributes are what is drawn jointly for a package, in the order of the matrix of correlations.
var Attributes = []string{"size", "files", "install", "import", "memory"}

// Profile is what a file of a profile has.
type Profile struct {
	Name     string
	Language string
	// Attributes have, for one package without those it requires: size in bytes and files as installed;
	// install, the milliseconds of processor that its own installation takes, zero if it only unpacks;
	// import, in milliseconds of processor; memory, in bytes.
	Attributes   map[string]Distribution
	Correlations []Correlation
	Closure      Distribution // how many packages an installation takes, itself included
	Versions     Distribution // of a package
	Constraints  Constraints
	Popularity   Popularity
	ModuleCost   Figure `yaml:"module_cost"` // milliseconds of import for each module that a package loads
	Builds       Figure // the share of packages that are distributed as source alone, and run code when they are installed
	Functions    Functions
	Templates    []Template
}

// Functions are what a function of the ecosystem is like.
type Functions struct {
	Requires Distribution // how many packages it requires itself
	Imported Figure       // the share of these that it imports; the others are only installed
}

// Figure is one number.
type Figure struct {
	Value  float64
	Source string
}

// Correlation is that of two attributes, as normal scores: logarithms, for what is distributed as a
// lognormal.
type Correlation struct {
	Between []string
	Figure  `yaml:",inline"`
}

// Constraints are the shares of requirements by what they allow: any version, a version and all later ones,
// those that are compatible (of the same major version and not older), or exactly one. They sum to 1.
type Constraints struct {
	Any        float64
	AtLeast    float64 `yaml:"at_least"`
	Compatible float64
	Exact      float64
	Source     string
}

// Popularity is a bent Zipf distribution: the weight of rank r falls as r^-Head up to rank Knee, and then as
// r^-Tail.
type Popularity struct {
	Head, Tail float64
	Knee       int
	Source     string
}

// Weight is that of a rank, from 1 on; that of rank 1 is 1.
func (p Popularity) Weight(rank int) float64 {
	if rank <= p.Knee {
		return math.Pow(float64(rank), -p.Head)
	}
	return math.Pow(float64(p.Knee), p.Tail-p.Head) * math.Pow(float64(rank), -p.Tail)
}

// Template is how files lie in a real package.
type Template struct {
	Name   string
	Groups []Group
}

// Group is the files with one extension in one directory of a template; Bytes are those of all of them.
type Group struct {
	Dir, Ext string
	Files    int
	Bytes    int64
}

//go:embed *.yaml
var shipped embed.FS

// Shipped returns the profile of a language that comes with the program.
func Shipped(language string) (*Profile, error) {
	found, err := fs.Glob(shipped, language+"-*.yaml")
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("there is no profile for %q, only for %s", language, strings.Join(Languages, ", "))
	}
	text, err := shipped.ReadFile(found[len(found)-1])
	if err != nil {
		return nil, err
	}
	return Parse(found[len(found)-1], text)
}

// Load reads a profile from a file.
func Load(path string) (*Profile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse reads a profile. The errors name the file, and the line or the field.
func Parse(path string, text []byte) (*Profile, error) {
	p := &Profile{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	err := decoder.Decode(p)
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// check returns what is impossible in a profile.
func (p *Profile) check() error {
	if p.Name == "" {
		return errors.New("name: a profile has a name")
	}
	if !slices.Contains(Languages, p.Language) {
		return fmt.Errorf("language: %q is not one of %s", p.Language, strings.Join(Languages, ", "))
	}
	for name := range p.Attributes {
		if !slices.Contains(Attributes, name) {
			return fmt.Errorf("attributes: %q is not one of %s", name, strings.Join(Attributes, ", "))
		}
	}
	for _, name := range Attributes {
		if p.Attributes[name].knots == nil {
			return fmt.Errorf("attributes: %s is missing", name)
		}
	}
	for name, d := range map[string]Distribution{"closure": p.Closure, "versions": p.Versions, "attributes.files": p.Attributes["files"]} {
		if d.knots == nil {
			return fmt.Errorf("%s: it is missing", name)
		}
		if d.knots[0].x < 1 {
			return fmt.Errorf("%s: the smallest is %g, and there is at least 1", name, d.knots[0].x)
		}
	}
	c := p.Constraints
	shares := []float64{c.Any, c.AtLeast, c.Compatible, c.Exact}
	if sum := c.Any + c.AtLeast + c.Compatible + c.Exact; slices.Min(shares) < 0 || math.Abs(sum-1) > 0.01 {
		return fmt.Errorf("constraints: they are shares, and sum to %g instead of 1", sum)
	}
	switch z := p.Popularity; {
	case z.Head <= 0 || z.Tail <= 0:
		return errors.New("popularity: head and tail are exponents above 0")
	case z.Knee < 1:
		return errors.New("popularity: knee is a rank, and the first is 1")
	case p.ModuleCost.Value <= 0:
		return errors.New("module_cost: a module costs some time")
	case p.Builds.Value < 0 || p.Builds.Value > 1:
		return fmt.Errorf("builds: %g is no share", p.Builds.Value)
	case p.Functions.Requires.knots == nil:
		return errors.New("functions.requires: it is missing")
	case p.Functions.Imported.Value < 0 || p.Functions.Imported.Value > 1:
		return fmt.Errorf("functions.imported: %g is no share", p.Functions.Imported.Value)
	case len(p.Templates) == 0:
		return errors.New("templates: there is at least one")
	}
	for _, t := range p.Templates {
		if err := t.check(); err != nil {
			return fmt.Errorf("templates: %s: %w", t.Name, err)
		}
	}
	_, err := p.mix()
	return err
}

func (t Template) check() error {
	for _, g := range t.Groups {
		if g.Files < 1 || g.Bytes < 0 {
			return fmt.Errorf("group %q %q: a group has files, and their bytes", g.Dir, g.Ext)
		}
		if g.Dir != "" && !fs.ValidPath(g.Dir) || strings.ContainsAny(g.Ext, "/\\") {
			return fmt.Errorf("group %q %q: it is not below the package", g.Dir, g.Ext)
		}
	}
	if len(t.Groups) == 0 {
		return errors.New("it has no groups of files")
	}
	return nil
}

// Count is how many files the template has.
func (t Template) Count() (files int) {
	for _, g := range t.Groups {
		files += g.Files
	}
	return files
}
