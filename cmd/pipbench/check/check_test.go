package check

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

func drawn(t *testing.T, language string, count int, seed uint64) (*packages.Catalog, *profile.Profile) {
	t.Helper()
	p, err := profile.Shipped(language)
	coretest.Must(t, err)
	all, err := packages.Draw(p, count, seed)
	coretest.Must(t, err)
	return &packages.Catalog{Language: language, Packages: all}, p
}

// bad are the findings that are.
func bad(all []Finding) (names []string) {
	for _, f := range all {
		if f.Bad {
			names = append(names, f.What)
		}
	}
	return names
}

// TestFaithful draws packages of all languages, few and many: nothing differs from the profile.
func TestFaithful(t *testing.T) {
	for _, language := range profile.Languages {
		for count, seeds := range map[int]uint64{1: 1, 20: 3, 300: 3, 2000: 1} {
			for seed := range seeds {
				c, p := drawn(t, language, count, seed)
				findings := Catalog(c, p)
				if names := bad(findings); names != nil {
					t.Errorf("%d packages for %s, seed %d: %q differ: %+v", count, language, seed, names, findings)
				}
			}
		}
	}
}

// TestUnfaithful changes one thing about packages: that is what differs.
func TestUnfaithful(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for want, change := range map[string]func(all []packages.Package){
		"size": func(all []packages.Package) {
			for i := range all {
				all[i].Size = all[i].Size * 3 / 2
			}
		},
		"files": func(all []packages.Package) {
			for i := range all {
				all[i].Files += 2
			}
		},
		"import": func(all []packages.Package) {
			for i := range all {
				all[i].Import /= 2
			}
		},
		"install": func(all []packages.Package) {
			for i := range all {
				all[i].Install *= 2
			}
		},
		"import with memory": func(all []packages.Package) { // as the first PipBench drew them: each alone
			random.Shuffle(len(all), func(i, j int) { all[i].Memory, all[j].Memory = all[j].Memory, all[i].Memory })
		},
		"closure": func(all []packages.Package) {
			for i := range all {
				all[i].Closure = min(all[i].Closure, 4)
			}
		},
		"versions": func(all []packages.Package) {
			for i := range all {
				all[i].Versions = all[i].Versions[:1]
			}
		},
		"constraints": func(all []packages.Package) {
			for i := range all {
				for r := range all[i].Requires {
					if all[i].Requires[r].Allows == packages.Compatible {
						all[i].Requires[r].Allows = packages.AtLeast
					}
				}
			}
		},
		"builds": func(all []packages.Package) {
			for i := range all {
				all[i].Builds = all[i].Builds && i%2 == 0
			}
		},
		"popularity": func(all []packages.Package) {
			for i := range all {
				all[i].Popularity = math.Sqrt(all[i].Popularity)
			}
		},
		"popularity with references": func(all []packages.Package) {
			random.Shuffle(len(all), func(i, j int) { all[i].Popularity, all[j].Popularity = all[j].Popularity, all[i].Popularity })
		},
	} {
		c, p := drawn(t, "python", 2000, 1)
		change(c.Packages)
		if names := bad(Catalog(c, p)); !slices.Contains(names, want) || len(names) > 3 {
			t.Errorf("with another %s, %q differ", want, names)
		}
	}
}

// TestKolmogorov compares the tail of the distribution with tables, and with samples that are of one kind.
func TestKolmogorov(t *testing.T) {
	for x, want := range map[float64]float64{1.224: 0.1, 1.358: 0.05, 1.628: 0.01, 0.1: 1} {
		if p := kolmogorov(x); math.Abs(p-want) > 0.001 {
			t.Errorf("P(%g) is %.4f, want %g", x, p, want)
		}
	}
	if r := ranks([]float64{3, 1, 3, 2}); !slices.Equal(r, []float64{2.5, 0, 2.5, 1}) {
		t.Errorf("ranks are %v", r)
	}
	if r := stat.Correlation(ranks([]float64{1, 2, 3}), ranks([]float64{10, 100, 1000}), nil); math.Abs(r-1) > 1e-9 {
		t.Errorf("the rank correlation of what grows together is %g", r)
	}
}

func TestArchives(t *testing.T) {
	dir := t.TempDir()
	p, err := profile.Shipped("python")
	coretest.Must(t, err)
	c, err := packages.Write(t.Context(), p, 5, 1, 0, dir, func(int) {})
	coretest.Must(t, err)
	if f := Archives(c, dir); f.Bad || f.N < 5 {
		t.Errorf("archives as they were written: %+v", f)
	}
	path := filepath.Join(dir, "python", c.Packages[0].Versions[0].Archives[0].File)
	text, err := os.ReadFile(path)
	coretest.Must(t, err)
	for want, change := range map[string]func() error{
		"size: ":   func() error { return os.WriteFile(path, append(slices.Clone(text), 0), 0o644) },
		"sha256: ": func() error { return os.WriteFile(path, append([]byte{^text[0]}, text[1:]...), 0o644) },
	} {
		coretest.Must(t, change())
		if f := Archives(c, dir); !f.Bad || !strings.Contains(f.Is, want) {
			t.Errorf("%+v, want %q", f, want)
		}
	}
	coretest.Must(t, os.Remove(path))
	if f := Archives(c, dir); !f.Bad || !strings.Contains(f.Is, "no such file or directory") {
		t.Errorf("a lost archive: %+v", f)
	}
}

// TestUsual checks that one import that was disturbed counts for nothing, and that an error does.
func TestUsual(t *testing.T) {
	measured := [][2]float64{{10, 100}, {95, 120}, {11, 1}}
	n := 0
	ms, bytes, err := usual(func() (float64, float64, error) { n++; return measured[n-1][0], measured[n-1][1], nil })
	if ms != 11 || bytes != 100 || err != nil || n != 3 {
		t.Errorf("%g ms, %g bytes, %v", ms, bytes, err)
	}
	if _, _, err := usual(func() (float64, float64, error) { return 1, 1, os.ErrInvalid }); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("an error is %v", err)
	}
}

func TestMiddle(t *testing.T) {
	for _, c := range []struct {
		ratios []float64
		bad    bool
	}{{[]float64{1.1, 0.9, 1, 5, 0.2}, false}, {[]float64{1.2, 1.2, 1.2, 1, 1}, true}, {[]float64{0.8, 0.8, 0.8, 1, 1}, true}, {[]float64{2, 2}, false}} {
		if f := middle("x", c.ratios); f.Bad != c.bad {
			t.Errorf("%v are %+v", c.ratios, f)
		}
	}
}
