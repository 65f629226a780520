package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Serve is the whole main of a driver: it serves impl to the host that started this program, and
// core.Installer too when impl implements it. It does not return: the program ends when the host closes its
// standard input or dies, and nothing is asked of impl then.
//
// Started by hand, the program says what it is and ends with status 1; with --describe it prints its
// Description as JSON, with --version its version.
//
// While it serves, the program's standard output belongs to the wire. Log with Logger.
func Serve(impl core.Driver) {
	if os.Getenv(cookieKey) != cookieValue {
		os.Exit(byHand(impl, os.Args, os.Stdout, os.Stderr))
	}
	// go-plugin ends its side when the host asks politely. A host that was killed asks nothing; the kernel
	// then closes the pipe. The host also sets PR_SET_PDEATHSIG, but that is lost when a program changes its
	// credentials.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: versions(impl, currentVersion),
		GRPCServer:       goplugin.DefaultGRPCServer,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
	})
	os.Exit(0)
}

// byHand is what a driver does for a person; it returns the exit status.
func byHand(impl core.Driver, args []string, stdout, stderr io.Writer) int {
	name := filepath.Base(args[0])
	if len(args) == 2 && args[1] == "--version" {
		fmt.Fprintf(stdout, "%s %s, protocol %d\n", name, core.BuildOf(), currentVersion)
		return 0
	}
	if len(args) != 2 || args[1] != "--describe" {
		fmt.Fprintf(stderr, "%s is a driver of Pipsqueak: it makes processes of one language for `pipsqueak serve`, which starts it by itself. "+
			"To see what it finds on this machine, run `%s --describe`.\n", name, name)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	description, err := impl.Describe(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "%s cannot describe itself: %v\n", name, err)
		return 1
	}
	encoder := json.NewEncoder(stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(description); err != nil {
		fmt.Fprintf(stderr, "%s cannot print its description: %v\n", name, err)
		return 1
	}
	return 0
}
