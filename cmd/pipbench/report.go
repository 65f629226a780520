package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/report"
)

func reportCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "report RUN… --out FILE",
		Short: "Make a page of what runs have measured",
		Long: `Write one page of HTML, which needs nothing else: distributions of latency with their tails, starts over
time, the phases of starts by language, memory over time, and tables with intervals of confidence. A RUN is
a file that 'pipbench run' has written; the others are compared with the first.`,
		Example: "  pipbench report bench/command.jsonl bench/pipsqueak.jsonl --out bench/report.html",
	}
	path := c.Flags().String("out", "", "`FILE` to write the page to")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return errors.New("name a file of results")
		case *path == "":
			return errors.New("--out: name a file to write the page to")
		}
		return nil
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		runs, err := openRuns(args)
		if err != nil {
			return err
		}
		file, err := os.Create(*path)
		if err != nil {
			return err
		}
		if err := errors.Join(report.Write(file, runs), file.Close()); err != nil {
			return err
		}
		fmt.Fprintln(out, *path)
		return nil
	}
	return c
}
