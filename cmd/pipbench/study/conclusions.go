package study

import (
	"fmt"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/coldstart"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/compare"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
)

// conclusions are what the numbers say, in words: what the tree saves, and where it loses.
func (m measured) conclusions() (all []string) {
	add := func(format string, args ...any) { all = append(all, "- "+fmt.Sprintf(format, args...)) }
	for _, language := range profile.Languages {
		c := coldstart.Cell{Language: language, Count: 5, Cost: "median"}
		process, root, zygote := coldstart.Median(m.starts, c, coldstart.Process), coldstart.Median(m.starts, c, coldstart.Root), coldstart.Median(m.starts, c, coldstart.Zygote)
		add("In %s, a function with five packages of median cost starts in %v ms from a zygote that has imported them, in %v ms from the root, and in %v ms as a new process: %v times as long.",
			titles[language], zygote, root, process, process/zygote)
	}
	var lost []string
	for _, r := range m.starts {
		if r.Kind == coldstart.Zygote && r.Ratio != nil && r.Ratio[0].Value >= 1 {
			lost = append(lost, fmt.Sprintf("%s with %s", titles[r.Cell.Language], r.Name()))
		}
	}
	if len(lost) > 0 {
		add("A fork from a full zygote is no faster than a new process, which has no sandbox, in these cells: %s.", strings.Join(lost, ", "))
	} else {
		add("A fork from a full zygote is faster than a new process in every cell, although it has a sandbox and the process has none.")
	}
	lost = nil
	for _, name := range m.names() {
		if m.median(2, name) >= m.median(0, name) {
			lost = append(lost, name)
		}
	}
	if len(lost) > 0 {
		add("Of the %d real functions these are no faster with the tree than as new processes: %s.", len(m.names()), strings.Join(lost, ", "))
	} else {
		add("Each of the %d real functions is faster with the tree than as a new process.", len(m.names()))
	}
	return append(all, m.ofTrace()...)
}

// ofTrace are the conclusions about the trace.
func (m measured) ofTrace() (all []string) {
	add := func(format string, args ...any) { all = append(all, "- "+fmt.Sprintf(format, args...)) }
	every := func(results.Request) bool { return true }
	var rows []compare.Row
	for _, r := range m.traces {
		rows = append(rows, compare.Of(times(r, every), nil))
	}
	for share, name := range []string{"median", "", "99th percentile"} {
		a, b, c := rows[0].Latency[share].Value, rows[1].Latency[share].Value, rows[2].Latency[share].Value
		if name == "" || !rows[2].Latency[share].IsKnown() {
			continue
		}
		verdict := "less than both"
		switch {
		case c >= a && c >= b:
			verdict = "more than both"
		case c >= a:
			verdict = "more than as new processes"
		case c >= b:
			verdict = "no less than without the tree"
		}
		add("In the trace the %s is %v ms with the tree, %v ms without it and %v ms as new processes: %s.", name, c, b, a, verdict)
	}
	a, b, c := m.memory(0), m.memory(1), m.memory(2)
	add("Memory times time of the trace is %v GB·s with the tree, %v without it, and %v as new processes, which are gone after each event: that is what speed is paid with.", c, b, a)
	return all
}
