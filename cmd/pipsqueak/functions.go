package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) list() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the deployed functions",
		Long:    "List the deployed functions, sorted by name.",
		Example: "  pipsqueak list\n  pipsqueak list -o json | jq -r '.[].name'",
		GroupID: groupFunctions,
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		functions, err := p.client().functions(cmd.Context())
		if err != nil {
			return err
		}
		if as.json() {
			return p.printJSON(functions)
		}
		if len(functions) == 0 {
			fmt.Fprintln(p.err, "No functions yet; deploy one with 'pipsqueak deploy DIR'.")
			return nil
		}
		rows := [][]string{{"NAME", "VERSION", "RUNTIME", "HANDLER", "PACKAGES", "MEMORY", "TIMEOUT", "AGE", "VULNERABLE"}}
		for _, f := range functions {
			rows = append(rows, []string{f.Name, strconv.Itoa(f.Version), string(f.Runtime), f.Handler, strconv.Itoa(len(f.Packages)),
				humanBytes(f.Limits.Memory), humanDuration(f.Limits.Timeout), humanAge(p.now().Sub(f.Deployed)), cmp.Or(string(f.Vulnerable), "-")})
		}
		return table(p.out, rows)
	}
	return cmd
}

func (p *program) describe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show everything about one function",
		Long: `Show everything about one function: its limits, what its code imports, and its packages at their exact versions. SIGNATURE is who has
signed the archive of a package, as far as its registry has signatures; LICENCE is what the package says of itself.`,
		Example:           "  pipsqueak describe hello",
		GroupID:           groupFunctions,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFunction,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := p.client().function(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		packages, err := p.client().packagesOf(cmd.Context(), f)
		if err != nil {
			return err
		}
		if as.json() {
			return p.printJSON(struct {
				core.Function
				Installed []core.Installed `json:"installed"`
			}{f, packages})
		}
		vulnerable, err := p.vulnerabilityRows(cmd.Context(), f.Name)
		if err != nil {
			return err
		}
		if err := table(p.out, append(p.describeRows(f), vulnerable...)); err != nil || len(packages) == 0 {
			return err
		}
		fmt.Fprintln(p.out)
		return table(p.out, packageRows(packages))
	}
	return cmd
}

func (p *program) describeRows(f core.Function) [][]string {
	reuse := "yes"
	if !f.Limits.Reuse {
		reuse = "no: every event gets a fresh instance"
	}
	rows := [][]string{
		{"name", f.Name},
		{"version", strconv.Itoa(f.Version)},
		{"runtime", string(f.Runtime)},
		{"handler", f.Handler},
		{"deployed", f.Deployed.UTC().Format(time.DateTime) + " UTC, " + humanAge(p.now().Sub(f.Deployed)) + " ago"},
		{"code", f.Code},
		{"memory", humanBytes(f.Limits.Memory)},
		{"timeout", humanDuration(f.Limits.Timeout)},
		{"instances", "at most " + strconv.Itoa(f.Limits.MaxInstances)},
		{"idle timeout", humanDuration(f.Limits.IdleTimeout)},
		{"reuse", reuse},
	}
	if len(f.Signers) > 0 {
		rows = append(rows, []string{"signed by", strings.Join(f.Signers, ", ")})
	}
	several := func(title string, values []string) {
		for _, v := range values {
			rows = append(rows, []string{title, v})
			title = ""
		}
	}
	var env []string
	for _, key := range slices.Sorted(maps.Keys(f.Env)) {
		env = append(env, key+"="+f.Env[key])
	}
	several("env", env)
	if len(f.Imports) > 0 {
		rows = append(rows, []string{"imports", strings.Join(f.Imports, ", ")})
	}
	if len(f.Loaded) > 0 {
		rows = append(rows, []string{"loaded", strings.Join(f.Loaded, ", ")})
	}
	several("apart", reasons(f.Apart))
	return rows
}

// reasons are a line for each module that is imported in instances, and why.
func reasons(apart map[string]string) (lines []string) {
	for _, module := range slices.Sorted(maps.Keys(apart)) {
		lines = append(lines, module+": "+apart[module])
	}
	return lines
}

func (p *program) remove() *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove a function",
		Long:              "Remove a function. Its idle instances end, its busy ones finish their events.",
		Example:           "  pipsqueak remove hello",
		GroupID:           groupFunctions,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFunction,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.client().remove(cmd.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintf(p.out, "removed %s\n", args[0])
			return nil
		},
	}
}

func (p *program) logs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show what a function has printed",
		Long: `Show what the handlers of a function have printed, oldest first: time, instance, stream and text. What the worker has to
say of the function is among it, as stream "worker".`,
		Example:           "  pipsqueak logs hello\n  pipsqueak logs hello -f\n  pipsqueak logs hello -o json | jq -r 'select(.stream == \"stderr\").text'",
		GroupID:           groupFunctions,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFunction,
	}
	follow := cmd.Flags().BoolP("follow", "f", false, "go on with new lines until interrupted")
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		accept := "text/plain"
		if as.json() {
			accept = "application/x-ndjson"
		}
		err := p.client().logs(cmd.Context(), args[0], accept, *follow, p.out)
		if ended := *follow && cmd.Context().Err() != nil; ended {
			err = nil // an interrupt is how following ends
		}
		return err
	}
	return cmd
}
