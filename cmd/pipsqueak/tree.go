package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) tree() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Show the live tree of processes",
		Long: `Show all live processes. A node is the root zygote of a runtime, a zygote that only forks and has
imported a set of packages ({…}; modules of the language, if it is for no packages), or an instance,
which serves the named function. MEMORY is a node's share of its pages (PSS), PRIVATE the memory that
it shares with nobody. Behind the STATE of an instance with 'concurrency' is how many events it has
now. Modules that no zygote may import, so that the instances of a function import them, are listed
with the reason. -o json has everything: whole sets with versions, modules, and how
often a zygote was rebuilt. --why explains one node: what it saves, how much it is used, and what is
evicted before it when memory is short.`,
		Example: "  pipsqueak tree\n  pipsqueak tree --why zygote-1\n  pipsqueak tree -o json | jq '.nodes | length'",
		GroupID: groupServer,
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "the same as -o json")
	why := cmd.Flags().String("why", "", "explain this `NODE`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		snapshot, err := p.client().Snapshot(cmd.Context())
		if err != nil {
			return err
		}
		if *why != "" {
			return p.whyNode(snapshot, *why, *asJSON || as.json())
		}
		if *asJSON || as.json() {
			return p.printJSON(snapshot)
		}
		return p.drawTree(snapshot)
	}
	return cmd
}

func (p *program) drawTree(s core.Snapshot) error {
	count := map[core.Role]int{}
	children := map[core.NodeID][]core.NodeInfo{}
	known := map[core.NodeID]bool{}
	for _, n := range s.Nodes {
		count[n.Role]++
		known[n.ID] = true
	}
	for _, n := range s.Nodes {
		if !known[n.Parent] {
			n.Parent = "" // it outlived its parent's entry: better drawn as a root than not at all
		}
		children[n.Parent] = append(children[n.Parent], n)
	}
	fmt.Fprintf(p.out, "%d zygotes, %d instances, %s of %s\n",
		count[core.RoleZygote], count[core.RoleInstance], humanBytes(s.Memory), humanBytes(s.Budget))
	for _, d := range s.Drivers {
		if d.Error != "" {
			fmt.Fprintf(p.out, "driver %s: %s\n", d.Language, d.Error)
		}
	}
	said := map[string]bool{}
	for _, n := range s.Nodes {
		for _, line := range reasons(n.Apart) {
			if line = "apart in " + n.Function + ": " + line; !said[line] {
				said[line] = true
				fmt.Fprintln(p.out, p.wrapped(line))
			}
		}
	}
	if len(s.Nodes) == 0 {
		return nil
	}
	rows := [][]string{{"NODE", "", "STATE", "MEMORY", "PRIVATE", "SERVED", "AGE"}}
	var draw func(n core.NodeInfo, own, below string)
	draw = func(n core.NodeInfo, own, below string) {
		rows = append(rows, nodeRow(s, n, own))
		for i, child := range children[n.ID] {
			if i == len(children[n.ID])-1 {
				draw(child, below+"└─ ", below+"   ")
			} else {
				draw(child, below+"├─ ", below+"│  ")
			}
		}
	}
	for _, root := range children[""] {
		draw(root, "", "")
	}
	return p.table(rows)
}

func nodeRow(s core.Snapshot, n core.NodeInfo, branch string) []string {
	is, state, served := shortSet(n), n.State, core.Count(n.Forks, "fork", "forks")
	if n.UnderWay > 0 {
		state = fmt.Sprintf("%s (%d)", state, n.UnderWay)
	}
	switch {
	case n.Role == core.RoleInstance:
		is, served = n.Function, core.Count(n.Events, "event", "events")
	case n.Parent == "":
		is = string(n.Runtime)
	}
	return []string{branch + string(n.ID), is, state, measured(n.Memory), measured(n.Private), served, humanAge(s.Time.Sub(n.Born))}
}

// measured prints a measure that is 0 before the first time.
func measured(n int64) string {
	if n == 0 {
		return "-"
	}
	return humanBytes(n)
}

// wrapped breaks a line for a terminal between words, and indents what follows.
func (p *program) wrapped(line string) string {
	if p.wide {
		return line
	}
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(line) {
		size := utf8.RuneCountInString(word)
		if i > 0 && column+1+size > lineWidth {
			b.WriteString("\n   ")
			column = 3
		}
		if i > 0 {
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += size
	}
	return b.String()
}

// importedNames returns what a zygote has imported: packages, or modules of the language if it has no
// package.
func importedNames(n core.NodeInfo) (names []string) {
	if len(n.Set) == 0 {
		return n.Modules
	}
	for _, p := range n.Set {
		names = append(names, p.Name)
	}
	return names
}

// shortSet prints the first names of what a zygote has imported.
func shortSet(n core.NodeInfo) string {
	const most = 18 // bytes
	short, names := "", importedNames(n)
	for i, name := range names {
		if i > 0 && len(short)+len(name) > most {
			return fmt.Sprintf("{%s +%d}", short, len(names)-i)
		}
		short = strings.TrimSpace(short + " " + name)
	}
	return "{" + short + "}"
}
