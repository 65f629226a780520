package conform

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Report is what became of all cases.
type Report struct {
	Driver   string
	Outcomes []Outcome
	Took     time.Duration
}

// Count returns how many cases ended so.
func (r Report) Count(s Status) (n int) {
	for _, o := range r.Outcomes {
		if o.Status == s {
			n++
		}
	}
	return n
}

// WriteLine writes one outcome for a person: what failed with what was seen, and with what the clauses ask
// for.
func (o Outcome) WriteLine(w io.Writer) error {
	mark := map[Status]string{Passed: "ok  ", Failed: "FAIL", Skipped: "skip"}[o.Status]
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-46s %-14s %7.3fs\n", mark, o.Case.Name, strings.Join(o.Case.Clauses, " "), o.Took.Seconds())
	for _, seen := range o.Seen {
		fmt.Fprintf(&b, "       %s\n", strings.ReplaceAll(seen, "\n", "\n       "))
	}
	if o.Status == Failed {
		for _, name := range o.Case.Clauses {
			fmt.Fprintf(&b, "       %s asks: %s\n", name, asks(name))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteEnd writes the last line for a person.
func (r Report) WriteEnd(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%d cases: %d ok, %d failed, %d skipped, in %s\n", len(r.Outcomes),
		r.Count(Passed), r.Count(Failed), r.Count(Skipped), r.Took.Round(100*time.Millisecond))
	return err
}

// WriteJSON writes the report as one JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	type line struct {
		Name    string   `json:"name"`
		Clauses []string `json:"clauses"`
		Status  Status   `json:"status"`
		Seconds float64  `json:"seconds"`
		Seen    []string `json:"seen,omitempty"`
	}
	lines := []line{}
	for _, o := range r.Outcomes {
		lines = append(lines, line{o.Case.Name, o.Case.Clauses, o.Status, o.Took.Seconds(), o.Seen})
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{"driver": r.Driver, "seconds": r.Took.Seconds(), "ok": r.Count(Passed),
		"failed": r.Count(Failed), "skipped": r.Count(Skipped), "cases": lines})
}

// The form of JUnit's reports, as continuous integration reads them.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string      `xml:"classname,attr"`
		Name    string      `xml:"name,attr"`
		Time    string      `xml:"time,attr"`
		Failure *junitWords `xml:"failure"`
		Skipped *junitWords `xml:"skipped"`
	}
	junitWords struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit's XML.
func (r Report) WriteJUnit(w io.Writer) error {
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
	suite := junitSuite{Name: r.Driver, Tests: len(r.Outcomes), Failures: r.Count(Failed), Skipped: r.Count(Skipped), Time: seconds(r.Took)}
	for _, o := range r.Outcomes {
		theme, name, _ := strings.Cut(o.Case.Name, "/")
		c := junitCase{Class: r.Driver + "." + theme, Name: name, Time: seconds(o.Took)}
		if o.Status != Passed {
			words := &junitWords{Message: strings.ToValidUTF8(o.Seen[0], "\uFFFD")}
			if o.Status == Skipped {
				c.Skipped = words
			} else {
				c.Failure = words
				var b strings.Builder
				_ = o.WriteLine(&b) // to memory
				words.Text = strings.ToValidUTF8(b.String(), "\uFFFD")
			}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// WriteClauses writes which cases check each clause, and why none does.
func WriteClauses(w io.Writer) error {
	cases := Cases()
	for _, clause := range Clauses {
		var by []string
		for _, c := range cases {
			if slices.Contains(c.Clauses, clause.Name) {
				by = append(by, c.Name)
			}
		}
		told := strings.Join(by, " ")
		if len(by) == 0 {
			told = "no case: " + clause.Unseen
		}
		if _, err := fmt.Fprintf(w, "%-4s %s\n       %s\n", clause.Name, clause.Asks, told); err != nil {
			return err
		}
	}
	return nil
}
