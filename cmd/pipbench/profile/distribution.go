package profile

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// Distribution is one by its quantiles. Between two of them it is uniform in the logarithm, or in the value
// where one of them is 0.
type Distribution struct {
	knots  []knot // by p; the first is that of 0, the last that of 1
	Source string
}

// knot is a quantile: a share p of all is at most x.
type knot struct{ p, x float64 }

// Of returns the distribution of a sample, by 101 quantiles at most. It wants at least one value.
func Of(sample []float64, source string) Distribution {
	sorted := slices.Sorted(slices.Values(sample))
	d := Distribution{Source: source}
	n := min(100, max(1, len(sorted)-1))
	for i := range n + 1 {
		p := float64(i) / float64(n)
		d.knots = append(d.knots, knot{p, sorted[int(math.Round(p*float64(len(sorted)-1)))]})
	}
	return d
}

// At is the quantile of a share from 0 to 1.
func (d Distribution) At(p float64) float64 {
	i, _ := slices.BinarySearchFunc(d.knots, p, func(k knot, p float64) int {
		if k.p < p {
			return -1
		}
		return 1
	})
	if i == 0 {
		return d.knots[0].x
	}
	if i == len(d.knots) {
		return d.knots[i-1].x
	}
	a, b := d.knots[i-1], d.knots[i]
	t := (p - a.p) / (b.p - a.p)
	if a.x > 0 {
		return a.x * math.Pow(b.x/a.x, t)
	}
	return a.x + t*(b.x-a.x)
}

// Share is how much of the distribution is at most x.
func (d Distribution) Share(x float64) float64 {
	i, _ := slices.BinarySearchFunc(d.knots, x, func(k knot, x float64) int {
		if k.x <= x {
			return -1
		}
		return 1
	})
	if i == 0 {
		return 0
	}
	if i == len(d.knots) {
		return 1
	}
	a, b := d.knots[i-1], d.knots[i]
	if a.x > 0 {
		return a.p + (b.p-a.p)*math.Log(x/a.x)/math.Log(b.x/a.x)
	}
	return a.p + (b.p-a.p)*(x-a.x)/(b.x-a.x)
}

// UnmarshalYAML reads {quantiles: {0: …, 0.5: …, 1: …}, source: …}.
func (d *Distribution) UnmarshalYAML(node *yaml.Node) error {
	var form struct {
		Quantiles yaml.Node
		Source    string
	}
	if err := node.Decode(&form); err != nil {
		return err
	}
	if form.Source == "" {
		return fmt.Errorf("line %d: source: where are the quantiles from", node.Line)
	}
	*d = Distribution{Source: form.Source}
	for i := 0; i+1 < len(form.Quantiles.Content); i += 2 {
		key, value := form.Quantiles.Content[i], form.Quantiles.Content[i+1]
		p, err := strconv.ParseFloat(key.Value, 64)
		x, err2 := strconv.ParseFloat(value.Value, 64)
		if errors.Join(err, err2) != nil || p < 0 || p > 1 || x < 0 || math.IsInf(x, 0) || math.IsNaN(p+x) {
			return fmt.Errorf("line %d: quantiles: %s: %s is no share with its value", value.Line, key.Value, value.Value)
		}
		if n := len(d.knots); n > 0 && (p <= d.knots[n-1].p || x < d.knots[n-1].x) {
			return fmt.Errorf("line %d: quantiles: %s: %s is below the one before", value.Line, key.Value, value.Value)
		}
		d.knots = append(d.knots, knot{p, x})
	}
	if n := len(d.knots); n < 2 || d.knots[0].p != 0 || d.knots[n-1].p != 1 {
		return fmt.Errorf("line %d: quantiles: they begin with that of 0, and end with that of 1", node.Line)
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (d Distribution) MarshalYAML() (any, error) {
	quantiles := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	for _, k := range d.knots {
		for _, x := range []float64{k.p, k.x} {
			quantiles.Content = append(quantiles.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatFloat(x, 'g', 6, 64)})
		}
	}
	return struct {
		Quantiles *yaml.Node
		Source    string
	}{quantiles, d.Source}, nil
}
