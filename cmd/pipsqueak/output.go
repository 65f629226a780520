package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// format is the value of -o.
type format string

var formats = []string{"table", "json"}

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return strings.Join(formats, "|") }
func (f *format) Set(s string) error {
	if !slices.Contains(formats, s) {
		return errors.New("it is one of " + strings.Join(formats, ", "))
	}
	*f = format(s)
	return nil
}

func (f *format) json() bool { return *f == "json" }

// formatFlag gives a command -o.
func formatFlag(cmd *cobra.Command) *format {
	f := format("table")
	cmd.Flags().VarP(&f, "output", "o", "how to print")
	// It fails only for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return &f
}

// printJSON prints a value as indented JSON.
func (p *program) printJSON(value any) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// lineWidth is the number of columns that every terminal has.
const lineWidth = 80

// table prints rows in columns on standard output: on a terminal such that they fit, for which the longest
// cells are shortened, and else in full.
func (p *program) table(rows [][]string) error {
	if p.wide {
		return table(p.out, rows)
	}
	return table(p.out, fit(rows, lineWidth))
}

// fit shortens the cells of the widest columns until all columns fit beside each other.
func fit(rows [][]string, width int) [][]string {
	var columns []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(columns) {
				columns = append(columns, 0)
			}
			columns[i] = max(columns[i], utf8.RuneCountInString(cell))
		}
	}
	total := columnGap * (len(columns) - 1)
	for _, column := range columns {
		total += column
	}
	for ; total > width; total-- {
		widest := 0
		for i := range columns {
			if columns[i] > columns[widest] {
				widest = i
			}
		}
		columns[widest]--
	}
	short := make([][]string, len(rows))
	for r, row := range rows {
		for i, cell := range row {
			if runes := []rune(cell); len(runes) > columns[i] {
				cell = string(runes[:columns[i]-1]) + "…"
			}
			short[r] = append(short[r], cell)
		}
	}
	return short
}

// columnGap is the room between two columns.
const columnGap = 2

// oneCell has a text take no more than its cell, such as a variable that somebody has set.
var oneCell = strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`, "\v", `\v`, "\f", `\f`)

// table prints rows in columns. No line ends in blanks.
func table(out io.Writer, rows [][]string) error {
	var b strings.Builder
	columns := tabwriter.NewWriter(&b, 0, 0, columnGap, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(columns, "\t")
			}
			fmt.Fprint(columns, oneCell.Replace(cell))
		}
		fmt.Fprintln(columns)
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// size is a number of bytes on the command line: 512M, 2G, 1.5GiB, 4096B. Units are powers of 1024. A number
// without a unit is refused, because some people who write 512 mean megabytes.
type size int64

const units = "KMGTP"

func (s *size) Type() string { return "BYTES" }
func (s *size) String() string {
	if *s == 0 {
		return "" // so that help shows no default
	}
	return strconv.FormatInt(int64(*s), 10)
}

func (s *size) Set(text string) error {
	number := strings.ToUpper(strings.TrimSpace(text))
	if isNumber(number) {
		return fmt.Errorf("it has no unit: write %sM for megabytes, %sG for gigabytes or %sB for bytes", number, number, number)
	}
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	factor := 1.0
	if n := len(number); n > 0 {
		if i := strings.IndexByte(units, number[n-1]); i >= 0 {
			number, factor = number[:n-1], math.Pow(1024, float64(i+1))
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || !(value*factor >= 1 && value*factor < math.MaxInt64) {
		return errors.New("it is a number with a unit, such as 512M or 2G")
	}
	*s = size(value * factor)
	return nil
}

func isNumber(text string) bool { return strings.Trim(text, "0123456789.") == "" && text != "" }

// humanBytes prints a number of bytes with one digit after the point.
func humanBytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1023.95 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}

// humanAge prints how long something has been, in its largest unit.
func humanAge(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// humanDuration prints a limit without the zeros that Duration.String leaves: 5m, not 5m0s.
func humanDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// oneOf is the value of a flag that takes one of a few words.
type oneOf struct {
	value string
	words []string
}

func (o *oneOf) String() string { return o.value }
func (o *oneOf) Type() string   { return strings.Join(o.words, "|") }
func (o *oneOf) Set(s string) error {
	if !slices.Contains(o.words, s) {
		return errors.New("it is one of " + strings.Join(o.words, ", "))
	}
	o.value = s
	return nil
}
