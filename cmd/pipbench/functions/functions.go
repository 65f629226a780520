// Package functions makes functions that use artificial packages, and knows what each has to answer.
package functions

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// Set is all functions of a directory: its file functions.json. The code of each lies beside it, in a
// directory of its name.
type Set struct {
	Seed      uint64     `json:"seed"`
	Functions []Function `json:"functions"`
}

// Function is an artificial function.
type Function struct {
	Name     string   `json:"name"`
	Language string   `json:"language"`
	Packages []Pinned `json:"packages"`         // that it requires itself
	Closure  int      `json:"closure"`          // how many packages an installation takes
	Import   float64  `json:"import_ms"`        // of processor, by all that is loaded when it starts
	Memory   int64    `json:"memory"`           // bytes that this makes resident
	Builds   []string `json:"builds,omitempty"` // of what is installed, the packages that run code then
	Values   string   `json:"values"`           // of the packages that it imports, one after the other
}

// Pinned is a package at the version that a function requires.
type Pinned struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Imported bool   `json:"imported,omitempty"` // not only installed
}

// Versions are the packages that it requires itself, with the versions.
func (f Function) Versions() (all []packages.Pinned) {
	for _, p := range f.Packages {
		all = append(all, packages.Pinned{Name: p.Name, Version: p.Version})
	}
	return all
}

// Event is what a function is sent. It spends the processor's time, waits and touches memory as the event
// says.
type Event struct {
	Nonce  string  `json:"nonce"` // letters and digits, which decide the answer
	CPU    float64 `json:"cpu_ms"`
	Wait   float64 `json:"wait_ms"`
	Memory int64   `json:"memory"` // bytes
}

// answer is the result of a function.
type answer struct {
	Function string `json:"function"`
	Answer   int    `json:"answer"`
}

// Check returns how a result differs from what the function has to answer to a nonce, or nil.
func (f Function) Check(nonce string, result []byte) error {
	var got answer
	decoder := json.NewDecoder(bytes.NewReader(result))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&got)
	want := answer{f.Name, f.answer(nonce)}
	if err != nil || got != want {
		if len(result) > 200 {
			result = append(slices.Clone(result[:200]), "…"...)
		}
		return fmt.Errorf(`%s has to answer {"function": %q, "answer": %d}, not %s`, f.Name, want.Function, want.Answer, bytes.TrimSpace(result))
	}
	return nil
}

// answer is what code in four languages computes too: a remainder that a double holds at each step.
func (f Function) answer(nonce string) (n int) {
	for _, b := range []byte(f.Values + nonce) {
		n = (n*31 + int(b)) % 1000003
	}
	return n
}

// Draw draws count functions for each catalog. The function of one number has in every language as many
// packages, and the same ranks of them by popularity, as far as those can be installed together and the
// profiles agree.
func Draw(catalogs []*packages.Catalog, count int, seed uint64) (*Set, error) {
	set := &Set{Seed: seed}
	for _, c := range catalogs {
		p, err := profile.Shipped(c.Language)
		if err != nil {
			return nil, err
		}
		d := newDrawer(c, p)
		for i := range count {
			set.Functions = append(set.Functions, d.function(i, rand.New(packages.Numbers(seed, "function", i))))
		}
	}
	return set, nil
}

// drawer draws the functions of one language.
type drawer struct {
	catalog *packages.Catalog
	profile *profile.Profile
	ranks   []int     // places of packages, the most popular first
	weights []float64 // sums of the popularity of all before a rank
	nothing *packages.Choice
}

func newDrawer(c *packages.Catalog, p *profile.Profile) *drawer {
	d := &drawer{catalog: c, profile: p, weights: []float64{0}, nothing: c.Choose()}
	for i := range c.Packages {
		d.ranks = append(d.ranks, i)
	}
	slices.SortStableFunc(d.ranks, func(a, b int) int { return cmp.Compare(c.Packages[b].Popularity, c.Packages[a].Popularity) })
	for rank, place := range d.ranks {
		d.weights = append(d.weights, d.weights[rank]+c.Packages[place].Popularity)
	}
	return d
}

