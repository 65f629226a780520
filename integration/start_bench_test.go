package integration

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What does a start cost, and has a change made it dearer?

// BenchmarkStart compares the processor time of a fork start, and its latency with many clients at once, with
// those of the reference build. Both builds take rounds by turns, because a machine drifts more within
// minutes than a change costs.
func BenchmarkStart(b *testing.B) {
	for _, kind := range []string{"bare", "heavy"} {
		b.Run(kind, func(b *testing.B) {
			eachSubject(b, kind, func(b *testing.B, l subject, f files) { compareStarts(b, l.name+"-"+kind, f) })
		})
	}
}

// contender is a build that takes part in a comparison.
type contender struct {
	*worker
	spent  func() time.Duration
	costs  samples         // of a start, by round
	at     map[int]samples // medians by number of clients and round
	others int
}

func compareStarts(b *testing.B, name string, f files) {
	coretest.Requires(b, reference)
	const rounds, starts = 8, 30
	before, now := contend(b, os.Getenv("PIPSQUEAK_REFERENCE"), name, f), contend(b, programs(b), name, f)
	time.Sleep(aged)
	for round := range rounds {
		turns := []*contender{before, now}
		if round%2 == 1 {
			slices.Reverse(turns)
		}
		for _, c := range turns {
			forkStart(b, c.worker, name, `{}`) // after what the clients of the last round have left
			begin := c.spent()
			take(starts, 0, func() { c.start(b, name) })
			c.costs = append(c.costs, (c.spent()-begin)/starts)
			for _, clients := range crowds {
				c.at[clients] = append(c.at[clients], load(b, c.url+"/run/"+name, clients, "1s").p50)
			}
		}
	}
	row := func(what string, was, is samples, floor float64) {
		ratio := ratios(was, is)
		median := ratio[len(ratio)/2]
		report(b, what+", "+name, fmt.Sprintf("n %d, %.2f ms, ratio %.2f (%.2f to %.2f), %d not by fork", rounds, ms(is.at(0.5)), median, ratio[1], ratio[len(ratio)-2], now.others),
			fmt.Sprintf("reference build: %.2f ms", ms(was.at(0.5))), fmt.Sprintf("≤ %g of the reference", floor), median <= floor && now.others == 0)
	}
	row("processor a start", before.costs, now.costs, 1)
	for _, clients := range crowds {
		row(fmt.Sprintf("fork start p50, %d clients", clients), before.at[clients], now.at[clients], 1.1)
	}
}

// crowds are numbers of clients at once.
var crowds = []int{8, 32}

func contend(b *testing.B, bin, name string, f files) *contender {
	b.Helper()
	w, spent := metered(b, bin)
	w.deploy(b, name, f)
	forkStart(b, w, name, `{}`)
	return &contender{worker: w, spent: spent, at: map[int]samples{}}
}

// start runs an event, and counts the starts that were no forks.
func (c *contender) start(b *testing.B, name string) {
	b.Helper()
	if a := c.run(b, name, `{}`); a.status != http.StatusOK || a.header.Get("Pipsqueak-Start") != "fork" {
		b.Logf("%v, start %s", a, a.header.Get("Pipsqueak-Start"))
		c.others++
	}
}

// ratios are those of each round, sorted.
func ratios(before, now samples) (all []float64) {
	for i := range before {
		all = append(all, float64(now[i])/float64(before[i]))
	}
	slices.Sort(all)
	return all
}
