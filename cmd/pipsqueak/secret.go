package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) secret() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Keep secrets for functions",
		Long: `Keep secrets for functions. A function names those that it uses in pipsqueak.yaml, and its instances
get them in environment variables or in files. They rest encrypted, and nobody can show them again.

NAME is db-url in the default namespace, and db-url.team in the namespace team.`,
		GroupID: groupFunctions,
		Args:    cobra.NoArgs,
	}
	cmd.AddCommand(p.secretSet(), p.secretList(), p.secretRemove())
	return cmd
}

func (p *program) secretSet() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME [FILE|-]",
		Short: "Set a secret from a file or from standard input",
		Long: `Set a secret from a file, byte for byte, or from standard input, without a newline at its end. It has
at most 64 KiB. The functions that use it get their next version: later instances have the new value.`,
		Example: "  pipsqueak secret set db-url < db-url.txt\n  pipsqueak secret set tls-key key.pem",
		Args:    cobra.RangeArgs(1, 2),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		value, err := p.readSecret(args[1:])
		if err != nil {
			return err
		}
		info, err := p.client().SetSecret(cmd.Context(), args[0], value)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "set the secret %s, which %s\n", info.Name, core.Count(len(info.Functions), "function uses", "functions use"))
		return err
	}
	return cmd
}

// readSecret reads a value from the file that is named, or from standard input.
func (p *program) readSecret(from []string) (core.Secret, error) {
	var value []byte
	var err error
	switch {
	case len(from) > 0 && from[0] != "-":
		value, err = os.ReadFile(from[0])
	case !p.piped:
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "a secret that is typed would be seen: name a file, or pipe it in, as in 'pipsqueak secret set db-url < db-url.txt'")
	default:
		value, err = io.ReadAll(io.LimitReader(p.in, core.MaxSecret+2))
		value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	}
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the secret cannot be read: %w", err)
	}
	return value, nil
}

func (p *program) secretList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the secrets, without their values",
		Long: `List the secrets, without their values: nobody can show them again. KEY is the id of the key that each
is encrypted with; a secret whose key the server does not have is LOST until it is set again.`,
		Example: "  pipsqueak secret list",
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := p.client().Secrets(cmd.Context())
		if err != nil {
			return err
		}
		if as.json() {
			return p.printJSON(all)
		}
		rows := [][]string{{"NAME", "SET", "KEY", "FUNCTIONS"}}
		for _, s := range all {
			key := s.Key
			if s.Lost != "" {
				key += " LOST"
			}
			rows = append(rows, []string{s.Name, humanAge(p.now().Sub(s.Set)) + " ago", key, cmp.Or(strings.Join(s.Functions, ", "), "-")})
		}
		return p.table(rows)
	}
	return cmd
}

func (p *program) secretRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a secret that no function uses",
		Example: "  pipsqueak secret remove db-url",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.client().RemoveSecret(cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.out, "removed the secret %s\n", args[0])
			return err
		},
	}
}

// The places of the keys for secrets, besides a file that is named.
const (
	secretKeysVariable   = "PIPSQUEAK_SECRET_KEYS"
	secretKeysCredential = "pipsqueak-secret-keys"
)

// loadSecretKeys returns the keys for secrets: those of the file, or of the variable, or of the credential
// that systemd gives to a service. Empty if there are none. The variable is gone afterwards.
func loadSecretKeys(file string) (string, error) {
	if file == "" {
		if text := os.Getenv(secretKeysVariable); text != "" {
			return text, os.Unsetenv(secretKeysVariable)
		}
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", nil
		}
		if file = filepath.Join(dir, secretKeysCredential); errors.Is(onlyStat(file), os.ErrNotExist) {
			return "", nil
		}
	}
	info, err := os.Stat(file)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		return "", core.Errorf(core.KindInvalid, core.FaultCaller, "others can read %s, which has the keys for secrets: chmod 600 %s", file, file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", core.Errorf(core.KindInvalid, core.FaultCaller, "the keys for secrets cannot be read: %w", err)
	}
	if strings.TrimSpace(string(text)) == "" {
		return "", core.Errorf(core.KindInvalid, core.FaultCaller, "%s has no key for secrets; 'openssl rand -base64 32' makes one", file)
	}
	return string(text), nil
}

func onlyStat(path string) error {
	_, err := os.Stat(path)
	return err
}
