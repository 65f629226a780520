package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

func packagesCommand(out, complaints io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "packages --language LANGUAGE --count N --out DIR",
		Short: "Make artificial packages",
		Long: `Draw packages from a profile, and write their archives and a catalog, packages.json, to the directory of
the language below --out: wheels and source distributions, npm tarballs, gems, or Debian packages with
libraries. The same seed gives the same bytes.`,
		Example: "  pipbench packages --language python --count 20 --seed 1 --scale 0.01 --out bench",
	}
	language := c.Flags().String("language", "python", "`LANGUAGE` of the packages: python, node, ruby or native")
	count := c.Flags().Int("count", 100, "make `N` packages, most of them in one version")
	seed := c.Flags().Uint64("seed", 1, "`S` from which everything is drawn")
	scale := c.Flags().Float64("scale", 1, "multiply the sizes of the files by `X`, and nothing else")
	file := c.Flags().String("profile", "", "`FILE` of the profile; the one of the language that comes with pipbench by default")
	dir := c.Flags().String("out", "", "`DIR` to write the packages to")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) > 0:
			return fmt.Errorf("what is %q? Everything is said by flags", args[0])
		case *dir == "":
			return errors.New("--out: name a directory to write the packages to")
		case *count < 1:
			return errors.New("--count: make one package at least")
		case *scale < 0:
			return errors.New("--scale: no size is below 0")
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := choose(*file, *language, cmd.Flags().Changed("language"))
		if err != nil {
			return err
		}
		shown := time.Now()
		made, err := packages.Write(cmd.Context(), p, *count, *seed, *scale, *dir, func(written int) {
			if time.Since(shown) > 2*time.Second {
				shown = time.Now()
				fmt.Fprintf(complaints, "%d of %d packages\n", written, *count)
			}
		})
		if err != nil {
			return err
		}
		versions, size := 0, int64(0)
		for _, one := range made.Packages {
			versions += len(one.Versions)
			for _, v := range one.Versions {
				for _, a := range v.Archives {
					size += a.Size
				}
			}
		}
		fmt.Fprintf(out, "%d packages in %d versions, %.1f MiB, in %s\n", len(made.Packages), versions, float64(size)/(1<<20), filepath.Join(*dir, p.Language))
		return nil
	}
	return c
}

// choose returns the profile of a file, which is for one language, or the shipped one of a language.
func choose(file, language string, given bool) (*profile.Profile, error) {
	if file == "" {
		return profile.Shipped(language)
	}
	p, err := profile.Load(file)
	if err == nil && given && p.Language != language {
		return nil, fmt.Errorf("%s: language: it is a profile for %s, and not for %s", file, p.Language, language)
	}
	return p, err
}
