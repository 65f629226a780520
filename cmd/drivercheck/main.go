// Command drivercheck examines the program of a driver: it runs the conformance kit on it and reports.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/conform"
)

// What the program exits with.
const (
	exitOK     = 0
	exitFailed = 1 // a case failed, or the kit could not be run
	exitUsage  = 2 // the command line was not understood
)

// errFailed is the error of a run whose report names the failures.
var errFailed = errors.New("the driver does not keep the protocol")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	// A reader of the report that has seen enough must not end the program before it has removed its
	// sandboxes. To ignore the signal would be inherited by the driver.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs one command line and returns the exit status.
func run(ctx context.Context, args []string, out, complaints io.Writer) int {
	understood := false
	root := command(out)
	root.PersistentPreRun = func(*cobra.Command, []string) { understood = true }
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(complaints)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case !understood:
		fmt.Fprintf(complaints, "drivercheck: %v\nRun 'drivercheck --help' for how it is used.\n", err)
		return exitUsage
	case !errors.Is(err, errFailed):
		fmt.Fprintf(complaints, "drivercheck: %v\n", err)
	}
	return exitFailed
}

func command(out io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "drivercheck PATH",
		Short: "Check whether a driver keeps the protocol",
		Long: `Start the driver's program at PATH as a worker does, let it make processes in real sandboxes, and
check from outside each clause of core/driver/PROTOCOL.md that can be checked. It needs root, as a
worker does, and leaves nothing behind.

The driver's language needs a few small handlers and modules, which docs/conformance.md describes.

It exits with 0 if no case failed, 1 if one did, and 2 if the command line was not understood.`,
		Example:       "  sudo drivercheck bin/pipsqueak-driver-python --handlers drivers/python/testdata/handlers\n  drivercheck --clauses",
		Version:       core.BuildOf().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	handlers := root.Flags().String("handlers", "testdata/handlers", "`DIR` with the kit's handlers in the driver's language")
	format := root.Flags().String("report", "text", "`FORMAT` of the report: text, json or junit")
	runtime := root.Flags().String("runtime", "", "`ID` of the runtime to examine; the driver's first by default")
	only := root.Flags().String("run", "", "run only cases whose name matches the `REGEXP`")
	clauses := root.Flags().Bool("clauses", false, "list which cases check each clause of PROTOCOL.md, and why some have none")
	root.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case *clauses && len(args) > 0 || !*clauses && len(args) != 1:
			return errors.New("name the program of one driver")
		case *format != "text" && *format != "json" && *format != "junit":
			return fmt.Errorf("there is no report in the format %q, only in text, json and junit", *format)
		}
		_, err := regexp.Compile(*only)
		return err
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if *clauses {
			return conform.WriteClauses(out)
		}
		if user := os.Geteuid(); user != 0 {
			return fmt.Errorf("it makes sandboxes, for which it needs root, and you are user %d: run it with sudo", user)
		}
		options := conform.Options{Program: args[0], Handlers: *handlers, Runtime: core.RuntimeID(*runtime)}
		return examine(cmd.Context(), options, regexp.MustCompile(*only), *format, out)
	}
	return root
}

// examine runs the cases and writes the report, as text while they run.
func examine(ctx context.Context, options conform.Options, only *regexp.Regexp, format string, out io.Writer) (err error) {
	kit, err := conform.Open(options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kit.Close()) }()
	began := time.Now()
	report := conform.Report{Driver: options.Program}
	for _, c := range conform.Cases() {
		if !only.MatchString(c.Name) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		o := kit.Run(ctx, c)
		report.Outcomes = append(report.Outcomes, o)
		if format == "text" {
			if err := o.WriteLine(out); err != nil {
				return err
			}
		}
	}
	report.Took = time.Since(began)
	write := map[string]func(io.Writer) error{"text": report.WriteEnd, "json": report.WriteJSON, "junit": report.WriteJUnit}[format]
	if err := write(out); err != nil {
		return err
	}
	if report.Count(conform.Failed) > 0 {
		return errFailed
	}
	return nil
}
