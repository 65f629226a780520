package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func (p *program) invoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invoke NAME",
		Short: "Send an event to a function and print the result",
		Long: `Send an event, which is one JSON value, to a function and print the result. Without -d the event is {}.

With -v the kind of start and the time of every phase go to standard error; with -o json they are printed with the result.
When the handler raises, its exception and stack go to standard error and the exit status is 1.`,
		Example: `  pipsqueak invoke hello
  pipsqueak invoke hello -d '{"name": "pip"}' -v
  pipsqueak invoke hello -d @event.json
  generate | pipsqueak invoke hello -d -`,
		GroupID:           groupFunctions,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeFunction,
	}
	data := cmd.Flags().StringP("data", "d", "", "the event: `JSON`, @FILE, or - for standard input")
	verbose := cmd.Flags().BoolP("verbose", "v", false, "show the kind of start and the phases")
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		event, err := p.event(*data)
		if err != nil {
			return err
		}
		i, err := p.client().invoke(cmd.Context(), args[0], bytes.NewReader(event))
		if *verbose && i.Start != "" {
			if err := table(p.err, i.rows()); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		if as.json() {
			return p.printJSON(i)
		}
		_, err = fmt.Fprintf(p.out, "%s\n", bytes.TrimRight(i.Result, "\n"))
		return err
	}
	return cmd
}

func (i invocation) rows() [][]string {
	rows := [][]string{{"request", i.RequestID}, {"start", string(i.Start)}}
	for _, one := range i.Phases {
		rows = append(rows, []string{one.Name, one.String()})
	}
	return rows
}

// event reads what -d names, up to one byte more than the server takes.
func (p *program) event(data string) ([]byte, error) {
	from := p.in
	switch file, isFile := strings.CutPrefix(data, "@"); {
	case isFile:
		opened, err := os.Open(file)
		if err != nil {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot read the event: %w", err)
		}
		defer opened.Close()
		from = opened
	case data != "-":
		return []byte(data), nil
	}
	event, err := io.ReadAll(io.LimitReader(from, core.MaxEvent+1))
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot read the event: %w", err)
	}
	return event, nil
}
