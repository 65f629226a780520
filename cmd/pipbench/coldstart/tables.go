package coldstart

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/compare"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/report"
)

// Row is what the starts of one function and kind took.
type Row struct {
	Cell
	Kind
	compare.Row
}

// Rows are those of all functions, in the order in which they are shown.
func Rows(samples []Sample) (rows []Row) {
	times := map[Cell]map[Kind][]float64{}
	var all []Cell
	for _, one := range samples {
		c := Cell{one.Language, one.Count, one.Cost}
		if times[c] == nil {
			times[c] = map[Kind][]float64{}
			all = append(all, c)
		}
		times[c][one.Kind] = append(times[c][one.Kind], one.Ms)
	}
	slices.SortStableFunc(all, func(a, b Cell) int { return place(a) - place(b) })
	for _, c := range all {
		for _, k := range Kinds {
			if len(times[c][k]) > 0 {
				rows = append(rows, Row{c, k, compare.Of(times[c][k], times[c][Process])})
			}
		}
	}
	return rows
}

// place is where a cell is shown.
func place(c Cell) int {
	return slices.Index(profile.Languages, c.Language)*1000 + slices.IndexFunc(Costs, func(one Cost) bool { return one.Name == c.Cost })*100 + c.Count
}

// Table is a table of a language in Markdown: medians in milliseconds.
func Table(rows []Row, language string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "| packages |")
	for _, k := range Kinds {
		fmt.Fprintf(&text, " %s |", k)
	}
	fmt.Fprintf(&text, "\n|---|%s\n", strings.Repeat("---|", len(Kinds)))
	for _, c := range shown(rows, language) {
		fmt.Fprintf(&text, "| %s |", c.Name())
		for _, k := range Kinds {
			fmt.Fprintf(&text, " %v |", Median(rows, c, k))
		}
		text.WriteString("\n")
	}
	return text.String()
}

// shown are the cells of a language in the order of rows.
func shown(rows []Row, language string) (all []Cell) {
	for _, r := range rows {
		if r.Cell.Language == language && !slices.Contains(all, r.Cell) {
			all = append(all, r.Cell)
		}
	}
	return all
}

// Median is that of the starts of a function and kind, in milliseconds; NaN if there are none.
func Median(rows []Row, c Cell, k Kind) compare.Number {
	for _, r := range rows {
		if r.Cell == c && r.Kind == k {
			return r.Latency[0].Value
		}
	}
	return compare.Number(math.NaN())
}

// CSV writes all rows.
func CSV(rows []Row, w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"language", "packages", "cost", "kind", "starts", "p50_ms", "p50_low", "p50_high", "p99_ms", "max_ms", "p50_to_process"}) // Flush has the error
	for _, r := range rows {
		ratio := ""
		if r.Ratio != nil {
			ratio = r.Ratio[0].Value.Plain()
		}
		p50 := r.Latency[0]
		_ = out.Write([]string{r.Cell.Language, fmt.Sprint(r.Count), r.Cost, string(r.Kind), fmt.Sprint(r.Requests), p50.Value.Plain(), p50.Low.Plain(), p50.High.Plain(),
			r.Latency[2].Value.Plain(), r.Most.Plain(), ratio})
	}
	out.Flush()
	return out.Error()
}

// Figures are a figure for each language, by its name, and one that puts them side by side: by how a function
// with 5 packages of median cost starts.
func Figures(rows []Row) (map[string]string, error) {
	figures := map[string]string{}
	var names, together []string
	for _, k := range Kinds {
		names = append(names, string(k))
	}
	beside := make([][]float64, len(Kinds))
	for _, language := range profile.Languages {
		cells := shown(rows, language)
		if len(cells) == 0 {
			continue
		}
		together = append(together, language)
		var places []string
		values := make([][]float64, len(Kinds))
		for _, c := range cells {
			places = append(places, c.Name())
			for i, k := range Kinds {
				values[i] = append(values[i], float64(Median(rows, c, k)))
			}
		}
		for i, k := range Kinds {
			beside[i] = append(beside[i], float64(Median(rows, Cell{language, 5, "median"}, k)))
		}
		svg, err := report.Points(names, places, values, "milliseconds, median")
		if err != nil {
			return nil, err
		}
		figures["start-"+language] = svg
	}
	svg, err := report.Points(names, together, beside, "milliseconds, median")
	figures["start-languages"] = svg
	return figures, err
}

// Write writes tables and figures to a directory: starts.csv, starts.md, and SVG.
func Write(rows []Row, dir string) error {
	figures, err := Figures(rows)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, language := range profile.Languages {
		if len(shown(rows, language)) > 0 {
			fmt.Fprintf(&text, "## %s\n\n%s\n", language, Table(rows, language))
		}
	}
	var lines strings.Builder
	if err := CSV(rows, &lines); err != nil {
		return err
	}
	files := map[string]string{"starts.md": text.String(), "starts.csv": lines.String()}
	for name, svg := range figures {
		if svg != "" {
			files[name+".svg"] = svg
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
