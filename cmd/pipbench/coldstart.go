package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/coldstart"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

func coldstartCommand(out, complaints io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "coldstart --out DIR",
		Short: "Measure how long functions take to start, in every language",
		Long: `Start the same function in every language: with 0, 1, 5 and 20 artificial packages of light, median and heavy
cost (the quantiles 0.25, 0.5 and 0.9 of the language's profile), as a new process, in a new sandbox, as a fork
from the root zygote and from a zygote with all packages, as a child that was parked ahead, and warm. It starts
workers of Pipsqueak for this, so it needs root. It writes tables (starts.md, starts.csv) and a figure for each
language, and one that puts them side by side. An interrupted command goes on when it is run again.`,
		Example: "  sudo pipbench coldstart --out coldstart",
	}
	o := coldstart.Options{Progress: complaints}
	c.Flags().StringVar(&o.Out, "out", "", "`DIR` of the results, and of what they are measured with")
	c.Flags().StringVar(&o.Worker, "worker", besideProgram("pipsqueak"), "`PROGRAM` that serves functions")
	c.Flags().StringSliceVar(&o.Languages, "language", profile.Languages, "`LANGUAGE` that is measured; repeat for more")
	c.Flags().IntVar(&o.Starts, "starts", 20, "measure `N` starts of each kind and function, and of new sandboxes a quarter as many")
	c.Flags().BoolVar(&o.Quick, "quick", false, "measure functions without packages and with few of median cost only")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) > 0:
			return errors.New("coldstart makes its packages and functions itself: only --out says where")
		case o.Out == "":
			return errors.New("--out: name a directory for the results")
		case o.Starts < 2:
			return errors.New("--starts: a median is of two starts at least")
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		samples, err := coldstart.Run(cmd.Context(), o)
		if err != nil {
			return err
		}
		rows := coldstart.Rows(samples)
		if err := coldstart.Write(rows, o.Out); err != nil {
			return err
		}
		for _, language := range o.Languages {
			fmt.Fprintf(out, "%s, milliseconds, median\n%s\n", language, coldstart.Table(rows, language))
		}
		return nil
	}
	return c
}

// besideProgram is a program in the directory of this one.
func besideProgram(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}
