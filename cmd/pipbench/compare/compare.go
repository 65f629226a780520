// Package compare computes what runs have measured, with intervals of confidence, and how they differ.
package compare

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
)

// All stands for all languages, or all starts.
const All = "all"

// Row is what requests of one run, language and start have in common. Times are milliseconds beyond what the
// events asked for, of right answers.
type Row struct {
	Run      string     `json:"run"`
	Language string     `json:"language"`
	Start    string     `json:"start"`
	Requests int        `json:"requests"`
	Failed   int        `json:"failed"`
	Wrong    int        `json:"wrong"`
	Mean     Number     `json:"mean_ms"`
	Latency  []Estimate `json:"latency_ms"` // at Shares
	Most     Number     `json:"max_ms"`
	Ratio    []Estimate `json:"ratio,omitempty"` // of Latency to that of the first run, in the row of the same language and start
}

// Shares are those of the requests that are at most as slow as a latency of a row.
var Shares = []float64{0.5, 0.9, 0.99, 0.999}

// Number is one that may not be known: then it is NaN, and null in JSON.
type Number float64

// MarshalJSON writes null for what is not known.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// String is the number with three digits, or a dash.
func (n Number) String() string {
	switch x := float64(n); {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return "–"
	case math.Abs(x) >= 100:
		return fmt.Sprintf("%.0f", x)
	default:
		return fmt.Sprintf("%.3g", x)
	}
}

// Estimate is a number with the bounds of its interval of confidence, 95 %.
type Estimate struct {
	Value Number `json:"value"`
	Low   Number `json:"low"`
	High  Number `json:"high"`
}

// IsKnown tells whether there were enough requests.
func (e Estimate) IsKnown() bool { return !math.IsNaN(float64(e.Value)) }

// String is the estimate with its interval.
func (e Estimate) String() string {
	if !e.IsKnown() {
		return e.Value.String()
	}
	return fmt.Sprintf("%v [%v, %v]", e.Value, e.Low, e.High)
}

// Comparison is all rows, those of one run after the other, and what makes runs hard to compare.
type Comparison struct {
	Rows  []Row    `json:"rows"`
	Costs []Cost   `json:"costs,omitempty"`
	Notes []string `json:"notes,omitempty"`
}

// Names are what runs are called: the names of their files, if those differ.
func Names(runs []*results.Run) (names []string) {
	for _, r := range runs {
		names = append(names, strings.TrimSuffix(filepath.Base(r.Path), ".jsonl"))
	}
	if len(slices.Compact(slices.Sorted(slices.Values(names)))) < len(names) {
		for i, r := range runs {
			names[i] = r.Path
		}
	}
	return names
}

// key is what a row is about.
type key struct{ language, start string }

// group is the requests of a row: right answers by their times, in order.
type group struct {
	times         []float64
	failed, wrong int
}

// Runs compares runs with the first of them.
func Runs(runs []*results.Run) Comparison {
	var c Comparison
	var first map[key]*group
	for i, name := range Names(runs) {
		groups := grouped(runs[i])
		if i == 0 {
			first = groups
		}
		for _, k := range slices.SortedFunc(maps.Keys(groups), compareKeys) {
			row := groups[k].row(name, k)
			if base := first[k]; i > 0 && base != nil {
				for _, share := range Shares {
					row.Ratio = append(row.Ratio, ratio(groups[k].times, base.times, share))
				}
			}
			c.Rows = append(c.Rows, row)
		}
		c.Costs = append(c.Costs, Costs(name, runs[i])...)
		c.Notes = append(c.Notes, notes(name, runs[i], runs[0])...)
	}
	return c
}

// notes are what makes a run hard to compare with the first.
func notes(name string, r, first *results.Run) (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, name+": "+fmt.Sprintf(format, args...)) }
	if r.Head.Digest != first.Head.Digest {
		note("it has another trace, or other functions, than the first run")
	}
	if r.Head.Mode != first.Head.Mode {
		note("its loop is %s, and that of the first run %s", r.Head.Mode, first.Head.Mode)
	}
	if r.Head.System != first.Head.System {
		note("it was driven from another machine than the first run: %s", r.Head.System)
	}
	if !r.Complete {
		note("it was interrupted: %d of %d events have results", len(r.Requests), r.Head.Events)
	}
	if r.Continued > 0 {
		note("it was interrupted and continued %d times", r.Continued)
	}
	late := 0
	for _, q := range r.Requests {
		if r.Head.Mode == "open" && q.Sent-q.Due > 10 {
			late++
		}
	}
	if late > len(r.Requests)/100 {
		note("%d of %d events were sent more than 10 ms late: the client's machine was busy, or too many requests were under way",
			late, len(r.Requests))
	}
	return notes
}

