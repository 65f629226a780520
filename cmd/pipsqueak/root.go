package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/nearest"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// The exit statuses of the program.
const (
	exitOK     = 0
	exitFailed = 1 // the operation was understood and did not succeed
	exitUsage  = 2 // the command line was not understood
)

// program is the command with everything it needs of the world, so that tests can run it in their own
// process.
type program struct {
	in       io.Reader
	out, err io.Writer
	screen   io.Writer // where err writes to, for lines of progress that are written over
	terminal bool      // it is one, so they may be
	piped    bool      // in is a pipe or a file, so an event may be meant by it
	user     int       // the user id of the process, 0 for root
	wide     bool      // out is none, so lines may be of any length
	now      func() time.Time
	open     opener
	checks   func(context.Context, workerConfig) []core.Finding

	server string // --server
}

// run runs one command line and returns the exit status.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	understood := false
	// Flags and arguments are checked before this hook runs: what fails earlier is a fault of the command
	// line.
	root.PersistentPreRun = func(*cobra.Command, []string) { understood = true }
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case !understood:
		fmt.Fprintf(p.err, "pipsqueak: %s\n", strings.TrimSpace(err.Error()))
		fmt.Fprintf(p.err, "Run '%s --help' for how it is used.\n", command.CommandPath())
		return exitUsage
	case errors.As(err, new(refused)):
		return exitFailed
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(p.err, "pipsqueak: interrupted")
	default:
		p.explain(err)
	}
	if errors.As(err, new(unscanned)) {
		return exitUsage
	}
	return exitFailed
}

// refused is the error of a scan in which the policy has refused something, after the report has named it.
type refused struct{ error }

// unscanned is the error of a scan that has not scanned everything. It decides the exit status even if the
// policy has refused something.
type unscanned struct{ error }

func (u unscanned) Unwrap() error { return u.error }

// logged is the error of an event of which the function's log may have more.
type logged struct {
	error
	function, request string
}

func (l logged) Unwrap() error { return l.error }

// explain tells a person what went wrong, with the exception when a handler raised one.
func (p *program) explain(err error) {
	p.explainCause(err)
	if l := new(logged); errors.As(err, l) {
		fmt.Fprintf(p.err, "Run 'pipsqueak logs %s --request %s' for what it printed.\n", l.function, l.request)
	}
}

func (p *program) explainCause(err error) {
	fmt.Fprintf(p.err, "pipsqueak: %v\n", err)
	var e *core.Error
	if !errors.As(err, &e) || e.Exception == nil {
		return
	}
	for _, frame := range e.Exception.Stack {
		fmt.Fprintf(p.err, "  %s\n", strings.ReplaceAll(strings.TrimRight(frame, "\n"), "\n", "\n  "))
	}
	fmt.Fprintf(p.err, "%s: %s\n", e.Exception.Type, e.Exception.Message)
	behind := core.Exception{Notes: e.Exception.Notes, Causes: e.Exception.Causes}
	for _, line := range behind.Lines() {
		fmt.Fprintf(p.err, "  %s\n", line)
	}
}

// Groups of commands in the help.
const (
	groupFunctions = "functions"
	groupServer    = "server"
)

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pipsqueak",
		Short: "Run functions that start by forking",
		Long: `Pipsqueak runs functions. A function is a directory with a handler and a list of packages. It starts
in a few milliseconds, in a sandbox of its own, as a fork of a process that has already imported the
packages.

Start a server, deploy a function, send it an event:

  sudo pipsqueak serve
  pipsqueak deploy examples/echo
  pipsqueak invoke echo '{"name": "pip"}' -v

It exits with 0 on success, 1 if the operation failed, and 2 if the command line was not understood.`,
		Version:       core.BuildOf().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(wrongFlag)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.AddGroup(&cobra.Group{ID: groupFunctions, Title: "Functions:"}, &cobra.Group{ID: groupServer, Title: "Server:"})
	root.PersistentFlags().StringVar(&p.server, "server", os.Getenv("PIPSQUEAK_SERVER"),
		"`URL` of the server, http://HOST:PORT or unix:///PATH; also from PIPSQUEAK_SERVER; else the worker of "+dataDir+" if you are root, or http://127.0.0.1:8080")
	root.AddCommand(p.deploy(), p.lock(), p.invoke(), p.init(), p.dev(), p.list(), p.describe(), p.remove(), p.env(), p.secret(), p.logs(), p.sbom(), p.keygen(),
		p.tree(), p.plan(), p.namespace(), p.storage(), p.store(), p.token(), p.driver(), p.version())
	root.AddCommand(p.ofMachine()...)
	return root
}

// wrongFlag names the flag that was probably meant by an unknown one.
func wrongFlag(cmd *cobra.Command, err error) error {
	var missing interface{ GetSpecifiedName() string }
	if !errors.As(err, &missing) {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if name := nearest.Name(missing.GetSpecifiedName(), names); name != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, name)
	}
	return err
}

// completeFunction completes one function name by asking the server, which has a second to answer.
func (p *program) completeFunction(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	functions, err := p.client().Functions(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []cobra.Completion
	for _, f := range functions {
		names = append(names, cobra.CompletionWithDesc(f.Name, string(f.Runtime)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// client returns a client of the server that the command line names, with the user's token for it.
func (p *program) client() client.Client {
	server := p.server
	if server == "" {
		server = usualServer(filepath.Join(dataDir, socketFile))
	}
	files := client.TLSFiles{CA: os.Getenv("PIPSQUEAK_CA"), Cert: os.Getenv("PIPSQUEAK_CERT"), Key: os.Getenv("PIPSQUEAK_KEY")}
	return client.New(server).WithToken().TLS(files)
}

// dataDir is the usual data directory of a worker, and socketFile the socket in it, of which root alone is
// the client.
const (
	dataDir    = "/var/lib/pipsqueak"
	socketFile = "socket"
)

// usualServer returns the server of a user who names none: the worker behind the socket if one answers there
// and the user has no token for another way, else one at the usual address.
func usualServer(socket string) string {
	if os.Getenv(client.TokenVariable) == "" {
		asked := net.Dialer{Timeout: time.Second}
		if conn, err := asked.DialContext(context.Background(), "unix", socket); err == nil {
			_ = conn.Close() // nothing was sent
			return "unix://" + socket
		}
	}
	return "http://127.0.0.1:8080"
}
