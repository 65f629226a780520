package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/compare"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
)

func compareCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "compare RUN…",
		Short: "Compare what runs have measured",
		Long: `Print percentiles of latency for each run, language and kind of start, with intervals of confidence of 95 %,
and how they differ from those of the first run. A RUN is a file that 'pipbench run' has written. What
events asked functions to spend is taken off the latency.`,
		Example: "  pipbench compare bench/command.jsonl bench/pipsqueak.jsonl",
	}
	format := c.Flags().String("format", "text", "`FORMAT` of the table: text, csv or json")
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("name a file of results")
		}
		if compare.Formats[*format] == nil {
			return fmt.Errorf("--format: %q is not one of text, csv, json", *format)
		}
		return nil
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		runs, err := openRuns(args)
		if err != nil {
			return err
		}
		return compare.Formats[*format](compare.Runs(runs), out)
	}
	return c
}

// openRuns reads files of results.
func openRuns(paths []string) (runs []*results.Run, err error) {
	for _, path := range paths {
		r, err := results.Open(path)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, nil
}
