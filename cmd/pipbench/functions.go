package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
)

func functionsCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "functions DIR --count N",
		Short: "Make functions that use artificial packages",
		Long: `Draw functions for the packages below DIR, which 'pipbench packages' has made, and write them to
DIR/functions: N for each language. How many packages one requires, and which of them it imports, follows
the profile of its language. functions.json says what each requires, and from what its answers follow. The
same seed gives the same bytes.`,
		Example: "  pipbench functions bench --count 20 --seed 1",
	}
	count := c.Flags().Int("count", 20, "make `N` functions for each language")
	seed := c.Flags().Uint64("seed", 1, "`S` from which everything is drawn")
	languages := c.Flags().StringSlice("language", nil, "for `LANGUAGE` alone; several are separated by commas")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) != 1:
			return errors.New("name the directory of the packages")
		case *count < 1:
			return errors.New("--count: make one function at least")
		}
		return nil
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		set, err := functions.Write(args[0], *languages, *count, *seed)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d functions in %s\n", len(set.Functions), filepath.Join(args[0], "functions"))
		return nil
	}
	return c
}
