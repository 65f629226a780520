package packages

import (
	"math"
	"reflect"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

func shipped(t *testing.T, language string) *profile.Profile {
	t.Helper()
	p, err := profile.Shipped(language)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func draw(t *testing.T, p *profile.Profile, count int, seed uint64) []Package {
	t.Helper()
	all, err := Draw(p, count, seed)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// distance is the largest difference between the shares that the profile has, and those of a sample, which
// may have been rounded by less than half: the statistic of Kolmogorov and Smirnov.
func distance(d profile.Distribution, half float64, sample []float64) (largest float64) {
	for _, x := range sample {
		at := 0
		for _, y := range sample {
			if y <= x {
				at++
			}
		}
		largest = max(largest, math.Abs(float64(at)/float64(len(sample))-d.Share(x+half)))
	}
	return largest
}

// samples are the values of packages by what the profile calls them.
func samples(all []Package) map[string][]float64 {
	s := map[string][]float64{}
	for _, p := range all {
		for name, x := range map[string]float64{"size": float64(p.Size), "files": float64(p.Files), "import": p.Import, "memory": float64(p.Memory),
			"closure": float64(p.Closure), "versions": float64(len(p.Versions))} {
			s[name] = append(s[name], x)
		}
	}
	return s
}

// unlike returns which values of packages do not have the profile's distribution, at a level of 1 in 1000.
func unlike(p *profile.Profile, all []Package) map[string]float64 {
	found := map[string]float64{}
	critical := 1.95 / math.Sqrt(float64(len(all)))
	for name, sample := range samples(all) {
		d, half := p.Attributes[name], 0.5
		switch name {
		case "closure":
			d = p.Closure
		case "versions":
			d = p.Versions
		case "import":
			half = 1e-9
		case "size", "memory":
			half = 1 // whole bytes
		}
		if far := distance(d, half, sample); far > critical {
			found[name] = far
		}
	}
	return found
}

// TestDistributions compares packages of every language with their profile, and sees that another profile is
// told apart.
func TestDistributions(t *testing.T) {
	for _, language := range profile.Languages {
		p := shipped(t, language)
		all := draw(t, p, 2500, 7)
		if far := unlike(p, all); len(far) > 0 {
			t.Errorf("%s: not as the profile has it, by the distance of their shares: %v", language, far)
		}
	}
	for _, name := range []string{"size", "files", "import", "memory"} {
		p := shipped(t, "python")
		p.Attributes[name] = shipped(t, "node").Attributes[name]
		if far := unlike(p, draw(t, shipped(t, "python"), 2500, 7)); len(far) != 1 || far[name] == 0 {
			t.Errorf("the profile has another %s, and what is found to be unlike it is %v", name, far)
		}
	}
}

// TestCorrelations compares the pairs that have no zeros with the profile.
func TestCorrelations(t *testing.T) {
	for _, language := range profile.Languages {
		p := shipped(t, language)
		s := samples(draw(t, p, 4000, 3))
		for _, c := range p.Correlations {
			if c.Between[0] == "install" || c.Between[1] == "install" || language == "python" && c.Between[1] != "files" {
				continue
			}
			r := stat.Correlation(scores(s[c.Between[0]]), scores(s[c.Between[1]]), nil)
			if math.Abs(r-c.Value) > 0.05 {
				t.Errorf("%s: %v have a correlation of %.3f, want %.3f", language, c.Between, r, c.Value)
			}
		}
	}
}

// scores are the normal scores of a sample: what its ranks would be in a normal distribution.
func scores(sample []float64) []float64 {
	found := make([]float64, len(sample))
	for i, x := range sample {
		below, same := 0, 0
		for _, y := range sample {
			if y < x {
				below++
			} else if y == x {
				same++
			}
		}
		found[i] = math.Sqrt2 * math.Erfinv(2*(float64(below)+float64(same)/2)/float64(len(sample))-1)
	}
	return found
}

// TestDrawn checks that a seed decides everything, and a count alone does not.
func TestDrawn(t *testing.T) {
	p := shipped(t, "python")
	if !reflect.DeepEqual(draw(t, p, 300, 5), draw(t, p, 300, 5)) {
		t.Error("the same seed has drawn something else")
	}
	if reflect.DeepEqual(draw(t, p, 300, 5), draw(t, p, 300, 6)) {
		t.Error("another seed has drawn the same")
	}
	for _, count := range []int{1, 2, 3, 10, 99} {
		if all := draw(t, shipped(t, "node"), count, 1); len(all) != count {
			t.Errorf("%d packages instead of %d", len(all), count)
		}
	}
}

// closure resolves packages by their latest versions that all requirements allow, and returns how many it
// takes, or that two requirements have no version in common.
func closure(by map[string]*Package, names ...string) (members int, conflict bool) {
	allowed := map[string]span{}
	var visit func(name string)
	visit = func(name string) {
		if _, seen := allowed[name]; seen {
			return
		}
		allowed[name] = span{0, len(by[name].Versions) - 1}
		for _, r := range by[name].Requires {
			visit(r.Package)
			s := span{0, len(by[r.Package].Versions) - 1}
			for i, v := range by[r.Package].Versions {
				if v.Number == r.Version {
					s.first = i
					if r.Allows == Exact {
						s.last = i
					}
				}
			}
			for r.Allows == Compatible && major(by[r.Package].Versions[s.last].Number) > major(r.Version) {
				s.last--
			}
			allowed[r.Package] = allowed[r.Package].meet(s)
			conflict = conflict || allowed[r.Package].empty()
		}
	}
	for _, name := range names {
		visit(name)
	}
	return len(allowed), conflict
}

// TestGraph checks that every package can be installed alone, with the closure that it says; that some cannot
// be installed together; and that popular packages are required by many.
func TestGraph(t *testing.T) {
	all := draw(t, shipped(t, "python"), 2000, 11)
	by := map[string]*Package{}
	for i := range all {
		if by[all[i].Name] != nil {
			t.Fatalf("two packages are %s", all[i].Name)
		}
		by[all[i].Name] = &all[i]
	}
	dependents := map[string]int{}
	direct := 0
	for _, p := range all {
		members, conflict := closure(by, p.Name)
		if conflict || members != p.Closure {
			t.Errorf("%s has a closure of %d instead of %d, conflict: %v", p.Name, members, p.Closure, conflict)
		}
		for _, r := range p.Requires {
			dependents[r.Package]++
			direct++
		}
	}
	// ReqBench: 1.18 direct ones, where those that come with another do not count.
	if mean := float64(direct) / float64(len(all)); mean < 0.8 || mean > 1.6 {
		t.Errorf("a package requires %.2f directly", mean)
	}
	conflicts, pairs := 0, 0
	for i := 0; i < len(all); i += 7 {
		for j := i + 1; j < len(all); j += 7 {
			_, conflict := closure(by, all[i].Name, all[j].Name)
			pairs++
			if conflict {
				conflicts++
			}
		}
	}
	t.Logf("%d of %d pairs cannot be installed together", conflicts, pairs)
	if conflicts == 0 || conflicts > pairs/10 {
		t.Errorf("%d of %d pairs cannot be installed together", conflicts, pairs)
	}
	popular, others := 0, 0
	for _, p := range all {
		if p.Popularity >= 0.002 {
			popular += dependents[p.Name]
		} else {
			others += dependents[p.Name]
		}
	}
	if popular < others/2 {
		t.Errorf("popular packages are required %d times, others %d times", popular, others)
	}
}
