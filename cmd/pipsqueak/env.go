package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
)

func (p *program) env() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Change the environment of a function without an upload",
		Long: `Change the environment of a function without an upload. What is set here comes before what env in
pipsqueak.yaml says, and stays when the function is deployed again. Each change makes a new version of
the function: its handler is imported once, later instances have the new environment, and earlier ones
end after their events.`,
		GroupID: groupFunctions,
		Args:    cobra.NoArgs,
	}
	cmd.AddCommand(p.envSet(), p.envUnset(), p.envList())
	return cmd
}

func (p *program) envSet() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "set FUNCTION NAME=VALUE...",
		Short:             "Set environment variables of a function",
		Long:              "Set environment variables of a function. Other users of this machine can read a command line: keep secrets\nby 'pipsqueak secret set'.",
		Example:           "  pipsqueak env set hello LEVEL=debug REGION=eu",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: p.completeFunction,
	}
	options := changeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		change := core.EnvChange{Function: args[0], Set: map[string]string{}}
		for _, one := range args[1:] {
			name, value, found := strings.Cut(one, "=")
			if !found {
				return core.Errorf(core.KindInvalid, core.FaultCaller, "%.150q has no '=': write NAME=VALUE", one)
			}
			change.Set[name] = value
		}
		return p.changeEnv(cmd, change, options())
	}
	return cmd
}

func (p *program) envUnset() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unset FUNCTION NAME...",
		Short: "Take back environment variables that were set",
		Long: `Take back environment variables that 'pipsqueak env set' has set. A variable that pipsqueak.yaml has too
gets its value from there again.`,
		Example:           "  pipsqueak env unset hello LEVEL",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: p.completeFunction,
	}
	options := changeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.changeEnv(cmd, core.EnvChange{Function: args[0], Unset: args[1:]}, options())
	}
	return cmd
}

// changeFlags gives a command the flags of a deploy that a change has too. What is returned has the options
// of the request.
func changeFlags(cmd *cobra.Command) func() url.Values {
	force := cmd.Flags().Bool("force", false, "make the new version without importing the handler first")
	wait := cmd.Flags().String("wait", "ready", "wait until the function is `ready` to fork, or only deployed")
	return func() url.Values {
		options := url.Values{"wait": {*wait}}
		if *force {
			options.Set("force", "true")
		}
		return options
	}
}

func (p *program) changeEnv(cmd *cobra.Command, change core.EnvChange, options url.Values) error {
	began := p.now()
	show := p.progress()
	f, err := p.client().SetEnv(cmd.Context(), change, options, show.step)
	show.clear()
	if err != nil {
		return err
	}
	p.reportUnready(f, options)
	_, err = fmt.Fprintf(p.out, "changed the environment of %s, which is version %d now, in %s\n", f.Name, f.Version, p.now().Sub(began).Round(10*time.Millisecond))
	return err
}

func (p *program) envList() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list FUNCTION",
		Short:             "List the environment variables of a function",
		Long:              "List the environment variables of a function, each with its origin. Those that every function has are left\nout.",
		Example:           "  pipsqueak env list hello",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFunction,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := p.client().Function(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		variables := variablesOf(f)
		if as.json() {
			return p.printJSON(variables)
		}
		rows := [][]string{{"NAME", "VALUE", "FROM"}}
		for _, v := range variables {
			rows = append(rows, []string{v.Name, v.Value, v.From})
		}
		return p.table(rows)
	}
	return cmd
}

// variable is an environment variable of a function.
type variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"` // SettingsFile, or the command that has set it
}

// variablesOf returns the variables that a function has and others have not, sorted by name.
func variablesOf(f core.Function) []variable {
	from := map[string]variable{}
	for name, value := range f.Env {
		from[name] = variable{name, value, bundle.SettingsFile}
	}
	for name, value := range f.EnvSet {
		from[name] = variable{name, value, "env set"}
	}
	all := []variable{}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		all = append(all, from[name])
	}
	return all
}
