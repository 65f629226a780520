package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) token() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the tokens of a server",
		Long: `Make, list and revoke the tokens of a server. As long as nobody has made one, the server answers only
on its own machine, and to everybody there. From the first token on every request over TCP needs one;
root needs none at the socket in the data directory of the worker.

Clients take their token from PIPSQUEAK_TOKEN, or from the file pipsqueak/credentials in the user's
configuration directory (~/.config). Each line of the file has the URL of a server and its token, and
only you may read it (chmod 600).`,
		Example: "  sudo pipsqueak token create ci --scopes deploy,invoke --functions '*.team' --expires 90d\n  sudo pipsqueak token list",
		GroupID: groupServer,
	}
	cmd.AddCommand(p.tokenCreate(), p.tokenList(), p.tokenRevoke())
	return cmd
}

func (p *program) tokenCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token, and print it once",
		Long: `Make a token, and print it once: nobody can show it again. NAME tells people who uses it.

The scopes are invoke (send events), read (see functions with their environment, logs and processes),
deploy (deploy and remove functions) and admin (all of these, and make tokens that may not do more;
with all functions, also forbid and collect packages).

The functions are * (all), *.NAMESPACE, or full names of functions. To deploy an application needs its
name and those of its functions.`,
		Example: "  sudo pipsqueak token create ci --scopes deploy,read --expires 90d\n  sudo pipsqueak token create shop --scopes invoke --functions resize,render --expires 12h",
		Args:    cobra.ExactArgs(1),
	}
	scopes := cmd.Flags().StringSlice("scopes", nil, "what it is for: invoke, read, deploy, admin, separated by commas")
	functions := cmd.Flags().StringSlice("functions", []string{core.AllFunctions}, "`NAMES` of the functions that it is for")
	end := moment{now: p.now, ahead: true}
	cmd.Flags().Var(&end, "expires", "when it ends: a time, or in how long, such as 12h or 90d; without it when it is revoked")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		token := core.Token{Name: args[0], Functions: *functions, Expires: end.at}
		for _, scope := range *scopes {
			token.Scopes = append(token.Scopes, core.Scope(strings.TrimSpace(scope)))
		}
		made, text, err := p.client().CreateToken(cmd.Context(), token)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.err, "made the token %s for %s; it is shown only now:\n", made.ID, made.Name)
		if _, err := fmt.Fprintln(p.out, string(text)); err != nil {
			return err
		}
		if all, err := p.client().Tokens(cmd.Context()); err == nil && len(all) == 1 {
			fmt.Fprintln(p.err, "It is the server's only token: every request over TCP needs it, or another one, from now on.")
		}
		return nil
	}
	return cmd
}

func (p *program) tokenList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens of a server",
		Long: `List the tokens of a server, sorted by name, without the tokens themselves: nobody can show them again.
USED is how long ago the last request with it came. A holder of the scope admin sees the tokens that it
could have made.`,
		Example: "  sudo pipsqueak token list\n  sudo pipsqueak token list -o json | jq -r '.[] | select(.used == null) | .id'",
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		tokens, err := p.client().Tokens(cmd.Context())
		if err != nil {
			return err
		}
		if as.json() {
			return p.printJSON(tokens)
		}
		rows := [][]string{{"ID", "NAME", "SCOPES", "FUNCTIONS", "EXPIRES", "USED"}}
		for _, t := range tokens {
			rows = append(rows, []string{t.ID, t.Name, strings.Trim(fmt.Sprint(t.Scopes), "[]"), several(t.Functions), p.ends(t.Expires), p.used(t.Used)})
		}
		return p.table(rows)
	}
	return cmd
}

// ends says when a token ends.
func (p *program) ends(t time.Time) string {
	switch {
	case t.IsZero():
		return "never"
	case !t.After(p.now()):
		return "expired"
	default:
		return "in " + humanAge(t.Sub(p.now()))
	}
}

// used says how long ago a token was used.
func (p *program) used(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return humanAge(p.now().Sub(t)) + " ago"
}

func (p *program) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "End a token at once",
		Long: `End a token at once. Events that were sent with it run to their end; its other requests, such as a
deploy or a log that is followed, are canceled.`,
		Example: "  sudo pipsqueak token revoke 3f9c0a51b2e4",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := p.client().RevokeToken(cmd.Context(), args[0])
			if err == nil {
				_, err = fmt.Fprintf(p.out, "revoked %s (%s)\n", token.ID, cmp.Or(token.Name, "-"))
			}
			return err
		},
	}
}
