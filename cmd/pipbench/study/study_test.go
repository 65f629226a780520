package study

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/coldstart"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/run"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// TestReal checks that the real functions are whole, and runs those that need no packages as processes: with
// the right answer, and a wrong one.
func TestReal(t *testing.T) {
	all, err := reals()
	coretest.Must(t, err)
	target, err := run.NewCommand("")
	coretest.Must(t, err)
	defer func() { coretest.Must(t, target.Close()) }()
	count := map[string]int{}
	for _, r := range all {
		count[r.Language]++
		dir := filepath.Join(t.TempDir(), r.Name)
		coretest.Must(t, r.write(dir))
		if r.check(r.answer) != nil || r.check([]byte(`{"other": 1}`)) == nil || r.check([]byte(`{`)) == nil {
			t.Errorf("%s: its answer is not told from others", r.Name)
		}
		if r.Language != "native" {
			continue
		}
		_, err := target.Deploy(t.Context(), r.Function, dir, false)
		coretest.Must(t, err)
		a, err := target.Invoke(t.Context(), r.Function, r.event)
		coretest.Must(t, err)
		coretest.Must(t, r.check(a.Result))
		if a.CPU < 0 || a.Bytes < 1e5 || a.Held <= 0 {
			t.Errorf("%s has cost %+v", r.Name, a)
		}
	}
	if len(all) < 12 || len(count) != 4 || count["python"] < 3 || count["node"] < 3 || count["ruby"] < 3 || count["native"] < 3 {
		t.Errorf("%d functions: %v", len(all), count)
	}
}

// fake is a study whose tree is that many times as fast as new processes.
func fake(times float64) measured {
	var m measured
	var samples []coldstart.Sample
	for _, language := range profile.Languages {
		for i := range 9 {
			for j, kind := range coldstart.Kinds {
				ms := (20 + float64(i)) / float64(j+1)
				if kind == coldstart.Zygote {
					ms = (20 + float64(i)) / times
				}
				samples = append(samples, coldstart.Sample{Language: language, Count: 5, Cost: "median", Kind: kind, Ms: ms})
			}
		}
	}
	m.starts = coldstart.Rows(samples)
	for i, platform := range platforms {
		r := &results.Run{Head: results.Head{Target: platform, System: "linux/test, 2 processors", Began: time.Unix(0, 0).UTC()}}
		for n := range 400 {
			latency := 100 + float64(n%100)
			if i == 2 {
				latency /= times
			}
			r.Requests = append(r.Requests, results.Request{Function: fmt.Sprintf("%s-f", profile.Languages[n%4]), Language: profile.Languages[n%4], Latency: latency, Due: float64(n), CPU: 5, Bytes: 1e7, Held: 100})
		}
		r.Requests[0].Error = "503"
		if i > 0 {
			r.Memory = []results.Memory{{At: 0, Bytes: 1e9}, {At: 2000, Bytes: 1e9}}
		}
		m.traces, m.real = append(m.traces, r), append(m.real, r)
	}
	return m
}

// TestPaper writes papers of two studies: the conclusions of one say where Pipsqueak wins, and those of the
// other where it loses.
func TestPaper(t *testing.T) {
	for times, want := range map[float64][]string{
		8: {"a function with five packages of median cost starts in 3 ms", "faster than a new process in every cell", "Each of the 4 real functions is faster",
			"the median is 18.8 ms with the tree, 150 ms without it and 150 ms as new processes: less than both", "is 2.4 GB·s with the tree"},
		0.5: {"in these cells: Python with 5 median, Node.js with 5 median", "Of the 4 real functions these are no faster", "more than both"},
	} {
		dir := filepath.Join(t.TempDir(), "study")
		coretest.Must(t, fake(times).write(dir, times < 1))
		text, err := os.ReadFile(filepath.Join(dir, "README.md"))
		coretest.Must(t, err)
		flat := strings.Join(strings.Fields(string(text)), " ")
		for _, one := range append(want, "linux/test, 2 processors, on 1 January 1970", "| all | no tree | 399 | 1 |") {
			if !strings.Contains(flat, one) {
				t.Errorf("%g times: nothing says %q:\n%s", times, one, text)
			}
		}
		if strings.Contains(flat, "short form") != (times < 1) || strings.Contains(flat, "{{") || strings.Contains(flat, "NaN") {
			t.Errorf("%s", text)
		}
		for line := range strings.Lines(string(text)) {
			if len([]rune(line)) > 111 && !strings.HasPrefix(line, "|") {
				t.Errorf("a line has %d columns: %s", len([]rune(line)), line)
			}
		}
		for _, name := range []string{"start-python", "start-node", "start-ruby", "start-native", "start-languages", "trace-latency", "trace-memory"} {
			info, err := os.Stat(filepath.Join(dir, name+".svg"))
			if err != nil || info.Size() > 200<<10 || !strings.Contains(string(text), "]("+name+".svg)") {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
	}
}

func TestFilled(t *testing.T) {
	text := filled("# Title of a text\n\nOne\ntwo.\n\n- item\n  goes on\n- item\n\n| a | b |\n|---|---|\n\n![x](y.svg)\n\nEnd.\n")
	if want := "# Title of a text\n\nOne two.\n\n- item goes on\n- item\n\n| a | b |\n|---|---|\n\n![x](y.svg)\n\nEnd.\n"; text != want {
		t.Errorf("%q", text)
	}
}

func TestWrap(t *testing.T) {
	long := strings.Repeat("word ", 60)
	for _, line := range strings.Split(wrap("- "+long, "  "), "\n") {
		if len(line) > 110 || !strings.HasPrefix(line, "- word") && !strings.HasPrefix(line, "  word") {
			t.Errorf("%q", line)
		}
	}
	if strings.Join(strings.Fields(wrap(long, "  ")), " ") != strings.TrimSpace(long) {
		t.Error("words are lost")
	}
}
