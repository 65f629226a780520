package main

import (
	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine can do, and how to fix what it cannot",
		Long: `Examine this machine, without a server: namespaces, cgroups, each driver and each runtime. It tries
what it can, such as a zygote of each runtime in a sandbox, and leaves nothing behind. For anything
missing it says how to fix it. The exit status is 1 if a requirement is missing; a warning does not
count. Run it as the user who will serve.`,
		Example: "  sudo pipsqueak doctor\n  sudo pipsqueak doctor -o json",
		GroupID: groupServer,
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	config := placeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		found := p.checks(cmd.Context(), *config)
		if err := p.printChecks(found, as.json()); err != nil {
			return err
		}
		failed := 0
		for _, c := range found {
			if c.Status == core.StatusFail {
				failed++
			}
		}
		if failed > 0 {
			return core.Errorf(core.KindUnsupported, core.FaultWorker, "%d of %d checks failed; this machine cannot serve yet", failed, len(found))
		}
		return nil
	}
	return cmd
}

func (p *program) printChecks(found []core.Finding, asJSON bool) error {
	if asJSON {
		if found == nil {
			found = []core.Finding{}
		}
		return p.printJSON(found)
	}
	var rows [][]string
	for _, c := range found {
		rows = append(rows, []string{string(c.Status), c.Name, c.Detail})
		if c.Fix != "" && c.Status != core.StatusOK {
			rows = append(rows, []string{"", "", "→ " + c.Fix})
		}
	}
	return table(p.out, rows)
}
