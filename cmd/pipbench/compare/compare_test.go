package compare

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
)

// TestIntervals draws samples again and again: 95 % of the intervals have the true number in them.
func TestIntervals(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	sample := func(n int, mean float64) []float64 {
		all := make([]float64, n)
		for i := range all {
			all[i] = mean * random.ExpFloat64()
		}
		slices.Sort(all)
		return all
	}
	for _, share := range []float64{0.5, 0.9, 0.99} {
		truth, quantiles, ratios := -math.Log(1-share), 0, 0
		const times = 1000
		for range times {
			a, b := sample(1500, 1), sample(1200, 3)
			if e := quantile(a, share); float64(e.Low) <= truth && truth <= float64(e.High) {
				quantiles++
			}
			if e := ratio(b, a, share); float64(e.Low) <= 3 && 3 <= float64(e.High) {
				ratios++
			}
		}
		for what, n := range map[string]int{"quantiles": quantiles, "ratios": ratios} {
			if n < times*92/100 || n > times*985/1000 {
				t.Errorf("%s: %d of %d intervals of %s have the true one in them", Percent(share), n, times, what)
			}
		}
	}
	few := quantile(sample(50, 1), 0.99)
	if !math.IsNaN(float64(few.Value)) || few.String() != "–" {
		t.Errorf("p99 of 50 is %v", few)
	}
	if e := quantile(sample(150, 1), 0.99); math.IsNaN(float64(e.Value)) || !math.IsNaN(float64(e.High)) || !strings.HasSuffix(e.String(), ", –]") {
		t.Errorf("p99 of 150 is %v", e)
	}
}

// runs are two: the second takes twice as long, has another machine and trace, a wrong answer and one that
// failed, and was interrupted.
func runs() []*results.Run {
	a := &results.Run{Path: "x/a.jsonl", Head: results.Head{Mode: "open", Digest: "1", System: "s", Events: 400}, Complete: true}
	b := &results.Run{Path: "y/b.jsonl", Head: results.Head{Mode: "closed 2", Digest: "2", System: "t", Events: 500}, Continued: 1}
	for i := range 400 {
		q := results.Request{Event: i, Language: []string{"python", "node"}[i%2], Start: []string{"warm", "warm", "fork"}[i%3], Latency: 10 + float64(i), Spends: 9}
		if i < 40 {
			q.Sent = 11
		}
		a.Requests = append(a.Requests, q)
		q.Sent, q.Latency = 0, 9+2*(1+float64(i))
		switch i {
		case 7:
			q.Error, q.IsWrong = "wrong", true
		case 8:
			q.Error, q.Start = "failed", ""
		}
		b.Requests = append(b.Requests, q)
	}
	return []*results.Run{a, b}
}

func TestRuns(t *testing.T) {
	c := Runs(runs())
	var names []string
	for _, r := range c.Rows {
		names = append(names, strings.Join([]string{r.Run, r.Language, r.Start}, " "))
	}
	want := strings.Split("a all all,a all fork,a all warm,a node all,a node fork,a node warm,a python all,a python fork,a python warm", ",")
	if !slices.Equal(names[:9], want) || len(names) != 18 {
		t.Fatalf("rows are %q", names)
	}
	first, second := c.Rows[0], c.Rows[9]
	if first.Requests != 400 || first.Failed+first.Wrong != 0 || first.Latency[0].Value != 200 || first.Latency[1].Value != 360 || first.Most != 400 || first.Ratio != nil {
		t.Errorf("the first run is %+v", first)
	}
	if second.Requests != 400 || second.Failed != 1 || second.Wrong != 1 || second.Most != 800 || math.Abs(float64(second.Ratio[0].Value)-2) > 0.03 || second.Ratio[0].Low < 1.5 {
		t.Errorf("the second run is %+v", second)
	}
	for _, want := range []string{
		"a: 40 of 400 events were sent more than 10 ms late",
		"b: it has another trace, or other functions, than the first run",
		"b: its loop is closed 2, and that of the first run open",
		"b: it was driven from another machine than the first run: t",
		"b: it was interrupted: 400 of 500 events have results",
		"b: it was interrupted and continued 1 times",
	} {
		if !slices.ContainsFunc(c.Notes, func(note string) bool { return strings.HasPrefix(note, want) }) {
			t.Errorf("no note says %q: %q", want, c.Notes)
		}
	}
	if len(c.Notes) != 6 {
		t.Errorf("notes are %q", c.Notes)
	}
}

// TestOneStart checks that no row says the same as another, and that files of one name are told apart.
func TestOneStart(t *testing.T) {
	all := runs()
	for i := range all[0].Requests {
		all[0].Requests[i].Start = "process"
	}
	all[0].Path, all[1].Path = "x/r.jsonl", "y/r.jsonl"
	c := Runs(all[:1])
	if len(c.Rows) != 3 || !slices.Equal(Names(all), []string{"x/r.jsonl", "y/r.jsonl"}) {
		t.Errorf("%d rows, %q", len(c.Rows), Names(all))
	}
}

func TestFormats(t *testing.T) {
	c := Runs(runs())
	text := map[string]string{}
	for name, write := range Formats {
		var out strings.Builder
		if err := write(c, &out); err != nil {
			t.Fatal(err)
		}
		text[name] = out.String()
	}
	lines := strings.Split(text["text"], "\n")
	if len(lines) != 26 || !strings.HasPrefix(lines[1], "a    all       all    400       0       0      200 [") || !strings.Contains(lines[10], "  2.01 [1.") {
		t.Errorf("%d lines:\n%s", len(lines), text["text"])
	}
	table, err := csv.NewReader(strings.NewReader(text["csv"])).ReadAll()
	if err != nil || len(table) != 19 || table[1][8] != "200" || table[1][17] != "" || table[10][5] != "1" || !strings.HasPrefix(table[10][20], "2") {
		t.Errorf("%v: %q", err, table)
	}
	var again struct {
		Rows []struct {
			Run     string
			Latency []struct{ Value, Low, High *float64 } `json:"latency_ms"`
		}
	}
	if err := json.Unmarshal([]byte(text["json"]), &again); err != nil || len(again.Rows) != 18 || *again.Rows[0].Latency[0].Value != 200 || again.Rows[0].Latency[3].Value != nil {
		t.Errorf("%v: %s", err, text["json"])
	}
}
