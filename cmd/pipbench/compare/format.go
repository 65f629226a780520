package compare

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Formats are how a comparison is written.
var Formats = map[string]func(Comparison, io.Writer) error{"text": Comparison.text, "csv": Comparison.CSV, "json": Comparison.JSON}

// Percent names a share of Shares.
func Percent(share float64) string { return fmt.Sprintf("p%g", share*100) }

// text writes a table for a person: notes below it.
func (c Comparison) text(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "run\tlanguage\tstart\trequests\tfailed\twrong")
	for _, share := range Shares {
		fmt.Fprintf(table, "\t%s ms", Percent(share))
	}
	fmt.Fprintln(table, "\tmax ms\tp50 to the first\tp99 to the first")
	for _, r := range c.Rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d", r.Run, r.Language, r.Start, r.Requests, r.Failed, r.Wrong)
		for _, e := range r.Latency {
			fmt.Fprintf(table, "\t%v", e)
		}
		fmt.Fprintf(table, "\t%v", r.Most)
		if r.Ratio != nil {
			fmt.Fprintf(table, "\t%v\t%v", r.Ratio[0], r.Ratio[2])
		} else {
			fmt.Fprint(table, "\t\t")
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, note := range c.Notes {
		if _, err := fmt.Fprintln(w, note); err != nil {
			return err
		}
	}
	return nil
}

// JSON writes everything.
func (c Comparison) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	return encoder.Encode(c)
}

// CSV writes all rows, with a column for each number and each bound.
func (c Comparison) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	header := []string{"run", "language", "start", "requests", "failed", "wrong", "mean_ms", "max_ms"}
	for _, what := range []string{"", "ratio_"} {
		for _, share := range Shares {
			name := what + Percent(share)
			header = append(header, name, name+"_low", name+"_high")
		}
	}
	_ = out.Write(header) // Flush has the error
	for _, r := range c.Rows {
		row := []string{r.Run, r.Language, r.Start}
		row = append(row, fmt.Sprint(r.Requests), fmt.Sprint(r.Failed), fmt.Sprint(r.Wrong), r.Mean.Plain(), r.Most.Plain())
		for _, all := range [][]Estimate{r.Latency, r.Ratio} {
			for i := range Shares {
				if all == nil {
					row = append(row, "", "", "")
					continue
				}
				row = append(row, all[i].Value.Plain(), all[i].Low.Plain(), all[i].High.Plain())
			}
		}
		_ = out.Write(row)
	}
	out.Flush()
	return out.Error()
}

// Plain is a number as programs read it: nothing, if it is not known.
func (n Number) Plain() string {
	text, _ := n.MarshalJSON() // a number, or null
	if string(text) == "null" {
		return ""
	}
	return string(text)
}
