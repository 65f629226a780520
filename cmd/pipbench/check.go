package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/check"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

func checkCommand(out, complaints io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "check DIR",
		Short: "Compare artificial packages with their profile",
		Long: `Compare the packages below DIR, which 'pipbench packages' has made, with the profile from which they were
drawn: attributes and their correlations, closures, versions, constraints and popularity, by statistical
tests. Then read all archives again, install a few packages of each language by its own installer, and
compare what their imports cost with what they say. It exits with 1 if something differs.`,
		Example: "  pipbench check bench",
	}
	file := c.Flags().String("profile", "", "`FILE` of the profile, if the packages are not from one that comes with pipbench")
	measure := c.Flags().Int("measure", 8, "measure the imports of `N` packages of each language")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) != 1:
			return errors.New("name the directory of the packages")
		case *measure < 0:
			return errors.New("--measure: no number is below 0")
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		catalogs, err := packages.Open(args[0])
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "language\twhat\tn\tis\tprofile\tby chance\t")
		var bad []string
		for _, one := range catalogs {
			p, err := profileOf(one, *file)
			if err != nil {
				return err
			}
			findings := append(check.Catalog(one, p), check.Archives(one, args[0]))
			if *measure > 0 {
				show := func(name string) { fmt.Fprintln(complaints, "import", one.Language, name) }
				measured, err := check.Costs(cmd.Context(), one, args[0], *measure, show)
				if err != nil {
					return fmt.Errorf("%s: %w", one.Language, err)
				}
				findings = append(findings, measured...)
			}
			for _, f := range findings {
				verdict := ""
				if f.Bad {
					verdict = "differs"
					bad = append(bad, one.Language+" "+f.What)
				}
				chance := "–"
				if !math.IsNaN(f.P) {
					chance = fmt.Sprintf("%.2g", f.P)
				}
				is, want := cmp.Or(f.Is, "–"), cmp.Or(f.Want, "–")
				fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", one.Language, f.What, f.N, is, want, chance, verdict)
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
		if len(bad) > 0 {
			return fmt.Errorf("these differ from the profile: %s", strings.Join(slices.Compact(bad), ", "))
		}
		return nil
	}
	return c
}

// profileOf is the profile of a catalog: that of a file, if it is for the language, or the shipped one of its
// name.
func profileOf(c *packages.Catalog, file string) (*profile.Profile, error) {
	p, err := choose(file, c.Language, file != "")
	if err == nil && p.Name != c.Profile {
		return nil, fmt.Errorf("--profile: the packages for %s are of the profile %s: name its file", c.Language, c.Profile)
	}
	return p, err
}
