package run

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
)

// progress counts what has come of a run, and shows it.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	isLive   bool
	began    time.Time
	before   int // events with results from before
	total    int
	answered int // right ones
	failed   int
	wrongs   int
	first    string      // the first wrong answer
	counts   map[int]int // of right answers, by the logarithm of their latency in steps of 2 %
	said     time.Time
}

func newProgress(out io.Writer, isLive bool, before, total int) *progress {
	return &progress{out: out, isLive: isLive, began: time.Now(), before: before, total: total, counts: map[int]int{}, said: time.Now()}
}

// step is how exact the latencies of a progress are.
var step = math.Log(1.02)

// add counts a request. It is true if so many have failed that there is no hope.
func (p *progress) add(q results.Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case q.IsWrong:
		p.wrongs++
		if p.first == "" {
			p.first = fmt.Sprintf("event %d: %s", q.Event, q.Error)
		}
	case q.Error != "":
		p.failed++
	default:
		p.answered++
		p.counts[int(math.Log(max(0.001, q.Latency))/step)]++
	}
	return p.before+p.answered == 0 && p.failed+p.wrongs == hopeless
}

// percentile is that of the right answers, to 2 %.
func (p *progress) percentile(share float64) float64 {
	if p.answered == 0 {
		return math.NaN()
	}
	lowest, highest := math.MaxInt, math.MinInt
	for i := range p.counts {
		lowest, highest = min(lowest, i), max(highest, i)
	}
	sum := 0
	for i := lowest; i < highest; i++ {
		if sum += p.counts[i]; float64(sum) >= share*float64(p.answered) {
			return math.Exp(float64(i) * step)
		}
	}
	return math.Exp(float64(highest) * step)
}

// line is what is shown of a run.
func (p *progress) line() string {
	did := p.before + p.answered + p.failed + p.wrongs
	full := 20
	if p.total > 0 {
		full = 20 * did / p.total
	}
	text := fmt.Sprintf("[%s%s] %d/%d", strings.Repeat("#", full), strings.Repeat(".", 20-full), did, p.total)
	if p.answered > 0 {
		text += fmt.Sprintf("  %.1f/s  p50 %.3g ms  p90 %.3g ms  p99 %.3g ms", float64(did-p.before)/time.Since(p.began).Seconds(),
			p.percentile(0.5), p.percentile(0.9), p.percentile(0.99))
	}
	if p.failed > 0 {
		text += fmt.Sprintf("  %d failed", p.failed)
	}
	if p.wrongs > 0 {
		text += fmt.Sprintf("  %d wrong", p.wrongs)
	}
	return text
}

// show shows the run as it is now: in one line of a terminal, elsewhere in a line every ten seconds.
func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.isLive:
		fmt.Fprintf(p.out, "\r\x1b[K%s", p.line())
	case time.Since(p.said) >= 10*time.Second:
		p.said = time.Now()
		fmt.Fprintln(p.out, p.line())
	}
}

// end shows the run for the last time.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isLive {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintln(p.out, p.line())
}

// wrong is an error if answers were wrong.
func (p *progress) wrong() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wrongs == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d answers are wrong, the first to %s", p.wrongs, p.wrongs+p.answered, p.first)
}
