// Package coldstart measures how long the same function takes to start in every language, by how many
// packages it has, what they cost, and how it is started.
package coldstart

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// Kind is how a function was started.
type Kind string

// The kinds of starts, from the dearest to the cheapest. What a platform has done is seen in its answer.
const (
	Process Kind = "new process" // with the packages that the language's installer has left
	Sandbox Kind = "new sandbox" // a process of the runtime, and all imports
	Root    Kind = "fork from the root"
	Zygote  Kind = "fork from a full zygote"
	Parked  Kind = "parked child" // forked before the event came
	Warm    Kind = "warm"
)

// Kinds are all of them, in this order.
var Kinds = []Kind{Process, Sandbox, Root, Zygote, Parked, Warm}

// Cost is what a package costs: a quantile of its language's profile.
type Cost struct {
	Name     string
	Quantile float64
}

// Costs are those that are measured.
var Costs = []Cost{{"light", 0.25}, {"median", 0.5}, {"heavy", 0.9}}

// Counts are how many packages functions have.
var Counts = []int{0, 1, 5, 20}

// Cell is one function: a language, and packages of one cost.
type Cell struct {
	Language string
	Count    int
	Cost     string // none without packages
}

// Name is that of its packages' number and cost.
func (c Cell) Name() string {
	if c.Count == 0 {
		return "0"
	}
	return fmt.Sprintf("%d %s", c.Count, c.Cost)
}

func (c Cell) function() string {
	if c.Count == 0 {
		return "cs-" + c.Language
	}
	return fmt.Sprintf("cs-%s-%s-%d", c.Language, c.Cost, c.Count)
}

// cells are those of a language. With quick there are few.
func cells(language string, quick bool) (all []Cell) {
	all = append(all, Cell{Language: language})
	for _, cost := range Costs {
		for _, count := range Counts {
			if count > 0 && (!quick || cost.Name == "median" && count < 20) {
				all = append(all, Cell{language, count, cost.Name})
			}
		}
	}
	return all
}

// catalog is the packages of a language: as many of each cost as a function has, none of which requires
// another.
func catalog(p *profile.Profile) *packages.Catalog {
	c := &packages.Catalog{Language: p.Language, Profile: p.Name, Scale: scale}
	for _, cost := range Costs {
		for i := range Counts[len(Counts)-1] {
			one := packages.Package{Name: fmt.Sprintf("pb-%s-%c", cost.Name, 'a'+i), Closure: 1}
			one.Size, one.Files = int64(p.Attributes["size"].At(0.5)), max(1, int(p.Attributes["files"].At(0.5)))
			one.Import, one.Memory = p.Attributes["import"].At(cost.Quantile), int64(p.Attributes["memory"].At(cost.Quantile))
			one.Modules = 1 + int(one.Import/p.ModuleCost.Value)
			value := fmt.Sprintf("%x", sha256.Sum256([]byte(p.Language+one.Name)))[:16]
			one.Versions = []packages.Version{{Number: "1.0.0", Value: value}}
			c.Packages = append(c.Packages, one)
		}
	}
	return c
}

// scale is that of the sizes of files: a start reads few of them.
const scale = 0.1

// function is that of a cell.
func (c Cell) build(all *packages.Catalog) functions.Function {
	f := functions.Function{Name: c.function(), Language: c.Language, Closure: c.Count, Packages: []functions.Pinned{}}
	for i := range c.Count {
		p, _ := all.Find(fmt.Sprintf("pb-%s-%c", c.Cost, 'a'+i)) // catalog makes as many
		f.Packages = append(f.Packages, functions.Pinned{Name: p.Name, Version: p.Latest().Number, Imported: true})
		f.Values += p.Latest().Value
		f.Import += p.Import
		f.Memory += p.Memory
	}
	return f
}

// fresh is the name of the function that has a new instance for each event.
func fresh(f functions.Function) functions.Function {
	f.Name += "-fresh"
	return f
}

// prepare makes packages and functions below a directory, unless they are there, and returns the functions by
// cell.
func prepare(ctx context.Context, dir string, all []Cell) (map[Cell]functions.Function, error) {
	made := map[string]*packages.Catalog{}
	found := map[Cell]functions.Function{}
	for _, c := range all {
		if made[c.Language] == nil {
			p, err := profile.Shipped(c.Language)
			if err != nil {
				return nil, err
			}
			made[c.Language] = catalog(p)
			if _, err := os.Stat(filepath.Join(dir, c.Language, "packages.json")); err != nil {
				if err := os.RemoveAll(filepath.Join(dir, c.Language)); err != nil { // what an interruption has left
					return nil, err
				}
				if err := made[c.Language].Save(ctx, p, dir, func(int) {}); err != nil {
					return nil, err
				}
			}
		}
		f := c.build(made[c.Language])
		found[c] = f
		for _, one := range []functions.Function{f, fresh(f)} {
			if err := write(dir, one, one.Name != f.Name); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// write writes a function again, which may be told to have a fresh instance for each event.
func write(dir string, f functions.Function, isFresh bool) error {
	place := filepath.Join(dir, "functions", f.Name)
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	if err := f.Write(place); err != nil || !isFresh {
		return err
	}
	file, err := os.OpenFile(filepath.Join(place, "pipsqueak.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err = file.WriteString("reuse: false\n"); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
