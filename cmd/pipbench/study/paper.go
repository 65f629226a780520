package study

import (
	_ "embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/coldstart"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/compare"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/report"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
)

//go:embed paper.txt
var paperText string

var paper = template.Must(template.New("paper").Parse(paperText))

// language is a language's own part of the paper.
type language struct{ Name, Title, Table string }

// titles are what languages are called in a text.
var titles = map[string]string{"python": "Python", "node": "Node.js", "ruby": "Ruby", "native": "compiled C"}

// write writes the paper with its figures to a directory.
func (m measured) write(dir string, quick bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, err := m.figures()
	if err != nil {
		return err
	}
	head := m.traces[0].Head
	content := map[string]any{
		"System": head.System, "Date": head.Began.Format("2 January 2006"), "Note": "", "Starts": m.starts[0].Requests,
		"Languages": m.languages(), "Traces": m.traceTable(), "Real": m.realTable(), "Costs": m.costTable(), "Conclusions": m.conclusions(),
		"HasMemory": files["trace-memory.svg"] != "",
	}
	content["Note"] = "This paper is made by a command, and so are its figures and its conclusions."
	if quick {
		content["Note"] = "**This is the short form**, which shows that the study runs. Its numbers are of too few starts to say anything."
	}
	var text strings.Builder
	if err := paper.Execute(&text, content); err != nil {
		return err
	}
	files["README.md"] = filled(text.String())
	var lines strings.Builder
	if err := coldstart.CSV(m.starts, &lines); err != nil {
		return err
	}
	files["starts.csv"] = lines.String()
	for name, content := range files {
		if content == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (m measured) figures() (map[string]string, error) {
	files := map[string]string{}
	figures, err := coldstart.Figures(m.starts)
	if err != nil {
		return nil, err
	}
	for name, svg := range figures {
		files[name+".svg"] = svg
	}
	if files["trace-latency.svg"], err = report.Tails(platforms, m.traces); err != nil {
		return nil, err
	}
	files["trace-memory.svg"], err = report.Memory(platforms, m.traces)
	return files, err
}

func (m measured) languages() (all []language) {
	for _, name := range profile.Languages {
		all = append(all, language{name, titles[name], coldstart.Table(m.starts, name)})
	}
	return all
}

// times are those of the right answers of a run that are wanted.
func times(r *results.Run, wanted func(results.Request) bool) (all []float64) {
	for _, q := range r.Requests {
		if q.Error == "" && wanted(q) {
			all = append(all, compare.Beyond(q))
		}
	}
	return all
}

func (m measured) traceTable() string {
	var text strings.Builder
	text.WriteString("| language | platform | events | failed | p50 | p99 | p50 to processes | p99 to processes |\n|---|---|---|---|---|---|---|---|\n")
	for _, name := range append([]string{compare.All}, profile.Languages...) {
		is := func(q results.Request) bool { return name == compare.All || q.Language == name }
		base := times(m.traces[0], is)
		for i, r := range m.traces {
			failed := 0
			for _, q := range r.Requests {
				if q.Error != "" && is(q) {
					failed++
				}
			}
			row := compare.Of(times(r, is), base)
			fmt.Fprintf(&text, "| %s | %s | %d | %d | %v | %v | %v | %v |\n", name, platforms[i], row.Requests, failed, row.Latency[0], row.Latency[2], ratioOf(row, 0), ratioOf(row, 2))
		}
	}
	return text.String()
}

func ratioOf(row compare.Row, share int) compare.Number {
	if row.Ratio == nil {
		return compare.Number(math.NaN())
	}
	return row.Ratio[share].Value
}

// names are those of the real functions.
func (m measured) names() (all []string) {
	for _, q := range m.real[0].Requests {
		if !slices.Contains(all, q.Function) {
			all = append(all, q.Function)
		}
	}
	return all
}

// median is that of a real function on a platform.
func (m measured) median(platform int, name string) compare.Number {
	return compare.Of(times(m.real[platform], func(q results.Request) bool { return q.Function == name }), nil).Latency[0].Value
}

func (m measured) realTable() string {
	var text strings.Builder
	fmt.Fprintf(&text, "| function | %s | process to tree | no tree to tree |\n|---|---|---|---|---|---|\n", strings.Join(platforms, " | "))
	for _, name := range m.names() {
		a, b, c := m.median(0, name), m.median(1, name), m.median(2, name)
		fmt.Fprintf(&text, "| %s | %v | %v | %v | %v | %v |\n", name, a, b, c, a/c, b/c)
	}
	return text.String()
}

func (m measured) costTable() string {
	var text strings.Builder
	text.WriteString("| platform | of | events | busy s | processor s | memory GB·s |\n|---|---|---|---|---|---|\n")
	for i, r := range m.traces {
		for _, c := range compare.Costs(platforms[i], r) {
			if c.Function == compare.All || c.Function == compare.Common {
				of := c.Language
				if c.Function == compare.Common {
					of = "all in common"
				}
				fmt.Fprintf(&text, "| %s | %s | %d | %v | %v | %v |\n", platforms[i], of, c.Requests, c.Busy, known(c.Processor), known(c.Memory))
			}
		}
	}
	return text.String()
}

// known is a sum that is 0 if nothing was told.
func known(n compare.Number) compare.Number {
	if n == 0 {
		return compare.Number(math.NaN())
	}
	return n
}

// memory is what a platform took in the trace, in GB·s.
func (m measured) memory(platform int) (sum compare.Number) {
	for _, c := range compare.Costs("", m.traces[platform]) {
		if c.Function == compare.All || c.Function == compare.Common {
			sum += c.Memory
		}
	}
	return sum
}

// filled has the paragraphs and items of a text in lines of at most 110 columns. Tables, headings and figures
// stay as they are.
func filled(text string) string {
	var blocks []string // each with its end of line
	last := ""          // of a paragraph or an item that goes on
	end := func() {
		if last != "" {
			indent := map[bool]string{true: "  "}[strings.HasPrefix(last, "- ")]
			blocks = append(blocks, wrap(last, indent))
		}
		last = ""
	}
	for line := range strings.SplitSeq(text, "\n") {
		isItem := strings.HasPrefix(line, "- ")
		if line == "" || isItem || strings.ContainsAny(line[:1], "|#!") {
			end()
		}
		if line == "" || !isItem && strings.ContainsAny(line[:1], "|#!") {
			blocks = append(blocks, line)
			continue
		}
		last += " " + line
		last = strings.TrimPrefix(last, " ")
	}
	end()
	return strings.Join(blocks, "\n")
}

// wrap breaks a text into lines of at most 110 columns, those after the first with an indent.
func wrap(text, indent string) string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) > 110:
			lines = append(lines, line)
			line = indent + word
		default:
			line += " " + word
		}
	}
	return strings.Join(append(lines, line), "\n")
}
