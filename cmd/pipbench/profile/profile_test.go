package profile

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"gonum.org/v1/gonum/stat"
)

func TestShipped(t *testing.T) {
	for _, language := range Languages {
		p, err := Shipped(language)
		if err != nil {
			t.Fatal(err)
		}
		if p.Language != language {
			t.Errorf("the profile for %s is for %s", language, p.Language)
		}
		sources := map[string]string{"constraints": p.Constraints.Source, "popularity": p.Popularity.Source, "module_cost": p.ModuleCost.Source,
			"builds": p.Builds.Source, "closure": p.Closure.Source, "versions": p.Versions.Source,
			"functions.requires": p.Functions.Requires.Source, "functions.imported": p.Functions.Imported.Source}
		for name, source := range sources {
			if source == "" {
				t.Errorf("%s: %s has no source", p.Name, name)
			}
		}
	}
	if _, err := Shipped("perl"); err == nil || !strings.Contains(err.Error(), "python, node, ruby, native") {
		t.Errorf("a profile for perl: %v", err)
	}
}

// TestImpossible changes one place of a shipped profile: the error names the file, and the line or the field.
func TestImpossible(t *testing.T) {
	text, err := shipped.ReadFile("native-debian-12.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, changed, want string }{
		{"0.05: 44032", "0.05: 13000", "line 6: quantiles: 0.05: 13000 is below the one before"},
		{"0.05: 44032", "1.05: 44032", "line 6: quantiles: 1.05: 44032 is no share"},
		{"0.05: 44032", "0.05: -1", "line 6: quantiles: 0.05: -1 is no share"},
		{"1: 117360640", "0.995: 117360640", "they begin with that of 0, and end with that of 1"},
		{"name: debian-12\n", "name: debian-12\nnam: x\n", "nam"},
		{"language: native", "language: perl", `language: "perl" is not one of`},
		{"[size, files], value: 0.35", "[size, files], value: 1.35", "correlations: [size, files]"},
		{"[size, import], value: 0.5", "[size, import], value: -0.9", "positive definite"},
		{"any: 0.13", "any: 0.63", "constraints: they are shares, and sum to 1.5"},
		{"knee: 500", "knee: 0", "popularity: knee"},
		{`dir: "doc"`, `dir: "../doc"`, "it is not below the package"},
		{"imported: {value: 0.95", "imported: {value: 1.95", "functions.imported: 1.95 is no share"},
		{"\nclosure:", "\nversions_of:", "versions_of"},
	} {
		text := strings.Replace(string(text), c.old, c.changed, 1)
		if !strings.Contains(text, c.changed) {
			t.Errorf("the profile has no %q", c.old)
		}
		if _, err := Parse("x.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "x.yaml: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, want %q", c.changed, c.old, err, c.want)
		}
	}
}

// TestDistribution checks that quantiles and shares are each other's inverse, where they have one.
func TestDistribution(t *testing.T) {
	var d Distribution
	if err := yaml.Unmarshal([]byte("{quantiles: {0: 0, 0.2: 0, 0.5: 10, 0.9: 1000, 1: 1000}, source: x}"), &d); err != nil {
		t.Fatal(err)
	}
	for p, x := range map[float64]float64{0: 0, 0.2: 0, 0.35: 5, 0.5: 10, 0.7: 100, 0.9: 1000, 0.95: 1000, 1: 1000} {
		if got := d.At(p); math.Abs(got-x) > 1e-9 {
			t.Errorf("At(%g) is %g, want %g", p, got, x)
		}
	}
	for x, p := range map[float64]float64{-1: 0, 0: 0.2, 5: 0.35, 10: 0.5, 100: 0.7, 1000: 1, 2000: 1} {
		if got := d.Share(x); math.Abs(got-p) > 1e-9 {
			t.Errorf("Share(%g) is %g, want %g", x, got, p)
		}
	}
	text, err := yaml.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var again Distribution
	if err := yaml.Unmarshal(text, &again); err != nil || again.At(0.7) != d.At(0.7) {
		t.Errorf("written and read again it is %v, %v:\n%s", again, err, text)
	}
	if d := Of([]float64{3, 1, 2}, "x"); d.At(0) != 1 || d.At(0.5) != 2 || d.At(1) != 3 {
		t.Errorf("the distribution of 1, 2, 3 is %v", d)
	}
}

// TestJoint draws many packages: each attribute has the profile's distribution, and pairs its correlations.
func TestJoint(t *testing.T) {
	p, err := Shipped("python")
	if err != nil {
		t.Fatal(err)
	}
	joint, err := p.Joint()
	if err != nil {
		t.Fatal(err)
	}
	const n = 20000
	random := rand.New(rand.NewPCG(1, 2))
	logs := map[string][]float64{}
	below := map[string]int{}
	for range n {
		for name, x := range joint.Draw(random) {
			if x <= p.Attributes[name].At(0.75) {
				below[name]++
			}
			logs[name] = append(logs[name], math.Log(x))
		}
	}
	for name, count := range below {
		if share := float64(count) / n; math.Abs(share-0.75) > 0.01 {
			t.Errorf("%s: %g of the packages are at most at the third quartile", name, share)
		}
	}
	if r := stat.Correlation(logs["size"], logs["files"], nil); math.Abs(r-0.8) > 0.03 {
		t.Errorf("size and files have a correlation of %.3f, want 0.8", r)
	}
	var both [2][]float64
	for i, x := range logs["import"] {
		if y := logs["memory"][i]; !math.IsInf(x+y, 0) {
			both[0], both[1] = append(both[0], x), append(both[1], y)
		}
	}
	// Of those that are not 0, which is the upper part of a normal distribution: there the correlation is
	// smaller.
	if r := stat.Correlation(both[0], both[1], nil); r < 0.75 || r > 0.95 {
		t.Errorf("import and memory have a correlation of %.3f, want about 0.9", r)
	}
}

// TestPopularity compares the shipped exponents with what ReqBench says of 11,477 names: the first has 2.2 %
// of all references, the first 100 have 42 %.
func TestPopularity(t *testing.T) {
	p, err := Shipped("python")
	if err != nil {
		t.Fatal(err)
	}
	z := p.Popularity
	if z.Weight(1) != 1 || math.Abs(z.Weight(500)/z.Weight(501)-1) > 0.01 {
		t.Errorf("weights %g, %g, %g: want 1, and no step at the knee", z.Weight(1), z.Weight(500), z.Weight(501))
	}
	sum, at := 0.0, map[int]float64{}
	for rank := 1; rank <= 11477; rank++ {
		sum += z.Weight(rank)
		at[rank] = sum
	}
	for rank, want := range map[int]float64{10: 0.122, 100: 0.423, 1000: 0.792} {
		if share := at[rank] / sum; share < want*0.75 || share > want*2 {
			t.Errorf("the first %d have %.3f, want about %.3f", rank, share, want)
		}
	}
}
