package main

import (
	"cmp"
	"errors"
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
		Long:    "List the deployed functions, sorted by name, each with its application if it belongs to one. DEPLOYED is\nhow long ago it was deployed.",
		Example: "  pipsqueak list\n  pipsqueak list -o json | jq -r '.[].name'",
		GroupID: groupFunctions,
		Args:    cobra.NoArgs,
	}
	namespace := cmd.Flags().String("namespace", "", "list only the functions of the namespace `NAME`")
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		functions, err := p.client().FunctionsIn(cmd.Context(), *namespace)
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
		return p.table(p.listRows(functions))
	}
	return cmd
}

// listRows are the rows of a list of functions, without the columns in which no function has anything.
func (p *program) listRows(functions []core.Function) [][]string {
	inApplications := slices.ContainsFunc(functions, func(f core.Function) bool { return f.Application != "" })
	vulnerable := slices.ContainsFunc(functions, func(f core.Function) bool { return f.Vulnerable != "" })
	row := func(name, application, version, runtime, packages, deployed, severity string) []string {
		columns := []string{name}
		if inApplications {
			columns = append(columns, application)
		}
		columns = append(columns, version, runtime, packages, deployed)
		if vulnerable {
			columns = append(columns, severity)
		}
		return columns
	}
	rows := [][]string{row("NAME", "APPLICATION", "VERSION", "RUNTIME", "PACKAGES", "DEPLOYED", "VULNERABLE")}
	for _, f := range functions {
		rows = append(rows, row(f.Name, cmp.Or(f.Application, "-"), strconv.Itoa(f.Version), string(f.Runtime), strconv.Itoa(len(f.Packages)),
			humanAge(p.now().Sub(f.Deployed))+" ago", cmp.Or(string(f.Vulnerable), "-")))
	}
	return rows
}

func (p *program) describe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show everything about a function or an application",
		Long: `Show everything about one function: its limits, its imports, and its packages at their exact
versions. SIGNATURE is who has signed the archive of a package, if its registry has signatures;
LICENCE is the package's own statement. For an application, its functions are shown.`,
		Example:           "  pipsqueak describe hello\n  pipsqueak describe hello -o json | jq -r .deployed",
		GroupID:           groupFunctions,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFunction,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := p.client().Function(cmd.Context(), args[0])
		if core.IsKind(err, core.KindNotFound) {
			if functions, _ := p.client().FunctionsOf(cmd.Context(), args[0]); len(functions) > 0 {
				return p.describeApplication(args[0], functions, as.json())
			}
		}
		if err != nil {
			return err
		}
		packages, err := p.client().PackagesOf(cmd.Context(), f)
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
		return p.table(packageRows(packages))
	}
	return cmd
}

func (p *program) describeApplication(name string, functions []core.Function, asJSON bool) error {
	if asJSON {
		return p.printJSON(core.Application{Name: name, Functions: functions})
	}
	fmt.Fprintf(p.out, "application  %s\n\n", name)
	for i := range functions {
		functions[i].Application = ""
	}
	return p.table(p.listRows(functions))
}

// corsRows is what pages of other sites may do, for a person.
func corsRows(c core.CORS) []string {
	rows := []string{"pages of " + strings.Join(c.Origins, ", ") + " may send " + cmp.Or(strings.Join(c.Methods, ", "), "every method")}
	if c.Credentials {
		rows = append(rows, "with cookies")
	}
	if len(c.Headers) > 0 {
		rows = append(rows, "with the headers "+strings.Join(c.Headers, ", "))
	}
	if len(c.Expose) > 0 {
		rows = append(rows, "and read the headers "+strings.Join(c.Expose, ", "))
	}
	if c.MaxAge > 0 {
		rows = append(rows, "which they may remember for "+humanDuration(c.MaxAge))
	}
	return rows
}

