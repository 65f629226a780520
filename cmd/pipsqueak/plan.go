package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/nearest"
	"github.com/pipsqueak-faas/pipsqueak/core/plan"
)

// anotherMemory is for what --why says that more memory would buy.
const anotherMemory = 100 << 20

func (p *program) plan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Plan the best tree for the functions of a server",
		Long: `Plan which zygotes a server had best have for its functions, within some memory, and print them. The
server plans its own tree by itself, once a minute; it does not follow this plan.

The demand is how much the server's functions are used now, each at least once. With --trace it is
the starts of a log that 'serve --events' has written. If functions are used once, the plan is also
for others that are like them and not there yet. SAVES is what a zygote saves each start from
it, compared with the root zygote; TOTAL what all starts together would take longer without it.
--why explains one function: where it starts, what it still imports, and what more memory would buy.
What imports cost, the server has measured; what it has not, costs nothing here.`,
		Example: "  pipsqueak plan --budget 500M\n  pipsqueak plan --why hello\n  pipsqueak plan --out plan.json",
		GroupID: groupServer,
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	trace := cmd.Flags().String("trace", "", "plan for the starts in this `FILE`, a log of 'serve --events'")
	why := cmd.Flags().String("why", "", "explain how this `FUNCTION` starts")
	out := cmd.Flags().String("out", "", "write the plan to this `FILE`, as JSON")
	var budget size
	cmd.Flags().Var(&budget, "budget", "memory for zygotes (default: half of the server's)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		demand, err := p.client().Demand(cmd.Context())
		if err != nil {
			return err
		}
		if *trace != "" {
			if err := p.followTrace(&demand, *trace); err != nil {
				return err
			}
		}
		memory := int64(budget)
		if memory == 0 {
			memory = demand.Budget / 2
		}
		made := makePlan(demand, memory)
		if *out != "" {
			text, err := json.MarshalIndent(made, "", "  ")
			if err == nil {
				err = replace(*out, append(text, '\n'))
			}
			if err != nil {
				return err
			}
		}
		if *why != "" {
			return p.explainPlan(demand, made, *why, as.json())
		}
		if as.json() {
			return p.printJSON(made)
		}
		return p.drawPlan(made)
	}
	return cmd
}

// treePlan is a plan as it is printed and exported.
type treePlan struct {
	Budget    int64           `json:"budget"`
	Bytes     int64           `json:"bytes"`
	Zygotes   []plannedZygote `json:"zygotes"` // parents before children
	Functions []plannedStart  `json:"functions"`
	Left      time.Duration   `json:"left"`    // that a start imports on average
	Without   time.Duration   `json:"without"` // zygotes, on average

	costs map[core.Package]time.Duration
}

type plannedZygote struct {
	Runtime   core.RuntimeID `json:"runtime"`
	Namespace string         `json:"namespace,omitempty"`
	Parent    int            `json:"parent"` // in zygotes, -1 for a root zygote
	Set       core.Set       `json:"set"`
	Bytes     int64          `json:"bytes"` // beyond its parent's
	Saves     time.Duration  `json:"saves"`
	Total     time.Duration  `json:"total"`
	Functions int            `json:"functions"` // that start from it
}

type plannedStart struct {
	Name   string        `json:"name"`
	Count  float64       `json:"count"`
	From   int           `json:"from"` // in zygotes, -1 for a root zygote
	Left   time.Duration `json:"left"`
	Import core.Set      `json:"import"` // itself
}

func makePlan(d core.Demand, budget int64) treePlan {
	demand, facts := plan.Read(d)
	tree := plan.Plan(demand, facts, plan.Typical(), budget)
	made := treePlan{Budget: budget, Bytes: tree.Bytes, Zygotes: []plannedZygote{}, Functions: []plannedStart{}}
	made.costs = map[core.Package]time.Duration{}
	for p, need := range facts.Needs {
		made.costs[p] = need.Took
	}
	for _, n := range tree.Nodes {
		one := plannedZygote{Runtime: n.Runtime, Namespace: n.Namespace, Parent: n.Parent, Set: n.Set, Bytes: n.Bytes}
		one.Saves, one.Total = n.Saves, n.Benefit
		made.Zygotes = append(made.Zygotes, one)
	}
	var left, without, count float64
	for i, s := range tree.Served {
		one := plannedStart{d.Functions[i].Name, s.Count, s.From, s.Left, append(core.Set{}, s.Set...)}
		if s.From >= 0 {
			made.Zygotes[s.From].Functions++
			one.Import = slices.DeleteFunc(one.Import, func(p core.Package) bool { return slices.Contains(tree.Nodes[s.From].Set, p) })
		}
		made.Functions = append(made.Functions, one)
		count += s.Count
		left += s.Count * float64(s.Left)
		for _, p := range s.Set {
			without += s.Count * float64(made.costs[p])
		}
	}
	if count > 0 {
		made.Left, made.Without = time.Duration(left/count), time.Duration(without/count)
	}
	return made
}

