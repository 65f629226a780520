package trace

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
)

// recorded is a function of a file.
type recorded struct {
	calls []call
	timer bool
	mean  float64 // milliseconds of an execution, 0 if the file does not say it
}

// call is a number of calls in a minute, or one call with its duration.
type call struct {
	at    float64 // milliseconds
	count int     // in the minute; 0 for one call at that very time
	took  float64
}

// total is how many calls a function has.
func (r recorded) total() (n int) {
	for _, c := range r.calls {
		n += max(1, c.count)
	}
	return n
}

// FromFile makes a trace for functions of one that Azure has published: invocations_per_function of 2019,
// with durations perhaps, a file function_durations_percentiles of the same day, or the one of 2021. Of more
// functions than there are here it takes some, from the least to the most called; each stands for one of
// those here.
func FromFile(path, durations string, all []functions.Function, o Options) (*Trace, error) {
	found, err := readFile(path, o)
	if err == nil && durations != "" {
		err = readDurations(durations, found)
	}
	if err != nil {
		return nil, err
	}
	rows := make([]recorded, 0, len(found))
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(found[a].total(), found[b].total()), cmp.Compare(a, b))
	})
	for _, name := range names {
		rows = append(rows, *found[name])
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: it has no functions", path)
	}
	t := &Trace{Head: Head{"file", o.Seed, float64(o.Duration) / 1e6, o.Speed}}
	n := min(len(rows), len(all))
	for i, place := range numbers(o.Seed, "functions").Perm(len(all))[:n] {
		one := rows[len(rows)-1]
		if n > 1 {
			one = rows[i*(len(rows)-1)/(n-1)]
		}
		t.play(one, all[place].Name, o)
	}
	t.sort()
	return t, nil
}

// play adds the events of a function of a file, as one of ours. Those of a minute are spread over it: evenly
// for a timer, else at random.
func (t *Trace) play(r recorded, name string, o Options) {
	random := numbers(o.Seed, "events", name)
	for _, c := range r.calls {
		for n := range max(1, c.count) {
			at, took := c.at, cmp.Or(c.took, r.mean)/o.Speed
			if c.count > 0 {
				at += 60e3 * r.spread(random, n, c.count)
			}
			if at /= o.Speed; at < t.Head.Duration {
				t.Events = append(t.Events, Event{At: round(at), Function: name, CPU: round(took * o.Busy), Wait: round(took * (1 - o.Busy))})
			}
		}
	}
}

func (r recorded) spread(random *rand.Rand, n, count int) float64 {
	if r.timer {
		return float64(n) / float64(count)
	}
	return random.Float64()
}

// readFile reads the functions of a file that are called before the end.
func readFile(path string, o Options) (map[string]*recorded, error) {
	end := o.Duration.Seconds() * 1000 * o.Speed
	found := map[string]*recorded{}
	err := readCSV(path, func(header []string) (func([]string) error, error) {
		switch {
		case len(header) == 4 && header[0] == "app" && header[3] == "duration":
			return func(row []string) error { return readCall(found, row, end) }, nil
		case len(header) > 4 && header[2] == "HashFunction" && header[3] == "Trigger":
			return func(row []string) error { return readMinutes(found, header, row, end) }, nil
		}
		return nil, errors.New("neither HashOwner,HashApp,HashFunction,Trigger,1,… of 2019 nor app,func,end_timestamp,duration of 2021")
	})
	return found, err
}

// readMinutes reads a line of 2019: how often a function was called in each minute.
func readMinutes(found map[string]*recorded, header, row []string, end float64) error {
	r := of(found, row[2])
	r.timer = row[3] == "timer"
	for i, text := range row[4:] {
		if text == "0" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return fmt.Errorf("%s: %q is no number of calls", header[4+i], text)
		}
		if at := float64(i) * 60e3; n > 0 && at < end {
			r.calls = append(r.calls, call{at: at, count: n})
		}
	}
	return nil
}

// readCall reads a line of 2021: a call.
func readCall(found map[string]*recorded, row []string, end float64) error {
	ended, err := number(row[2])
	if err != nil {
		return fmt.Errorf("end_timestamp: %w", err)
	}
	took, err := number(row[3])
	if err != nil {
		return fmt.Errorf("duration: %w", err)
	}
	if at := max(0, 1000*(ended-took)); at < end {
		r := of(found, row[1])
		r.calls = append(r.calls, call{at: at, took: 1000 * took})
	}
	return nil
}

// readDurations adds how long functions take: the column Average, in milliseconds.
func readDurations(path string, found map[string]*recorded) error {
	return readCSV(path, func(header []string) (func([]string) error, error) {
		name, average := slices.Index(header, "HashFunction"), slices.Index(header, "Average")
		if name < 0 || average < 0 {
			return nil, errors.New("the columns HashFunction and Average of 2019 are not both there")
		}
		return func(row []string) error {
			mean, err := number(row[average])
			if err != nil {
				return fmt.Errorf("column Average: %w", err)
			}
			if r := found[row[name]]; r != nil {
				r.mean = mean
			}
			return nil
		}, nil
	})
}

func of(found map[string]*recorded, name string) *recorded {
	if found[name] == nil {
		found[name] = &recorded{}
	}
	return found[name]
}

func number(text string) (float64, error) {
	x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || x < 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0, fmt.Errorf("%q is no time", text)
	}
	return x, nil
}

// readCSV reads a file line by line. The first one is the header, which says what is done with the others.
func readCSV(path string, begin func(header []string) (func(row []string) error, error)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	reader := csv.NewReader(bufio.NewReaderSize(file, 1<<20))
	reader.ReuseRecord = true
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: line 1: it is empty", path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	each, err := begin(slices.Clone(header))
	if err != nil {
		return fmt.Errorf("%s: line 1: %w", path, err)
	}
	for {
		row, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = each(row)
		}
		if err != nil {
			line, _ := reader.FieldPos(0)
			var malformed *csv.ParseError
			if errors.As(err, &malformed) {
				return fmt.Errorf("%s: line %d: %w", path, malformed.Line, malformed.Err)
			}
			return fmt.Errorf("%s: line %d: %w", path, line, err)
		}
	}
}
