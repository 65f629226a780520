package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/image"
)

func imageCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "image --template TEMPLATE --out DIR|FILE.tar",
		Short: "Make a tree of files like that of an image",
		Long: `Write a tree of files, to test stores and root directories with: as many directories, files and links as a
template says, as deep and as large, with content that cannot be compressed. It is a directory, or a tar
archive if the name ends with .tar. The same seed gives the same bytes.`,
		Example: "  pipbench image --template debian --scale 0.01 --out root.tar",
	}
	name := c.Flags().String("template", "debian", "`TEMPLATE` of the tree: debian, a minimal Debian 12, or a file")
	seed := c.Flags().Uint64("seed", 1, "`S` from which everything is drawn")
	scale := c.Flags().Float64("scale", 1, "multiply the sizes of the files by `X`, and nothing else")
	path := c.Flags().String("out", "", "`DIR` or FILE.tar to write the tree to")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) > 0:
			return fmt.Errorf("what is %q? Everything is said by flags", args[0])
		case *path == "":
			return errors.New("--out: name a directory, or an archive, to write the tree to")
		case !(*scale >= 0 && *scale <= 1000):
			return errors.New("--scale: it is from 0 to 1000")
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		t, err := image.Open(*name)
		if err != nil {
			return err
		}
		all := image.Draw(t, *seed, *scale)
		if err := image.Write(cmd.Context(), all, *seed, *path); err != nil {
			return err
		}
		counts, size := map[string]int{}, int64(0)
		for _, e := range all {
			switch {
			case e.Link != "":
				counts["links"]++
			case strings.HasSuffix(e.Path, "/"):
				counts["directories"]++
			default:
				counts["files"]++
				size += e.Size
			}
		}
		fmt.Fprintf(out, "%d directories, %d files with %.1f MiB, %d links in %s\n",
			counts["directories"], counts["files"], float64(size)/(1<<20), counts["links"], *path)
		return nil
	}
	return c
}
