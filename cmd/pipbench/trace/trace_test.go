package trace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// some are functions of two languages.
func some(count int) (all []functions.Function) {
	for _, language := range []string{"python", "node"} {
		for i := range count {
			all = append(all, functions.Function{Name: fmt.Sprintf("pb-%s-%d", language, i), Language: language})
		}
	}
	return all
}

// counts are how many events each function has.
func (t *Trace) counts() map[string]int {
	n := map[string]int{}
	for _, e := range t.Events {
		n[e.Function]++
	}
	return n
}

// share is that of the most called functions in all events.
func (t *Trace) share(first int) float64 {
	var all []int
	for _, n := range t.counts() {
		all = append(all, n)
	}
	slices.Sort(all)
	slices.Reverse(all)
	sum := 0
	for _, n := range all[:min(first, len(all))] {
		sum += n
	}
	return float64(sum) / float64(max(1, len(t.Events)))
}

// TestAzure draws two hours of 2000 functions, and compares them with what the study says.
func TestAzure(t *testing.T) {
	all := some(1000)
	made, err := Draw("azure", all, Options{Seed: 1, Duration: 2 * time.Hour, Speed: 1, Busy: 0.25})
	coretest.Must(t, err)
	if share := made.share(20); share < 0.85 || share > 0.99 {
		t.Errorf("1 %% of the functions have %.3f of the events, want 0.9", share)
	}
	counts := made.counts()
	if called := float64(len(counts)) / 2000; called < 0.4 || called > 0.6 {
		t.Errorf("%.2f of the functions are called in two hours", called)
	}
	busy := 0
	for _, n := range counts {
		if n > 120 {
			busy++
		}
	}
	if share := float64(busy) / 2000; share < 0.05 || share > 0.15 {
		t.Errorf("%.3f of the functions are called more than once a minute, want 0.1", share)
	}
	memory, took := map[string]int64{}, map[string][]float64{}
	for _, e := range made.Events {
		took[e.Function] = append(took[e.Function], e.CPU+e.Wait)
		memory[e.Function] = e.Memory
		if e.CPU+e.Wait > 60000.001 {
			t.Fatalf("%v takes more than a minute", e)
		}
		if math.Abs(e.CPU-(e.CPU+e.Wait)*0.25) > 0.01 {
			t.Fatalf("a quarter of %v is the processor's", e)
		}
	}
	var averages []float64
	touched := map[string]int64{}
	for name, all := range took {
		sum := 0.0
		for _, ms := range all {
			sum += ms
		}
		averages = append(averages, sum/float64(len(all)))
		touched[name[strings.LastIndex(name, "-"):]] = memory[name]
	}
	slices.Sort(averages)
	if median := averages[len(averages)/2]; median < 500 || median > 1800 {
		t.Errorf("an execution takes %.0f ms at the median, want 950", median)
	}
	for name, bytes := range memory {
		if bytes != touched[name[strings.LastIndex(name, "-"):]] {
			t.Errorf("%s touches other memory than the function of its number in another language", name)
		}
	}
	fast, err := Draw("azure", all, Options{Seed: 1, Duration: 2 * time.Minute, Speed: 60, Busy: 0.25})
	coretest.Must(t, err)
	if ratio := float64(len(fast.Events)) / float64(len(made.Events)); ratio < 0.95 || ratio > 1.05 {
		t.Errorf("60 times as fast there are %.2f times as many events in a sixtieth of the time", ratio)
	}
}

// TestFewFunctions checks that the skew is there among few functions too.
func TestFewFunctions(t *testing.T) {
	for seed := range uint64(20) {
		made, err := Draw("azure", some(20), Options{Seed: seed, Duration: time.Hour, Speed: 24})
		coretest.Must(t, err)
		if share := made.share(4); share < 0.5 {
			t.Errorf("seed %d: 4 of 40 functions have %.2f of the events", seed, share)
		}
	}
}

