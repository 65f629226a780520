package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) version() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the version of this program",
		Long:    "Show the version of this program, the commit and the Go release it was built with.",
		Example: "  pipsqueak version\n  pipsqueak version -o json",
		GroupID: groupServer,
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		b := core.BuildOf()
		if as.json() {
			return p.printJSON(b)
		}
		_, err := fmt.Fprintf(p.out, "pipsqueak %s\n", b)
		return err
	}
	return cmd
}
