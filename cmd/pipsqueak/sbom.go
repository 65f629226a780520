package main

import (
	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) sbom() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sbom NAME",
		Short: "Print the bill of materials of a function",
		Long: `Print the software bill of materials of a function, in CycloneDX 1.6: its runtime and packages with
versions, package URLs, digests, licences and requirements. The bill of one version of a function is
always the same.`,
		Example:           "  pipsqueak sbom hello > hello.cdx.json\n  pipsqueak sbom hello --format cyclonedx-xml",
		GroupID:           groupFunctions,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFunction,
	}
	format := oneOf{string(core.BillJSON), []string{string(core.BillJSON), string(core.BillXML)}}
	cmd.Flags().Var(&format, "format", "how to print it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.client().Bill(cmd.Context(), args[0], core.BillFormat(format.value), p.out)
	}
	return cmd
}
