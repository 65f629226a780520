package trace

import (
	_ "embed"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

// Models are the names of those that are drawn.
var Models = []string{"azure", "reqbench", "poisson", "burst"}

// Options are how a trace is made.
type Options struct {
	Seed     uint64
	Duration time.Duration
	Speed    float64 // of azure and of files: how many times as fast everything happens
	Rate     float64 // of the other models: events a second, of all functions
	Burst    float64 // of burst: events in one, in the middle
	Busy     float64 // of azure and of files: the share of an execution that takes the processor's time, instead of waiting
}

// Draw makes a trace for functions: the same for the same options.
func Draw(model string, all []functions.Function, o Options) (*Trace, error) {
	draw, known := map[string]func(*Trace, []functions.Function, Options) error{
		"azure": azure, "reqbench": reqbench, "poisson": poisson, "burst": burst}[model]
	if !known {
		return nil, fmt.Errorf("--model: %q is not one of %s, file", model, strings.Join(Models, ", "))
	}
	t := &Trace{Head: Head{model, o.Seed, float64(o.Duration) / 1e6, o.Speed}}
	if model != "azure" {
		t.Head.Speed = 1
	}
	if err := draw(t, all, o); err != nil {
		return nil, err
	}
	t.sort()
	return t, nil
}

// numbers are random ones for one purpose.
func numbers(seed uint64, purpose ...any) *rand.Rand {
	return rand.New(packages.Numbers(seed, purpose...))
}

//go:embed azure-2019.yaml
var azureText []byte

// cloud is what azure-2019.yaml has.
type cloud struct {
	Rate, Variation, Execution, Memory profile.Distribution
	Spread                             profile.Figure
}

// azure has functions called as those of Azure in 2019. Each language has a function for each part of the
// distribution of rates, so that few functions show its skew too; functions of one number have the same rate
// and costs in every language.
func azure(t *Trace, all []functions.Function, o Options) error {
	var c cloud
	if err := yaml.Unmarshal(azureText, &c); err != nil {
		return err
	}
	for _, language := range profile.Languages {
		var names []string
		for _, f := range all {
			if f.Language == language {
				names = append(names, f.Name)
			}
		}
		same := numbers(o.Seed, "functions")
		ranks := same.Perm(len(names))
		for i, name := range names {
			rate := c.Rate.At((float64(ranks[i]) + same.Float64()) / float64(len(names)))
			one := calls{mean: 86400e3 / rate / o.Speed, variation: c.Variation.At(same.Float64())}
			average := c.Execution.At(same.Float64()) / o.Speed
			memory := int64(c.Memory.At(same.Float64()))
			random := numbers(o.Seed, "events", name)
			one.each(random, t.Head.Duration, func(at float64) {
				took := average * math.Exp(c.Spread.Value*random.NormFloat64()-c.Spread.Value*c.Spread.Value/2)
				took = min(took, c.Execution.At(1)/o.Speed)
				t.Events = append(t.Events, Event{at, name, round(took * o.Busy), round(took * (1 - o.Busy)), memory})
			})
		}
	}
	return nil
}

// round leaves a microsecond of milliseconds.
func round(ms float64) float64 { return math.Round(ms*1000) / 1000 }

// reqbench has functions called as ReqBench does: how often follows Zipf's law with the exponent 1.5, each at
// random.
func reqbench(t *Trace, all []functions.Function, o Options) error {
	weights := make([]float64, len(all))
	for i, rank := range numbers(o.Seed, "functions").Perm(len(all)) {
		weights[i] = math.Pow(float64(rank+1), -1.5)
	}
	return t.random(all, weights, o)
}

// poisson has all functions called equally often, each at random.
func poisson(t *Trace, all []functions.Function, o Options) error {
	return t.random(all, slices.Repeat([]float64{1}, len(all)), o)
}

func (t *Trace) random(all []functions.Function, weights []float64, o Options) error {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	for i, f := range all {
		one := calls{mean: 1000 / (o.Rate * weights[i] / sum), variation: 1}
		one.each(numbers(o.Seed, "events", f.Name), t.Head.Duration, func(at float64) {
			t.Events = append(t.Events, Event{At: at, Function: f.Name})
		})
	}
	return nil
}

// burst has one function after the other called many times at once: within some 5 ms for each event.
func burst(t *Trace, all []functions.Function, o Options) error {
	random := numbers(o.Seed, "bursts")
	one := calls{mean: 1000 * o.Burst / o.Rate, variation: 1}
	one.each(random, t.Head.Duration, func(at float64) {
		f := all[random.IntN(len(all))]
		for n := int(math.Max(1, math.Round(random.ExpFloat64()*o.Burst))); n > 0 && at < t.Head.Duration; n-- {
			t.Events = append(t.Events, Event{At: round(at), Function: f.Name})
			at += 5 * random.ExpFloat64()
		}
	})
	return nil
}

// calls are the times at which a function is called: those between two have a mean, in milliseconds, and a
// coefficient of variation. With 0 it is a timer, with 1 they are at random; less is between the two, and
// more comes in bunches.
type calls struct{ mean, variation float64 }

// each calls do with each time up to end. The calls have begun long before.
func (c calls) each(random *rand.Rand, end float64, do func(at float64)) {
	for at := c.next(random, true); at < end; at += c.next(random, false) {
		do(round(at))
	}
}

// next draws the time to the next call: from the last one, or from a moment that knows nothing of calls.
func (c calls) next(random *rand.Rand, first bool) float64 {
	switch {
	case c.variation < 0.05:
		if first {
			return c.mean * random.Float64()
		}
		return c.mean
	case c.variation < 1:
		// A gamma distribution; a moment falls into long times more often, and anywhere in one.
		shape := 1 / (c.variation * c.variation)
		if first {
			return distuv.Gamma{Alpha: shape + 1, Beta: shape / c.mean, Src: random}.Rand() * random.Float64()
		}
		return distuv.Gamma{Alpha: shape, Beta: shape / c.mean, Src: random}.Rand()
	}
	// A mixture of two exponential distributions, which have equal parts of the time.
	share := (1 + math.Sqrt((c.variation*c.variation-1)/(c.variation*c.variation+1))) / 2
	often := random.Float64() < share
	if first {
		often = random.Float64() < 0.5
	}
	if !often {
		share = 1 - share
	}
	return c.mean / (2 * share) * random.ExpFloat64()
}