// followTrace replaces the use of each function by its starts in a log, in which functions are that are not
// deployed, too: the user is told of them. A function without starts is left out.
func (p *program) followTrace(d *core.Demand, file string) error {
	log, err := os.Open(file)
	if err != nil {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "cannot read the trace: %w", err)
	}
	defer log.Close()
	starts := map[string]float64{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if function, started := startOf(lines.Bytes()); started {
			starts[function]++
		}
	}
	if err := lines.Err(); err != nil {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "cannot read the trace: %w", err)
	}
	if len(starts) == 0 {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "%s has no start of a function: it is the log of 'serve --events'", file)
	}
	d.Functions = slices.DeleteFunc(d.Functions, func(f core.FunctionDemand) bool { return starts[f.Name] == 0 })
	for i := range d.Functions {
		one := &d.Functions[i]
		one.Use = starts[one.Name]
		delete(starts, one.Name)
	}
	if len(starts) > 0 {
		fmt.Fprintf(p.err, "not deployed: %s of the trace\n", core.Count(len(starts), "function", "functions"))
	}
	return nil
}

// startOf returns the function that an event in a log has started. A warm event has started nothing.
func startOf(line []byte) (function string, started bool) {
	event := false
	for word := range bytes.FieldsSeq(line) {
		switch key, value, _ := strings.Cut(string(word), "="); key {
		case "msg":
			event = value == "event"
		case "fn":
			function = value
		case "start":
			started = value == string(core.StartFork) || value == string(core.StartCold)
		}
	}
	return function, event && started && function != ""
}

func (p *program) drawPlan(made treePlan) error {
	fmt.Fprintf(p.out, "%s, %s of %s; a start imports %v on average, without zygotes %v\n", core.Count(len(made.Zygotes), "zygote", "zygotes"),
		humanBytes(made.Bytes), humanBytes(made.Budget), rounded(made.Left), rounded(made.Without))
	if len(made.Zygotes) == 0 {
		return nil
	}
	rows := [][]string{{"ZYGOTE", "RUNTIME", "SET", "MEMORY", "SAVES", "TOTAL", "FUNCTIONS"}}
	var draw func(parent int, below string)
	draw = func(parent int, below string) {
		var children []int
		for i, z := range made.Zygotes {
			if z.Parent == parent {
				children = append(children, i)
			}
		}
		for n, i := range children {
			z := made.Zygotes[i]
			branch, next := "├─ ", "│  "
			if n == len(children)-1 {
				branch, next = "└─ ", "   "
			}
			if parent < 0 {
				branch, next = "", ""
			}
			is := shortSet(core.NodeInfo{Set: z.Set})
			rows = append(rows, []string{below + branch + strconv.Itoa(i), string(z.Runtime), is, humanBytes(z.Bytes),
				rounded(z.Saves).String(), rounded(z.Total).String(), strconv.Itoa(z.Functions)})
			draw(i, below+next)
		}
	}
	draw(-1, "")
	return p.table(rows)
}

// explanation is how one function starts.
type explanation struct {
	plannedStart
	Zygote *plannedZygote `json:"zygote,omitempty"` // none for a root zygote
	More   int64          `json:"more"`             // bytes
	After  time.Duration  `json:"left_with_more"`   // of imports, with so much more memory
	All    time.Duration  `json:"all_with_more"`    // of imports, of all starts on average
}

// explainPlan says how one function starts, and what more memory would buy.
func (p *program) explainPlan(d core.Demand, made treePlan, name string, asJSON bool) error {
	is := func(s plannedStart) bool { return s.Name == name }
	at := slices.IndexFunc(made.Functions, is)
	if at < 0 {
		var names []string
		for _, f := range made.Functions {
			names = append(names, f.Name)
		}
		return core.Errorf(core.KindNotFound, core.FaultCaller, "the plan has no function %q%s", name, nearest.Question(name, names))
	}
	more := makePlan(d, made.Budget+anotherMemory)
	e := explanation{plannedStart: made.Functions[at], More: anotherMemory, After: more.Functions[at].Left, All: more.Left}
	if e.From >= 0 {
		e.Zygote = &made.Zygotes[e.From]
	}
	if asJSON {
		return p.printJSON(e)
	}
	line := name + " starts from the root zygote"
	if e.Zygote != nil {
		line = fmt.Sprintf("%s starts from zygote %d, which saves %v of each start: %s",
			name, e.From, rounded(e.Zygote.Saves), listed(e.Zygote.Set, made.costs))
	}
	fmt.Fprintln(p.out, p.wrapped(line))
	if len(e.Import) > 0 {
		fmt.Fprintln(p.out, p.wrapped(fmt.Sprintf("it imports %v itself: %s", rounded(e.Left), listed(e.Import, made.costs))))
	}
	fmt.Fprintln(p.out, p.wrapped(fmt.Sprintf("with %s more it would import %v, and a start of any function %v on average instead of %v",
		humanBytes(e.More), rounded(e.After), rounded(e.All), rounded(made.Left))))
	return nil
}

// listed prints packages, those that take longest first.
func listed(set core.Set, costs map[core.Package]time.Duration) string {
	sorted := slices.SortedStableFunc(slices.Values(set), func(a, b core.Package) int { return int(costs[b] - costs[a]) })
	var words []string
	for _, one := range sorted {
		cost := "not measured"
		if took := costs[one]; took > 0 {
			cost = rounded(took).String()
		}
		words = append(words, fmt.Sprintf("%s (%s)", one, cost))
	}
	return strings.Join(words, ", ")
}

// rounded prints no more than people read.
func rounded(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