func (d *drawer) function(i int, random *rand.Rand) Function {
	f := Function{Name: fmt.Sprintf("pb-%s-%d", d.catalog.Language, i), Language: d.catalog.Language, Packages: []Pinned{}}
	wanted := int(math.Round(d.profile.Functions.Requires.At(random.Float64())))
	// Debian's apt installs the newest version of what another package requires, or nothing.
	latest := f.Language == "native"
	choice := d.nothing.Again()
	var places []int
	for tries := 0; len(places) < min(wanted, len(d.ranks)) && tries < 50*wanted; tries++ {
		u := random.Float64() * d.weights[len(d.ranks)]
		place := d.ranks[min(max(0, sort.SearchFloat64s(d.weights, u)-1), len(d.ranks)-1)]
		if !slices.Contains(places, place) && choice.Add(place, latest) {
			places = append(places, place)
		}
	}
	var imported []int
	for _, place := range places {
		// What a function requires was the newest version when its author wrote it: seldom long ago, as an
		// assumption.
		versions := choice.Versions(place)
		v := versions[max(0, len(versions)-1-int(random.ExpFloat64()*0.7))]
		if latest {
			v = versions[len(versions)-1]
		}
		one := Pinned{Name: d.catalog.Packages[place].Name, Version: v.Number, Imported: random.Float64() < d.profile.Functions.Imported.Value}
		if one.Imported {
			imported = append(imported, place)
			f.Values += v.Value
		}
		f.Packages = append(f.Packages, one)
	}
	for _, place := range choice.Installed() {
		f.Closure++
		if p := d.catalog.Packages[place]; p.Builds {
			f.Builds = append(f.Builds, p.Name)
		}
	}
	f.Import, f.Memory = d.costs(imported)
	return f
}

// costs are those of importing packages, with all that they require.
func (d *drawer) costs(places []int) (ms float64, memory int64) {
	choice := d.nothing.Again()
	for _, place := range places {
		choice.Add(place, false) // they were chosen together before
	}
	for _, place := range choice.Installed() {
		ms += d.catalog.Packages[place].Import
		memory += d.catalog.Packages[place].Memory
	}
	return ms, memory
}

// Write draws functions for the packages below dir, and writes them to its directory functions, which must
// not exist yet.
func Write(dir string, languages []string, count int, seed uint64) (*Set, error) {
	catalogs, err := packages.Open(dir)
	if err != nil {
		return nil, err
	}
	for _, language := range languages {
		if !slices.ContainsFunc(catalogs, func(c *packages.Catalog) bool { return c.Language == language }) {
			return nil, fmt.Errorf("--language: there are no packages for %q in %s", language, dir)
		}
	}
	if len(languages) > 0 {
		catalogs = slices.DeleteFunc(catalogs, func(c *packages.Catalog) bool { return !slices.Contains(languages, c.Language) })
	}
	set, err := Draw(catalogs, count, seed)
	if err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "functions")
	if err := os.Mkdir(out, 0o755); err != nil {
		return nil, err
	}
	if err := set.write(out); err != nil {
		return nil, errors.Join(err, os.RemoveAll(out))
	}
	return set, nil
}

func (s *Set) write(out string) error {
	for _, f := range s.Functions {
		if err := f.Write(filepath.Join(out, f.Name)); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "functions.json"), append(text, '\n'), 0o644)
}

// Write writes the code of a function to a directory, which must not exist yet.
func (f Function) Write(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, text := range f.files() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Open reads the functions of a directory, which `pipbench functions` has written.
func Open(dir string) (*Set, error) {
	path := filepath.Join(dir, "functions", "functions.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s has no functions: `pipbench functions %s` makes some", dir, dir)
	}
	s := &Set{}
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// check returns what is impossible in the file.
func (s *Set) check() error {
	seen := map[string]bool{}
	for i, f := range s.Functions {
		switch {
		case f.Name == "" || strings.ContainsAny(f.Name, "/\\") || f.Name == "." || f.Name == "..":
			return fmt.Errorf("functions[%d]: name: %q is no name", i, f.Name)
		case seen[f.Name]:
			return fmt.Errorf("functions[%d]: name: %s is there already", i, f.Name)
		case !slices.Contains(profile.Languages, f.Language):
			return fmt.Errorf("functions[%d]: language: %q is not one of %s", i, f.Language, strings.Join(profile.Languages, ", "))
		}
		seen[f.Name] = true
	}
	if len(s.Functions) == 0 {
		return errors.New("functions: there are none")
	}
	return nil
}
