package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (p *program) storage() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "storage",
		Short: "List and remove what functions keep on the disk",
		Long: `List and remove storages: directories of functions that outlive their instances. A function asks for
one with storage in pipsqueak.yaml, and its deploy makes it. It stays when the function is removed.`,
		GroupID: groupServer,
		Args:    cobra.NoArgs,
	}
	cmd.AddCommand(p.storageList(), p.storageRemove())
	return cmd
}

func (p *program) storageList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the storages",
		Long:    "List the storages, each with its size, which the disk has given up whole, the free part of it, and the\nfunctions that use it.",
		Example: "  pipsqueak storage list",
		Args:    cobra.NoArgs,
	}
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := p.client().Storages(cmd.Context())
		if err != nil {
			return err
		}
		if as.json() {
			return p.printJSON(all)
		}
		rows := [][]string{{"NAME", "SIZE", "FREE", "FUNCTIONS"}}
		for _, s := range all {
			rows = append(rows, []string{s.Name, humanBytes(s.Size), humanBytes(s.Free), cmp.Or(strings.Join(s.Functions, ", "), "-")})
		}
		return p.table(rows)
	}
	return cmd
}

func (p *program) storageRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a storage that no function uses, with all that is in it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.client().RemoveStorage(cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.out, "removed the storage %s\n", args[0])
			return err
		},
	}
}
