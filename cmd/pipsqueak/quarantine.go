package main

import (
	"context"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) storeQuarantine() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quarantine [PACKAGE[VERSIONS]]",
		Short: "Forbid versions of a package, or list what is forbidden",
		Long: `Forbid versions of a package, whether the server has one or not: deploys that need it are refused,
processes that have loaded it end when they have answered, and events for functions that use it are
answered with an error, until 'pipsqueak store release' allows it again. Without a package it lists
the rules.

Name the package as its registry and advisories do: requests, @babel/core, rack, openssl (a Debian
package or its source). If several registries have the name, a package URL chooses one:
pkg:npm/debug.

The versions are one version (==2.32.0) or several ("3.3.6, 4.0.0"), comparisons (>=2.31,<2.32.2,
alternatives separated by ||), a range in the registry's syntax (^1.2, ~> 1.2, ==1.*), or, after an
@, any range of npm's (debug@1.x). Without versions all are meant. Most shells need quotes around
such a text.`,
		Example: "  pipsqueak store quarantine requests==2.32.0 --reason CVE-2026-1\n  pipsqueak store quarantine '@babel/core>=7.2,<7.4.1'\n  pipsqueak store quarantine",
		Args:    cobra.MaximumNArgs(1),
	}
	reason := cmd.Flags().String("reason", "forbidden by hand", "`TEXT` for users who need the package")
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return p.printForbidden(cmd, as)
		}
		rule := readRule(args[0])
		rule.Reason = *reason
		return p.forbid(cmd, "quarantine", p.client().Quarantine, rule)
	}
	return cmd
}

func (p *program) storeRelease() *cobra.Command {
	return &cobra.Command{
		Use:   "release PACKAGE[VERSIONS]",
		Short: "Allow versions of a package that were forbidden",
		Long: `Allow versions of a package that were forbidden, as 'pipsqueak store quarantine' lists them. Damaged
packages stay in quarantine.`,
		Example: "  pipsqueak store release requests==2.32.0",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.forbid(cmd, "release", p.client().Release, readRule(args[0]))
		},
	}
}

// ruleParts are the name of a package, which may begin with an @, and versions.
var ruleParts = regexp.MustCompile(`^(pkg:\w+/@[^@<>=!~^\s]+|@?[^@<>=!~^\s]+)\s*(?:@\s*(.*)|([<>=!~^].*)|\s(v?\d.*))?$`)

// readRule divides a text into a name and versions. Any other text becomes a name, which the server refuses.
func readRule(text string) core.Forbidden {
	m := ruleParts.FindStringSubmatch(text)
	if m == nil {
		return core.Forbidden{Name: text}
	}
	return core.Forbidden{Name: m[1], Versions: m[2] + m[3] + m[4]}
}

// forbid sends a rule of the quarantine by one of the client's methods, and says which packages it covers.
func (p *program) forbid(cmd *cobra.Command, verb string, send func(context.Context, core.Forbidden) ([]core.Installed, error), rule core.Forbidden) error {
	all, err := send(cmd.Context(), rule)
	if err != nil {
		return err
	}
	for _, one := range all {
		if _, err := fmt.Fprintf(p.out, "%s %s for %s\n", verb, one, one.Runtime); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		fmt.Fprintf(p.err, "%s %s: the server has no such package yet\n", verb, rule)
	}
	return nil
}

func (p *program) printForbidden(cmd *cobra.Command, as *format) error {
	inventory, err := p.client().Inventory(cmd.Context())
	if err != nil {
		return err
	}
	if as.json() {
		return p.printJSON(inventory.Forbidden)
	}
	rows := [][]string{{"FORBIDDEN", "SINCE", "REASON"}}
	for _, rule := range inventory.Forbidden {
		rows = append(rows, []string{rule.String(), humanAge(p.now().Sub(rule.Added)), rule.Reason})
	}
	return p.table(rows)
}
