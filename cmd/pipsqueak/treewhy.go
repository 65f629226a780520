package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/nearest"
)

// nodeReason is why one node is there, and what has to go before it when memory is short.
type nodeReason struct {
	core.NodeInfo
	Children int `json:"children"`
	Before   int `json:"before"` // nodes that go before it
}

// whyNode explains one node of a snapshot.
func (p *program) whyNode(s core.Snapshot, id string, asJSON bool) error {
	children, names := map[core.NodeID]int{}, []string{}
	for _, n := range s.Nodes {
		children[n.Parent]++
		names = append(names, string(n.ID))
	}
	at := slices.Index(names, id)
	if at < 0 {
		return core.Errorf(core.KindNotFound, core.FaultCaller, "the tree has no node %q%s", id, nearest.Question(id, names))
	}
	why := nodeReason{NodeInfo: s.Nodes[at], Children: children[core.NodeID(id)]}
	for _, n := range s.Nodes {
		if n.Parent != "" && n.State != "busy" && n.State != "making" && children[n.ID] == 0 && (n.Value < why.Value || why.Parent == "") {
			why.Before++
		}
	}
	if asJSON {
		return p.printJSON(why)
	}
	for _, line := range why.lines(id) {
		fmt.Fprintln(p.out, p.wrapped(line))
	}
	return nil
}

// lines says it in words.
func (n nodeReason) lines(id string) (lines []string) {
	is, uses := fmt.Sprintf("an instance of %s", n.Function), "starts and events"
	if n.Role == core.RoleZygote {
		is, uses = fmt.Sprintf("a zygote of %s with %s", n.Runtime, strings.Join(importedNames(n.NodeInfo), ", ")), "forks"
	}
	if n.Parent == "" {
		is = "the root zygote of " + string(n.Runtime)
	}
	lines = append(lines, fmt.Sprintf("%s is %s, forked from %s", id, is, n.Parent))
	if n.Parent == "" {
		lines[0] = id + " is " + is
	}
	lines = append(lines, fmt.Sprintf("it saves %v each time; %s count %.1f, older ones for less", rounded(n.Saves), uses, n.Use))
	free := n.Private
	if free == 0 {
		free = n.Memory
	}
	worth := time.Duration(n.Value * float64(time.Second))
	switch {
	case n.Spare:
		lines = append(lines, "the worker's plan does without it: it is evicted first when memory is short")
	case n.Parent == "":
		lines = append(lines, "it is evicted after everything else")
	case free > 0:
		lines = append(lines, fmt.Sprintf("its end frees %s, and it is worth %v for each MiB of them", humanBytes(free), rounded(worth)))
	}
	if n.Children > 0 {
		lines = append(lines, fmt.Sprintf("%s of it must end before it", core.Count(n.Children, "child", "children")))
	}
	return append(lines, fmt.Sprintf("%s worth less now, and evicted before it", core.Count(n.Before, "node is", "nodes are")))
}