// compareKeys has all languages before each, and all starts before each.
func compareKeys(a, b key) int {
	last := func(s string) string { return map[bool]string{true: "", false: s}[s == All] }
	return cmp.Or(cmp.Compare(last(a.language), last(b.language)), cmp.Compare(last(a.start), last(b.start)))
}

// grouped are the requests of a run by language, by start and by both.
func grouped(r *results.Run) map[key]*group {
	groups := map[key]*group{{All, All}: {}}
	for _, q := range r.Requests {
		for _, k := range []key{{All, All}, {q.Language, All}, {All, q.Start}, {q.Language, q.Start}} {
			if k.start == "" {
				continue
			}
			if groups[k] == nil {
				groups[k] = &group{}
			}
			groups[k].add(q)
		}
	}
	starts := map[string]bool{}
	for k, g := range groups {
		slices.Sort(g.times)
		starts[k.start] = true
	}
	if len(starts) == 2 { // all are of one kind
		maps.DeleteFunc(groups, func(k key, _ *group) bool { return k.start != All })
	}
	return groups
}

func (g *group) add(q results.Request) {
	switch {
	case q.IsWrong:
		g.wrong++
	case q.Error != "":
		g.failed++
	default:
		g.times = append(g.times, Beyond(q))
	}
}

// Beyond is what a request has taken beyond what its event asked for.
func Beyond(q results.Request) float64 { return max(0.001, q.Latency-q.Spends) }

func (g *group) row(run string, k key) Row {
	row := Row{Run: run, Language: k.language, Start: k.start, Requests: len(g.times) + g.failed + g.wrong, Failed: g.failed, Wrong: g.wrong,
		Mean: Number(math.NaN()), Most: Number(math.NaN())}
	if n := len(g.times); n > 0 {
		sum := 0.0
		for _, x := range g.times {
			sum += x
		}
		row.Mean, row.Most = Number(sum/float64(n)), Number(g.times[n-1])
	}
	for _, share := range Shares {
		row.Latency = append(row.Latency, quantile(g.times, share))
	}
	return row
}

// Of is the row of some times, and of how they compare with those of a base, which may be none.
func Of(times, base []float64) Row {
	sorted, other := slices.Sorted(slices.Values(times)), slices.Sorted(slices.Values(base))
	row := (&group{times: sorted}).row("", key{})
	if len(other) > 0 {
		for _, share := range Shares {
			row.Ratio = append(row.Ratio, ratio(sorted, other, share))
		}
	}
	return row
}

// quantile is that of a share of sorted times. Its bounds are times too: those between which the quantile of
// all requests that might have been lies with 95 %, if requests do not depend on each other. A bound that is
// beyond the times is not known.
func quantile(sorted []float64, share float64) Estimate {
	nan := Number(math.NaN())
	n := float64(len(sorted))
	if n*(1-share) < 1 || n == 0 { // there is none slower
		return Estimate{nan, nan, nan}
	}
	half := 1.96 * math.Sqrt(n*share*(1-share))
	at := func(rank float64) Number {
		if i := int(rank); rank >= 0 && i < len(sorted) {
			return Number(sorted[i])
		}
		return nan
	}
	return Estimate{at(math.Ceil(n*share) - 1), at(math.Floor(n*share - half)), at(math.Ceil(n*share + half))}
}

// ratio is that of two quantiles. Its bounds are those of a bootstrap: the rank of a quantile in a sample
// that is drawn again has a beta distribution, so that no sample has to be drawn.
func ratio(sorted, base []float64, share float64) Estimate {
	a, b := quantile(sorted, share).Value, quantile(base, share).Value
	nan := Number(math.NaN())
	if math.IsNaN(float64(a + b)) {
		return Estimate{nan, nan, nan}
	}
	random := rand.New(rand.NewPCG(1, 1))
	draw := func(sorted []float64) float64 {
		n := float64(len(sorted))
		rank := distuv.Beta{Alpha: n*share + 1, Beta: n*(1-share) + 1, Src: random}.Rand()
		return sorted[min(len(sorted)-1, int(rank*n))]
	}
	drawn := make([]float64, 2000)
	for i := range drawn {
		drawn[i] = draw(sorted) / draw(base)
	}
	slices.Sort(drawn)
	return Estimate{a / b, Number(drawn[len(drawn)/40]), Number(drawn[len(drawn)-1-len(drawn)/40])}
}
