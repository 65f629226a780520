package profile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Joint draws all attributes of a package together: a Gaussian copula with the profile's correlations, and
// its distributions.
type Joint struct {
	profile *Profile
	mix     *mat.TriDense
}

// Joint returns what draws packages of the profile.
func (p *Profile) Joint() (*Joint, error) {
	mix, err := p.mix()
	return &Joint{p, mix}, err
}

// mix is the lower triangle that makes correlated normal numbers of independent ones.
func (p *Profile) mix() (*mat.TriDense, error) {
	n := len(Attributes)
	matrix := mat.NewSymDense(n, nil)
	for i := range n {
		matrix.SetSym(i, i, 1)
	}
	for _, c := range p.Correlations {
		between := strings.Join(c.Between, ", ")
		if len(c.Between) != 2 {
			return nil, fmt.Errorf("correlations: [%s]: one is between two attributes", between)
		}
		i, j := slices.Index(Attributes, c.Between[0]), slices.Index(Attributes, c.Between[1])
		if i < 0 || j < 0 || i == j || c.Value < -1 || c.Value > 1 || c.Source == "" {
			return nil, fmt.Errorf("correlations: [%s]: one is between two of %s, from -1 to 1, and has a source", between, strings.Join(Attributes, ", "))
		}
		matrix.SetSym(i, j, c.Value)
	}
	var cholesky mat.Cholesky
	if !cholesky.Factorize(matrix) {
		return nil, fmt.Errorf("correlations: no attributes have all of them at once: their matrix is not positive definite")
	}
	mix := &mat.TriDense{}
	cholesky.LTo(mix)
	return mix, nil
}

// Draw returns the attributes of one package, by their names.
func (j *Joint) Draw(random *rand.Rand) map[string]float64 {
	independent := mat.NewVecDense(len(Attributes), nil)
	for i := range Attributes {
		independent.SetVec(i, random.NormFloat64())
	}
	var normal mat.VecDense
	normal.MulVec(j.mix, independent)
	drawn := map[string]float64{}
	for i, name := range Attributes {
		drawn[name] = j.profile.Attributes[name].At(distuv.UnitNormal.CDF(normal.AtVec(i)))
	}
	return drawn
}