func (p *program) describeRows(f core.Function) [][]string {
	rows := [][]string{{"name", f.Name}}
	if f.Application != "" {
		rows = append(rows, []string{"application", f.Application})
	}
	rows = append(rows, [][]string{
		{"version", strconv.Itoa(f.Version)},
		{"runtime", string(f.Runtime)},
		{"handler", f.Handler},
		{"deployed", f.Deployed.In(p.now().Location()).Format("Mon 2 Jan 2006 15:04:05 MST") + ", " + humanAge(p.now().Sub(f.Deployed)) + " ago"},
		{"code", f.Code},
	}...)
	rows = append(rows, limitRows(f.Limits)...)
	rows = append(rows, [][]string{
		{"network", cmp.Or(string(f.Network), string(core.NetworkNone))},
		{"ready", cmp.Or(prefixed("not to fork: ", f.Unready), "to fork")},
	}...)
	if f.Public {
		rows = append(rows, []string{"access", "public: anybody may invoke it"})
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
	for _, v := range variablesOf(f) {
		env = append(env, v.Name+"="+v.Value)
	}
	several("env", env)
	var secrets []string
	for _, s := range f.Secrets {
		secrets = append(secrets, s.Name+" as "+cmp.Or(s.Env, core.SecretsDir+"/"+s.File))
	}
	several("secrets", secrets)
	several("egress", f.Egress)
	several("routes", f.Routes)
	if f.CORS != nil {
		several("cors", corsRows(*f.CORS))
	}
	if f.Storage != nil {
		rows = append(rows, []string{"storage", fmt.Sprintf("%s at %s, %s", f.StorageName(), f.Storage.Path, humanBytes(f.Storage.Size))})
	}
	if len(f.Imports) > 0 {
		rows = append(rows, []string{"imports", strings.Join(f.Imports, ", ")})
	}
	if len(f.Loaded) > 0 {
		rows = append(rows, []string{"loaded", strings.Join(f.Loaded, ", ")})
	}
	several("apart", reasons(f.Apart))
	return rows
}

// limitRows is the table of what bounds a function.
func limitRows(limits core.Limits) [][]string {
	reuse := "yes"
	if !limits.Reuse {
		reuse = "no: every event gets a fresh instance"
	}
	instances := "at most " + strconv.Itoa(limits.MaxInstances)
	if limits.Shared() {
		instances += fmt.Sprintf(", each with up to %d events at once", limits.Concurrency)
	}
	return [][]string{
		{"memory", humanBytes(limits.Memory)},
		{"timeout", humanDuration(limits.Timeout)},
		{"instances", instances},
		{"idle timeout", humanDuration(limits.IdleTimeout)},
		{"reuse", reuse},
	}
}

// prefixed returns the text with that before it, or nothing when there is no text.
func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
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
		Short:             "Remove a function, or an application",
		Long:              "Remove a function, or all functions of an application at once. Idle instances end, and busy ones finish\ntheir events.",
		Example:           "  pipsqueak remove hello",
		GroupID:           groupFunctions,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFunction,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			err := p.client().Remove(cmd.Context(), name)
			if core.IsKind(err, core.KindNotFound) {
				if removed, failed := p.client().RemoveApplication(cmd.Context(), name); failed == nil {
					return p.reportRemoved(name, removed, "")
				} else if !core.IsKind(failed, core.KindNotFound) {
					return failed
				}
			}
			if err == nil {
				_, err = fmt.Fprintf(p.out, "removed %s\n", name)
			}
			return err
		},
	}
}

func (p *program) logs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show the output of a function or an application",
		Long: `Show the output of a function's processes, oldest first: time, the function's name if an application
is shown, request id of the event, instance, stream and text. Messages of the worker are in the
stream "worker": why an event failed, with the exception, its stack and its causes.`,
		Example: `  pipsqueak logs hello --tail 20 -f
  pipsqueak logs hello --errors --since 10m
  pipsqueak logs hello --request 36ce1dcd0b89b5e9ac458294c4b9938e
  pipsqueak logs hello -o json | jq -r 'select(.stream == "stderr").text'`,
		GroupID:           groupFunctions,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFunction,
	}
	var query core.LogQuery
	cmd.Flags().BoolVarP(&query.Follow, "follow", "f", false, "continue with new lines until interrupted")
	cmd.Flags().IntVar(&query.Tail, "tail", core.AllLines, "show only the last `N` of the selected lines; without it all of them")
	since := moment{now: func() time.Time { return p.now() }}
	cmd.Flags().Var(&since, "since", "show lines from that time on: 90s, 10m or 2d ago, or 2026-01-02T03:04:05Z")
	cmd.Flags().StringVar(&query.Request, "request", "", "show the lines of the event with that request `ID`")
	cmd.Flags().BoolVar(&query.Errors, "errors", false, "show only why events failed")
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		query.Since = since.at
		accept := "text/plain"
		if as.json() {
			accept = "application/x-ndjson"
		}
		err := p.client().Logs(cmd.Context(), args[0], accept, query, p.out)
		if ended := query.Follow && cmd.Context().Err() != nil; ended {
			err = nil // an interrupt is how following ends
		}
		return err
	}
	return cmd
}

// moment is a flag for a time, or for how long ago it was, or ahead in how long it will be.
type moment struct {
	now   func() time.Time
	ahead bool
	text  string
	at    time.Time
}

func (m *moment) Type() string   { return "TIME" }
func (m *moment) String() string { return m.text }

func (m *moment) Set(text string) (err error) {
	var away age
	if err := away.Set(text); err == nil {
		m.text, m.at = text, m.now().Add(-time.Duration(away))
		if m.ahead {
			m.at = m.now().Add(time.Duration(away))
		}
		return nil
	}
	if m.at, err = time.Parse(time.RFC3339, text); err != nil && m.ahead {
		return errors.New("it is a time, such as 2027-01-02T03:04:05Z, or in how long it will be, such as 12h or 90d")
	}
	if err != nil {
		return errors.New("it is a time, such as 2026-01-02T03:04:05Z, or how long ago it was, such as 10m or 2d")
	}
	m.text = text
	return nil
}
