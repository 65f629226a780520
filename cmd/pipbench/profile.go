package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/learn"
)

func profileCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "profile DIR|LOCK… --out FILE",
		Short: "Learn a profile from packages that are installed or locked",
		Long: `Read packages of one language, and write a profile: the one of the language that comes with pipbench, with
what these packages say in its place. A DIR is site-packages, node_modules, a directory of gems or
/var/lib/dpkg, and says sizes, files and their places, closures and constraints. A LOCK is a
package-lock.json, Gemfile.lock, uv.lock or poetry.lock, and says closures and constraints (uv.lock closures
alone); several say versions too. What imports cost is not measured. Each figure has its source.`,
		Example: "  pipbench profile /var/lib/dpkg --out learned.yaml",
	}
	name := c.Flags().String("name", "learned", "`NAME` of the profile")
	path := c.Flags().String("out", "", "`FILE` to write the profile to")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return errors.New("name a directory of packages, or a lock")
		case *path == "":
			return errors.New("--out: name a file to write the profile to")
		}
		return nil
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		p, err := learn.From(*name, args)
		if err != nil {
			return err
		}
		text, err := learn.Write(p)
		if err == nil {
			err = os.WriteFile(*path, text, 0o644)
		}
		if err == nil {
			fmt.Fprintf(out, "%s, a profile for %s\n", *path, p.Language)
		}
		return err
	}
	return c
}
