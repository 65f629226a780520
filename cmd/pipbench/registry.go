package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/registry"
)

func registryCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "registry DIR",
		Short: "Serve artificial packages as registries do",
		Long: `Serve the packages below DIR, which 'pipbench packages' has made, to unmodified clients: as a Python
index, an npm registry, a RubyGems server and an apt repository. It says how each client is pointed
at it, and serves until it is interrupted.`,
		Example: "  pipbench registry bench",
	}
	listen := c.Flags().String("listen", "127.0.0.1:8070", "`HOST:PORT` to listen on")
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return errors.New("name the directory of the packages")
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := registry.Open(args[0])
		if err != nil {
			return err
		}
		listener, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", *listen)
		if err != nil {
			return err
		}
		address := "http://" + listener.Addr().String()
		fmt.Fprintf(out, "listening on %s\n%s\n", address, strings.Join(r.Clients(address), "\n"))
		server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
		stop := context.AfterFunc(cmd.Context(), func() { _ = server.Close() })
		defer stop()
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
	return c
}