// TestCalls measures the mean and the variation of the times between calls, and that a trace begins as it
// goes on.
func TestCalls(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, want := range []float64{0, 0.3, 0.7, 1, 2, 5} {
		c := calls{mean: 10, variation: want}
		var times []float64
		c.each(random, 3e6, func(at float64) { times = append(times, at) })
		n := float64(len(times) - 1)
		mean, square := (times[len(times)-1]-times[0])/n, 0.0
		for i := range times[1:] {
			d := times[i+1] - times[i] - mean
			square += d * d
		}
		if variation := math.Sqrt(square/n) / mean; math.Abs(mean-10) > 0.3 || math.Abs(variation-want) > 0.05+want/20 {
			t.Errorf("calls come every %.2f ms with a variation of %.2f, want 10 and %g", mean, variation, want)
		}
		first := 0
		for range 20000 {
			c.each(random, 1, func(float64) { first++ })
		}
		if rate := float64(first) / 20000; math.Abs(rate-0.1) > 0.02 {
			t.Errorf("variation %g: %.3f calls come in the first ms, want 0.1", want, rate)
		}
	}
}

func TestModels(t *testing.T) {
	all := some(50)
	o := Options{Seed: 3, Duration: 100 * time.Second, Speed: 1, Rate: 100, Burst: 20}
	traces := map[string]*Trace{}
	for _, model := range Models {
		var err error
		traces[model], err = Draw(model, all, o)
		coretest.Must(t, err)
		if made := traces[model]; model != "azure" && (len(made.Events) < 8500 || len(made.Events) > 11500) {
			t.Errorf("%s: %d events, want 10000", model, len(made.Events))
		}
		again, err := Draw(model, all, o)
		coretest.Must(t, err)
		other := o
		other.Seed++
		different, err := Draw(model, all, other)
		coretest.Must(t, err)
		if !slices.Equal(traces[model].Events, again.Events) || slices.Equal(again.Events, different.Events) {
			t.Errorf("%s: the events do not follow from the seed", model)
		}
		last := 0.0
		for _, e := range again.Events {
			if e.At < last || e.At >= 100e3 {
				t.Fatalf("%s: an event at %g ms after one at %g", model, e.At, last)
			}
			last = e.At
		}
	}
	if share := traces["reqbench"].share(1); share < 0.36 || share > 0.46 {
		t.Errorf("reqbench: the first of 100 functions has %.2f of the events, want 0.41", share)
	}
	if share := traces["poisson"].share(10); share > 0.15 {
		t.Errorf("poisson: ten of 100 functions have %.2f of the events", share)
	}
	together := func(made *Trace) (n int) {
		for i := range made.Events[1:] {
			if a, b := made.Events[i], made.Events[i+1]; a.Function == b.Function && b.At-a.At < 30 {
				n++
			}
		}
		return n
	}
	if few, many := together(traces["poisson"]), together(traces["burst"]); few > 300 || many < 6000 {
		t.Errorf("%d events of poisson follow one of their function at once, and %d of burst", few, many)
	}
	if _, err := Draw("chance", all, o); err == nil || !strings.Contains(err.Error(), `--model: "chance" is not one of azure, reqbench, poisson, burst, file`) {
		t.Errorf("a strange model: %v", err)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		coretest.Must(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	const head2019 = "HashOwner,HashApp,HashFunction,Trigger,1,2,3\n"
	const head2021 = "app,func,end_timestamp,duration\n"
	minutes := write("2019.csv", head2019+"o,a,seldom,http,0,1,0\no,a,often,http,0,300,9\no,a,clock,timer,4,4,4\n")
	durations := write("durations.csv", "HashOwner,HashApp,HashFunction,Average,Count\no,a,often,500,9\no,a,unknown,1,1\n")
	o := Options{Seed: 1, Duration: time.Minute, Speed: 2, Busy: 0.1}
	made, err := FromFile(minutes, durations, some(2), o)
	coretest.Must(t, err)
	if n := slices.Sorted(func(yield func(int) bool) {
		for _, n := range made.counts() {
			if !yield(n) {
				return
			}
		}
	}); !slices.Equal(n, []int{1, 8, 300}) {
		t.Fatalf("events of functions in two minutes: %v", n)
	}
	var clock []float64
	for _, e := range made.Events {
		switch made.counts()[e.Function] {
		case 300:
			if e.At < 30e3 || e.CPU != 25 || e.Wait != 225 {
				t.Fatalf("twice as fast, in the second minute, with half of 500 ms: %v", e)
			}
		case 8:
			clock = append(clock, e.At)
		}
	}
	if !slices.Equal(clock, []float64{0, 7500, 15000, 22500, 30000, 37500, 45000, 52500}) {
		t.Errorf("the timer is due at %v", clock)
	}
	few, err := FromFile(minutes, "", some(1), o)
	coretest.Must(t, err)
	if n := len(few.Events); n != 301 {
		t.Errorf("%d events of two of three functions, want those of the least and of the most called", n)
	}
	calls, err := FromFile(write("2021.txt", head2021+"a,f,2.5,0.5\na,g,70,1\na,f,500,1\n"), "", some(2), Options{Duration: time.Minute, Speed: 2, Busy: 0.5})
	coretest.Must(t, err)
	if len(calls.Events) != 2 || calls.Events[0].At != 1000 || calls.Events[0].CPU != 125 || calls.Events[1].At != 34500 {
		t.Errorf("the calls are %v", calls.Events)
	}
	for text, want := range map[string]string{
		"":                              "line 1: it is empty",
		"a,b\n":                         "line 1: neither HashOwner",
		head2019:                        "it has no functions",
		head2019 + "o,a,f,http,1,2,x\n": `line 2: 3: "x" is no number of calls`,
		head2019 + "o,a,f,http,1,2,3\n" + "o,a\n": "line 3: wrong number of fields",
		head2021 + "a,f,1,1\na,f,x,1\n":           `line 3: end_timestamp: "x" is no time`,
		head2021 + "a,f,1,-1\n":                   `line 2: duration: "-1" is no time`,
	} {
		if _, err := FromFile(write("bad", text), "", some(2), o); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"HashFunction,Count\n":             "line 1: the columns HashFunction and Average",
		"HashFunction,Average\noften,no\n": `line 2: column Average: "no" is no time`,
	} {
		if _, err := FromFile(minutes, write("bad", text), some(2), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace.jsonl")
	made, err := Draw("poisson", some(3), Options{Duration: time.Second, Rate: 50})
	coretest.Must(t, err)
	made.Events[0].Memory = 5
	coretest.Must(t, made.Write(path))
	if err := made.Write(path); err == nil {
		t.Error("a trace was written over another")
	}
	read, err := Open(path)
	coretest.Must(t, err)
	if read.Head != made.Head || !slices.Equal(read.Events, made.Events) {
		t.Errorf("read again it is %v, want %v", read, made)
	}
	const head = `{"trace":"poisson","seed":0,"duration_ms":1000,"speed":1}` + "\n"
	for text, want := range map[string]string{
		"":                        "line 1: trace: ",
		"{}\n":                    "line 1: trace: ",
		`{"trace":"x","speed":0}`: "line 1: speed: 0 is no factor",
		head + "\n" + `{"at_ms":1,"function":"f"}` + "\n" + `{"at_ms":0,"function":"f"}`: "line 4: at_ms: 0 is before",
		head + `{"at_ms":1,"function":"f"`:                                               "line 2: it is cut off",
		head + `{"at_ms":"1","function":"f"}`:                                            "line 2: json: cannot unmarshal string into Go struct field Event.at_ms",
		head + `{"at_ms":1}`:                                                             "line 2: function: it is missing",
		head + `{"at_ms":1,"function":"f","cpu_ms":-1}`:                                  "line 2: cpu_ms",
		head + `{"at_ms":1,"function":"f","memory":-1}`:                                  "line 2: memory: -1",
		head + `{"at_ms":1,"function":"f","minutes":1}`:                                  `line 2: json: unknown field "minutes"`,
	} {
		coretest.Must(t, os.WriteFile(path, []byte(text), 0o644))
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
