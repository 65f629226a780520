package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

func TestTreeWhy(t *testing.T) {
	w := newWorld()
	nodes := w.tree.Nodes
	nodes[1].Use, nodes[1].Saves, nodes[1].Value = 7.25, 310*time.Millisecond, 0.045
	nodes[3].Value, nodes[4].Value = 0.01, 0.09
	pipsqueak(t, w, "", "tree", "--why", "n2").want(t, 0, `n2 is a zygote of python3.11 with numpy, pandas, pytz, six, tzdata, forked from
    n1
it saves 310ms each time; forks count 7.2, older ones for less
its end frees 50.0 MiB, and it is worth 45ms for each MiB of them
2 children of it must end before it
2 nodes are worth less now, and evicted before it
`, "")
	if got := pipsqueak(t, w, "", "tree", "--why", "n1"); !strings.Contains(got.out, "n1 is the root zygote of python3.11\n") || !strings.Contains(got.out, "after everything else") ||
		!strings.HasSuffix(got.out, "3 nodes are worth less now, and evicted before it\n") {
		t.Errorf("%+v", got)
	}
	nodes[1].Spare = true
	if got := pipsqueak(t, w, "", "tree", "--why", "n2"); !strings.Contains(got.out, "the worker's plan does without it") {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, w, "", "tree", "--why", "n4"); !strings.HasPrefix(got.out, "n4 is an instance of report, forked from n2\n") {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, w, "", "tree", "--why", "n44"); got.status != 1 || !strings.Contains(got.err, `the tree has no node "n44"`) {
		t.Errorf("%+v", got)
	}
	var why nodeReason
	coretest.Must(t, json.Unmarshal([]byte(pipsqueak(t, w, "", "tree", "--why", "n2", "-o", "json").out), &why))
	if why.ID != "n2" || why.Children != 2 || why.Use != 7.25 {
		t.Errorf("%+v", why)
	}
}
