// Package check compares artificial packages with their profile, and what they cost with what they say.
package check

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// Finding is what one comparison finds. Without a difference P is as likely above 0.5 as below.
type Finding struct {
	What string
	N    int     // packages, or whatever else was compared
	Is   string  // of the packages, and
	Want string  // of the profile
	P    float64 // how likely a difference as large is by chance; NaN, if that has nothing to do with chance
	Bad  bool
}

// chance is how likely at least one of all comparisons of a catalog is bad by chance.
const chance = 0.01

// Catalog compares the packages of a catalog with the profile from which they were drawn.
func Catalog(c *packages.Catalog, p *profile.Profile) []Finding {
	var all []Finding
	drawn := map[string][]float64{}
	var closures, versions []float64
	for _, one := range c.Packages {
		size, files, memory := float64(one.Size), float64(one.Files), float64(one.Memory)
		for name, x := range map[string]float64{"size": size, "files": files, "import": one.Import, "memory": memory} {
			drawn[name] = append(drawn[name], x)
		}
		if one.Builds {
			drawn["install"] = append(drawn["install"], one.Install)
		}
		closures, versions = append(closures, float64(one.Closure)), append(versions, float64(len(one.Versions)))
	}
	for _, name := range profile.Attributes {
		round := func(x float64) float64 { return x }
		if name == "files" {
			round = whole
		}
		all = append(all, distribution(name, drawn[name], even(p.Attributes[name], round)))
	}
	all = append(all, closure(closures, p), distribution("versions", versions, even(p.Versions, whole)))
	for _, pair := range p.Correlations {
		if !slices.Contains(pair.Between, "install") { // few packages have both
			all = append(all, correlation(drawn, p, pair))
		}
	}
	all = append(all, constraints(c, p), builds(c, p), popularity(c, p), references(c))
	return judged(all)
}

// judged marks the findings that are not by chance.
func judged(all []Finding) []Finding {
	for i, f := range all {
		all[i].Bad = f.Bad || f.P < chance/float64(len(all))
	}
	return all
}

// whole is how counts are made of what was drawn.
func whole(x float64) float64 { return max(1, math.Round(x)) }

// even are as many values of a distribution as stand for all of it.
func even(d profile.Distribution, round func(float64) float64) []float64 {
	all := make([]float64, 10000)
	for i := range all {
		all[i] = round(d.At((float64(i) + 0.5) / float64(len(all))))
	}
	return all
}

// closure compares closures. Some packages exclude each other, so those that want more than half of all
// packages get as many as there can be, and count as half.
func closure(sample []float64, p *profile.Profile) Finding {
	most := max(1, float64(len(sample)/2))
	sample, want := slices.Clone(sample), even(p.Closure, whole)
	for _, all := range [][]float64{sample, want} {
		for i := range all {
			all[i] = min(all[i], most)
		}
	}
	return distribution("closure", sample, want)
}

// distribution compares a sample with values that stand for all of a distribution (Kolmogorov and Smirnov,
// two samples).
func distribution(what string, sample, want []float64) Finding {
	f := Finding{What: what, N: len(sample), P: math.NaN()}
	if len(sample) == 0 {
		return f
	}
	sample = slices.Sorted(slices.Values(sample))
	f.Is, f.Want = quartiles(sample), quartiles(want)
	n := float64(len(sample)) * float64(len(want)) / float64(len(sample)+len(want))
	f.P = kolmogorov(math.Sqrt(n) * stat.KolmogorovSmirnov(sample, nil, want, nil))
	return f
}

// quartiles are the middle of sorted values, and the half around it.
func quartiles(sorted []float64) string {
	at := func(share float64) float64 { return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))] }
	return fmt.Sprintf("%.3g (%.3g to %.3g)", at(0.5), at(0.25), at(0.75))
}

// kolmogorov is how likely a distance is that large, for many values.
func kolmogorov(x float64) float64 {
	if x < 0.3 {
		return 1
	}
	p := 0.0
	for k := 1.0; k < 100; k++ {
		p += 2 * math.Pow(-1, k-1) * math.Exp(-2*k*k*x*x)
	}
	return min(1, max(0, p))
}

// correlation compares the rank correlation of two attributes with that of values which are drawn for these
// two alone.
func correlation(drawn map[string][]float64, p *profile.Profile, c profile.Correlation) Finding {
	a, b := c.Between[0], c.Between[1]
	n := len(drawn[a])
	f := Finding{What: a + " with " + b, N: n, P: math.NaN()}
	if n < 10 {
		return f
	}
	random := rand.New(rand.NewPCG(1, 1))
	const many = 10000
	var x, y [many]float64
	for i := range many {
		z := random.NormFloat64()
		other := c.Value*z + math.Sqrt(1-c.Value*c.Value)*random.NormFloat64()
		x[i], y[i] = p.Attributes[a].At(distuv.UnitNormal.CDF(z)), p.Attributes[b].At(distuv.UnitNormal.CDF(other))
	}
	is, want := stat.Correlation(ranks(drawn[a]), ranks(drawn[b]), nil), stat.Correlation(ranks(x[:]), ranks(y[:]), nil)
	f.Is, f.Want = fmt.Sprintf("%.2f", is), fmt.Sprintf("%.2f", want)
	f.P = 2 * distuv.UnitNormal.Survival(math.Abs(math.Atanh(is)-math.Atanh(want))/math.Sqrt(1.06/float64(n-3)+1.06/(many-3)))
	return f
}

