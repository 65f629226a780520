package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

func (p *program) invoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invoke NAME [EVENT]",
		Short: "Send an event to a function and print the result",
		Long: `Send an event, which is one JSON value, to a function and print the result. The event is the second
argument or -d: JSON, @FILE, or - for standard input. Without either it is read from standard input
if that is piped, and {} otherwise.

With -v the kind of start and the time of every phase go to standard error; with -o json they are
printed with the result. If the handler raises, its exception and stack go to standard error and the
exit status is 1.

With --local NAME is a directory. Its function is run in a sandbox of this machine without a server,
for which you have to be root, and what it prints goes to standard error. Packages are kept for the
next time.`,
		Example: `  pipsqueak invoke hello '{"name": "pip"}'
  pipsqueak invoke hello -d @event.json -v
  echo '{"name": "pip"}' | pipsqueak invoke hello
  sudo pipsqueak invoke --local hello -d @hello/event.json`,
		GroupID:           groupFunctions,
		ValidArgsFunction: p.completeFunction,
	}
	data := cmd.Flags().StringP("data", "d", "", "the event: `JSON`, @FILE, or - for standard input")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 && cmd.Flags().Changed("data") {
			return errors.New("the event is there twice, as an argument and as -d: leave one out")
		}
		return cobra.RangeArgs(1, 2)(cmd, args)
	}
	verbose := cmd.Flags().BoolP("verbose", "v", false, "show the kind of start and the phases")
	local := cmd.Flags().Bool("local", false, "run the function of a directory here, without a server")
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > 1:
			*data = args[1]
		case !cmd.Flags().Changed("data") && p.piped:
			*data = "-"
		}
		event, err := p.event(*data)
		if err != nil {
			return err
		}
		var i client.Answer
		if *local {
			var part bundle.Part
			if part, err = p.onePart(cmd.Context(), args[0], ""); err == nil {
				i, err = p.invokeLocal(cmd, part, event)
			}
		} else {
			i, err = p.client().Invoke(cmd.Context(), args[0], bytes.NewReader(event))
		}
		if *verbose && i.Start != "" {
			if err := table(p.err, answerRows(i)); err != nil {
				return err
			}
		}
		if err != nil && core.AsError(err).Fault == core.FaultHandler && i.RequestID != "" && !*local {
			return logged{err, args[0], i.RequestID}
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

// answerRows is the table of how an event was answered.
func answerRows(a client.Answer) [][]string {
	rows := [][]string{{"request", a.RequestID}, {"start", string(a.Start)}}
	for _, one := range a.Phases {
		rows = append(rows, []string{one.Name, one.String()})
	}
	return rows
}

// isFile reports whether an event that is no JSON is the name of a file.
func isFile(event string) bool {
	info, err := os.Stat(event)
	return err == nil && info.Mode().IsRegular() && !json.Valid([]byte(event))
}

// event reads what -d names, up to one byte more than the server takes.
func (p *program) event(data string) ([]byte, error) {
	from := p.in
	switch file, named := strings.CutPrefix(data, "@"); {
	case named:
		opened, err := os.Open(file)
		if err != nil {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot read the event: %w", err)
		}
		defer opened.Close()
		from = opened
	case data == "-":
		defer time.AfterFunc(time.Second, func() {
			fmt.Fprintln(p.err, "waiting for the event on standard input; -d '{}' sends one without")
		}).Stop()
	case isFile(data):
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the event is to be JSON, and %s is a file: @%s sends what is in it", data, data)
	default:
		return []byte(data), nil
	}
	event, err := io.ReadAll(io.LimitReader(from, core.MaxEvent+1))
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot read the event: %w", err)
	}
	return event, nil
}
