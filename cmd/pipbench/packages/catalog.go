// Package packages makes artificial packages as a profile describes them, and writes them as their ecosystem
// wants them.
package packages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// Catalog is the packages of one language in a directory: its file packages.json. The archives lie beside it.
type Catalog struct {
	Language string    `json:"language"`
	Profile  string    `json:"profile"`
	Seed     uint64    `json:"seed"`
	Scale    float64   `json:"scale"` // of the sizes
	Packages []Package `json:"packages"`
}

// format is how an ecosystem wants a package: it writes the archives of one version to dir.
type format interface {
	write(ctx context.Context, dir string, p Package, v Version) ([]Archive, error)
	serial() bool // a package is written after those that it requires
	close() error
}

// Write makes packages, and writes them and their catalog into the directory of their language below out,
// which must not exist yet. After each package it calls done.
func Write(ctx context.Context, p *profile.Profile, count int, seed uint64, scale float64, out string, done func(written int)) (*Catalog, error) {
	all, err := Draw(p, count, seed)
	if err != nil {
		return nil, err
	}
	c := &Catalog{Language: p.Language, Profile: p.Name, Seed: seed, Scale: scale, Packages: all}
	return c, c.Save(ctx, p, out, done)
}

// Save writes a catalog whose packages are known, with the archives of all their versions, as Write does.
func (c *Catalog) Save(ctx context.Context, p *profile.Profile, out string, done func(written int)) error {
	dir := filepath.Join(out, c.Language)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	f, err := newFormat(c, p)
	if err == nil {
		err = errors.Join(c.write(ctx, f, dir, done), f.close())
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "packages.json"), append(text, '\n'), 0o644)
}

func newFormat(c *Catalog, p *profile.Profile) (format, error) {
	layout := layout{catalog: c, templates: p.Templates}
	switch p.Language {
	case "python":
		return python{layout}, nil
	case "node":
		return node{layout}, nil
	case "ruby":
		return ruby{layout}, nil
	}
	return newNative(layout)
}

// write writes all archives, by as many goroutines as there are processors, or by one if they have to come
// one after the other.
func (c *Catalog) write(ctx context.Context, f format, dir string, done func(int)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var (
		group   sync.WaitGroup
		mu      sync.Mutex
		written int
	)
	n := runtime.GOMAXPROCS(0)
	if f.serial() {
		n = 1
	}
	for range n {
		group.Go(func() {
			for i := range next {
				p := &c.Packages[i]
				for v := range p.Versions {
					archives, err := f.write(ctx, dir, *p, p.Versions[v])
					if err != nil {
						cancel(fmt.Errorf("%s %s: %w", p.Name, p.Versions[v].Number, err))
						break
					}
					p.Versions[v].Archives = archives
				}
				mu.Lock()
				written++
				done(written)
				mu.Unlock()
			}
		})
	}
	for i := range c.Packages {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	group.Wait()
	return context.Cause(ctx)
}

// Open reads the catalogs of all languages below a directory.
func Open(dir string) (all []*Catalog, err error) {
	for _, language := range profile.Languages {
		text, err := os.ReadFile(filepath.Join(dir, language, "packages.json"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		c := &Catalog{}
		if err == nil {
			err = json.Unmarshal(text, c)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, language), err)
		}
		all = append(all, c)
	}
	if all == nil {
		return nil, fmt.Errorf("%s has no packages: `pipbench packages --out` writes some", dir)
	}
	return all, nil
}

// Latest is the newest version of a package.
func (p Package) Latest() Version { return p.Versions[len(p.Versions)-1] }

// Find returns the package of a name.
func (c *Catalog) Find(name string) (Package, bool) {
	i := slices.IndexFunc(c.Packages, func(p Package) bool { return p.Name == name })
	if i < 0 {
		return Package{}, false
	}
	return c.Packages[i], true
}