// ranks are the places of values in their order; equal ones share theirs.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	all := make([]float64, len(values))
	for i := 0; i < len(order); {
		end := i
		for end < len(order) && values[order[end]] == values[order[i]] {
			end++
		}
		for _, place := range order[i:end] {
			all[place] = float64(i+end-1) / 2
		}
		i = end
	}
	return all
}

// constraints compares how requirements restrict versions (chi squared).
func constraints(c *packages.Catalog, p *profile.Profile) Finding {
	f := Finding{What: "constraints", P: math.NaN()}
	counts := map[packages.Kind]int{}
	for _, one := range c.Packages {
		for _, r := range one.Requires {
			counts[r.Allows]++
			f.N++
		}
	}
	if f.N == 0 {
		return f
	}
	square, kinds, shares := 0.0, -1.0, p.Constraints
	for _, one := range []struct {
		kind  packages.Kind
		share float64
	}{
		{packages.Any, shares.Any}, {packages.AtLeast, shares.AtLeast},
		{packages.Compatible, shares.Compatible}, {packages.Exact, shares.Exact},
	} {
		f.Is += fmt.Sprintf("%s %.2f ", one.kind, float64(counts[one.kind])/float64(f.N))
		f.Want += fmt.Sprintf("%s %.2f ", one.kind, one.share)
		if expected := one.share * float64(f.N); expected > 0 {
			kinds++
			square += (float64(counts[one.kind]) - expected) * (float64(counts[one.kind]) - expected) / expected
		} else if counts[one.kind] > 0 {
			f.Bad = true
		}
	}
	f.P = distuv.ChiSquared{K: max(1, kinds)}.Survival(square)
	return f
}

// builds compares how many packages are source distributions.
func builds(c *packages.Catalog, p *profile.Profile) Finding {
	n := 0
	for _, one := range c.Packages {
		if one.Builds {
			n++
		}
	}
	b := distuv.Binomial{N: float64(len(c.Packages)), P: p.Builds.Value}
	f := Finding{What: "builds", N: len(c.Packages), Want: fmt.Sprintf("%.3f", p.Builds.Value)}
	f.Is = fmt.Sprintf("%.3f", float64(n)/float64(len(c.Packages)))
	switch {
	case b.P <= 0 || b.P >= 1:
		f.P, f.Bad = math.NaN(), float64(n) != b.P*b.N
	default:
		f.P = min(1, 2*min(b.CDF(float64(n)), 1-b.CDF(float64(n)-1)))
	}
	return f
}

// popularity compares what share the most popular packages have: that is not drawn.
func popularity(c *packages.Catalog, p *profile.Profile) Finding {
	var is []float64
	sum := 0.0
	for i, one := range c.Packages {
		is = append(is, one.Popularity)
		sum += p.Popularity.Weight(i + 1)
	}
	slices.Sort(is)
	slices.Reverse(is)
	f := Finding{What: "popularity", N: len(is), P: math.NaN()}
	f.Is, f.Want = fmt.Sprintf("the first %.3f", is[0]), fmt.Sprintf("the first %.3f", 1/sum)
	for i, share := range is {
		want := p.Popularity.Weight(i+1) / sum
		f.Bad = f.Bad || math.Abs(share-want) > 1e-6*want
	}
	return f
}

// references finds out whether popular packages are in more closures, of those that require nothing: others
// also have to fit into the closures that are wanted.
func references(c *packages.Catalog) Finding {
	places := map[string]int{}
	closures := make([]map[int]bool, len(c.Packages)) // packages come after those that they require
	times := make([]float64, len(c.Packages))
	for i, one := range c.Packages {
		places[one.Name] = i
		closures[i] = map[int]bool{}
		for _, r := range one.Requires {
			d := places[r.Package]
			closures[i][d] = true
			for member := range closures[d] {
				closures[i][member] = true
			}
		}
		for member := range closures[i] {
			times[member]++
		}
	}
	var popular, required []float64
	for i, one := range c.Packages {
		if one.Closure == 1 {
			popular, required = append(popular, one.Popularity), append(required, times[i])
		}
	}
	f := Finding{What: "popularity with references", N: len(popular), P: math.NaN(), Want: "more than 0"}
	if len(popular) < 30 {
		return f
	}
	r := stat.Correlation(ranks(popular), ranks(required), nil)
	f.Is = fmt.Sprintf("%.2f", r)
	f.Bad = math.Atanh(r)*math.Sqrt(float64(len(popular)-3)/1.06) < 1.64
	return f
}

// Archives reads all archives of a catalog below dir, and compares them with their digests.
func Archives(c *packages.Catalog, dir string) Finding {
	f := Finding{What: "archives", P: math.NaN(), Want: "as in packages.json", Is: "as in packages.json"}
	for _, one := range c.Packages {
		for _, v := range one.Versions {
			for _, a := range v.Archives {
				f.N++
				if err := same(filepath.Join(dir, c.Language, a.File), a); err != nil && !f.Bad {
					f.Bad, f.Is = true, err.Error()
				}
			}
		}
	}
	return f
}

func same(path string, a packages.Archive) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	digest := sha256.New()
	size, err := io.Copy(digest, file)
	switch {
	case err != nil:
		return err
	case size != a.Size:
		return fmt.Errorf("%s: size: %d bytes instead of %d", a.File, size, a.Size)
	case fmt.Sprintf("%x", digest.Sum(nil)) != a.SHA256:
		return fmt.Errorf("%s: sha256: it has another content", a.File)
	}
	return nil
}
