package main

import (
	"io"
	"net/http"

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
		server := p.client()
		response, err := server.send(cmd.Context(), http.MethodGet, functionPath(args[0])+"/sbom", core.BillFormat(format.value).MediaType(), nil)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(p.out, response.Body); err != nil {
			return server.unreadable(err)
		}
		return nil
	}
	return cmd
}
