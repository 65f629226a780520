// Package report makes a page of what runs have measured: with figures and tables, and nothing outside of it.
package report

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/compare"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{"percent": compare.Percent}).Parse(pageText))

// figure is a plot with what it shows.
type figure struct {
	Title, Caption string
	SVG            template.HTML
}

// deploys are those of a run in one language.
type deploys struct {
	Run, Language string
	Count         int
	Median, Most  compare.Number // ms
}

// content is what the page is made of.
type content struct {
	Names      []string
	Runs       []*results.Run
	Comparison compare.Comparison
	Shares     []float64
	Figures    []figure
	Deploys    []deploys
	Costs      []compare.Cost
	CSV, JSON  template.URL
	Made       string
}

// Write writes the page about runs, the first of which the others are compared with.
func Write(w io.Writer, runs []*results.Run) error {
	c := content{Names: compare.Names(runs), Runs: runs, Comparison: compare.Runs(runs), Shares: compare.Shares}
	c.Made = time.Now().Format(time.RFC1123)
	if err := c.draw(); err != nil {
		return err
	}
	c.Costs = dearest(c.Comparison.Costs)
	for i, r := range runs {
		c.Deploys = append(c.Deploys, deploysOf(c.Names[i], r)...)
	}
	var err error
	if c.CSV, err = download("text/csv", c.Comparison.CSV); err != nil {
		return err
	}
	if c.JSON, err = download("application/json", c.Comparison.JSON); err != nil {
		return err
	}
	return page.Execute(w, c)
}

// download is a text as an address that has all of it.
func download(media string, write func(io.Writer) error) (template.URL, error) {
	var text strings.Builder
	err := write(&text)
	return template.URL("data:" + media + ";base64," + base64.StdEncoding.EncodeToString([]byte(text.String()))), err
}

// draw draws all figures that the runs have something for.
func (c *content) draw() error {
	type drawing struct {
		title, caption string
		draw           func() (string, error)
	}
	all := []drawing{
		{"Distribution of latency", "How many requests took at most how long. A curve further to the left is faster.",
			func() (string, error) { return cdf(c.Names, c.Runs, false) }},
		{"Tails of latency", "The same with as much room for each further nine of the requests: what the slowest ones took.",
			func() (string, error) { return cdf(c.Names, c.Runs, true) }},
	}
	for i, r := range c.Runs {
		all = append(all,
			drawing{"Starts over time: " + c.Names[i], "How instances were had, by when requests were due.",
				func() (string, error) { return starts(r) }},
			drawing{"Phases of starts: " + c.Names[i], "Where the time of requests went that no idle instance served, before the handler ran.",
				func() (string, error) { return phases(r) }})
	}
	all = append(all, drawing{"Memory over time", "What the target says that it takes. Pages that processes share count once.",
		func() (string, error) { return memory(c.Names, c.Runs) }},
		drawing{"Cost per function", "Memory times time for a request, idle instances included, of each function: the dearest first.",
			func() (string, error) { return costs(c.Names, c.Comparison.Costs) }})
	for _, one := range all {
		svg, err := one.draw()
		if err != nil {
			return fmt.Errorf("%s: %w", one.title, err)
		}
		if i := strings.Index(svg, "<svg"); i >= 0 {
			// A figure is named for those who do not see it.
			named := fmt.Sprintf(`<svg role="img" aria-label="%s"`, template.HTMLEscapeString(one.title)) + strings.TrimPrefix(svg[i:], "<svg")
			c.Figures = append(c.Figures, figure{one.title, one.caption, template.HTML(named)})
		}
	}
	return nil
}

// dearest are costs without all but the ten dearest functions of each run.
func dearest(costs []compare.Cost) (some []compare.Cost) {
	functions := map[string]int{}
	for _, c := range costs {
		if c.Function != compare.All && c.Function != compare.Common {
			if functions[c.Run]++; functions[c.Run] > 10 {
				continue
			}
		}
		some = append(some, c)
	}
	return some
}

// deploysOf are the deploys of a run by language.
func deploysOf(name string, r *results.Run) (all []deploys) {
	took := map[string][]float64{}
	languages := map[string]bool{}
	for _, d := range r.Deploys {
		took[d.Language] = append(took[d.Language], d.Took)
		languages[d.Language] = true
	}
	for _, language := range ordered(languages, nil) {
		times := took[language]
		slices.Sort(times)
		all = append(all, deploys{name, language, len(times), compare.Number(times[(len(times)-1)/2]), compare.Number(times[len(times)-1])})
	}
	return all
}
