// Command pipbench makes artificial packages that behave like real ones, and what else it takes to measure a
// serverless platform.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What the program exits with.
const (
	exitOK     = 0
	exitFailed = 1 // a command could not do what it is for
	exitUsage  = 2 // the command line was not understood
)

func main() {
	// The first signal ends what is under way, the second the program.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and returns the exit status.
func execute(ctx context.Context, args []string, out, complaints io.Writer) int {
	understood := false
	root := &cobra.Command{
		Use:   "pipbench",
		Short: "Measure a serverless platform",
		Long: `Make artificial packages whose sizes, requirements, popularity and costs follow real distributions, serve
them as registries do, make functions that use them and traces of calls, drive a platform by these, and
report what was measured.

It exits with 0, with 1 if a command failed, and with 2 if the command line was not understood.`,
		Version:          core.BuildOf().String(),
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { understood = true },
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(packagesCommand(out, complaints), profileCommand(out), checkCommand(out, complaints), registryCommand(out),
		functionsCommand(out), traceCommand(out), runCommand(complaints), compareCommand(out), reportCommand(out), imageCommand(out),
		coldstartCommand(out, complaints), studyCommand(complaints))
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(complaints)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case !understood:
		fmt.Fprintf(complaints, "pipbench: %v\nRun 'pipbench --help' for how it is used.\n", err)
		return exitUsage
	}
	fmt.Fprintf(complaints, "pipbench: %v\n", err)
	return exitFailed
}
