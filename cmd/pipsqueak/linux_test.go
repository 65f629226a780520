package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TestNeedLinux: on another system the commands that make sandboxes are there, whatever flags they are given,
// and say what they need.
func TestNeedLinux(t *testing.T) {
	here := (&program{}).ofMachine()
	there := needLinux("windows")
	if want, got := namesOf(here), namesOf(there); !slices.Equal(want, got) {
		t.Errorf("commands %v, on Linux %v", got, want)
	}
	for _, cmd := range there {
		root := &cobra.Command{Use: "pipsqueak", SilenceErrors: true, SilenceUsage: true}
		root.AddGroup(&cobra.Group{ID: groupServer})
		root.AddCommand(cmd)
		root.SetArgs([]string{cmd.Name(), "--data", "/x", "mirror", "-o", "json"})
		err := root.Execute()
		if !core.IsKind(err, core.KindUnsupported) || !strings.Contains(err.Error(), "'pipsqueak "+cmd.Name()+"'") || !strings.Contains(err.Error(), "needs Linux, and this is windows") {
			t.Errorf("%s: %v", cmd.Name(), err)
		}
	}
}

func namesOf(all []*cobra.Command) (names []string) {
	for _, cmd := range all {
		names = append(names, cmd.Name())
	}
	slices.Sort(names)
	return names
}
