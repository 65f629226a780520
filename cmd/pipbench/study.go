package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/study"
)

func studyCommand(complaints io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "study --work DIR --out DIR",
		Short: "Measure Pipsqueak in all languages, and write a paper",
		Long: `Measure starts of artificial functions as 'pipbench coldstart' does, a trace, and real functions, on Pipsqueak
with its tree and without it, and as new processes, and write a paper with figures and tables about that. It
starts workers, so it needs root, and installs packages of the real functions from the languages' registries.
An interrupted study goes on when it is run again with the same --work.`,
		Example: "  sudo pipbench study --work build/study --out docs/study",
	}
	o := study.Options{Progress: complaints}
	c.Flags().StringVar(&o.Work, "work", "", "`DIR` of everything that is measured")
	c.Flags().StringVar(&o.Out, "out", "", "`DIR` of the paper")
	c.Flags().StringVar(&o.Worker, "worker", besideProgram("pipsqueak"), "`PROGRAM` that serves functions")
	c.Flags().BoolVar(&o.Quick, "quick", false, "the short form, in some minutes: it shows that everything runs")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) > 0:
			return errors.New("a study makes its packages and functions itself: only --work and --out say where")
		case o.Work == "" || o.Out == "":
			return errors.New("--work, --out: name a directory for what is measured, and one for the paper")
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return study.Run(cmd.Context(), o) }
	return c
}
