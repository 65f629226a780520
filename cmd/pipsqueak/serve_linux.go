package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipsqueak/osv"
	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/scan"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
	v1 "github.com/pipsqueak-faas/pipsqueak/gateway/v1"
)

func (p *program) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve functions on this machine",
		Long: `Serve functions on this machine until interrupted. It needs root, to make sandboxes; 'pipsqueak
doctor' checks whether the machine has everything else. Deployed functions stay in the data
directory and are there again after a restart.

Once it accepts requests it prints one line, 'listening on http://ADDRESS', to standard output; its log goes to standard error.

There is no authentication: whoever reaches the address can deploy and run code.`,
		Example: "  sudo pipsqueak serve\n  sudo pipsqueak serve --listen 127.0.0.1:9000 --data /srv/pipsqueak --memory 2G",
		GroupID: groupServer,
		Args:    cobra.NoArgs,
	}
	listen := cmd.Flags().String("listen", "127.0.0.1:8080", "`ADDRESS` to serve at")
	config := placeFlags(cmd)
	policy := cmd.Flags().String("scan-policy", "", "`FILE` of the policy for scans of a deploy's packages; without it they are not scanned")
	var memory size
	cmd.Flags().Var(&memory, "memory", "memory for all functions together, such as 512M or 2G; without it a share of this machine's")
	cmd.Flags().StringVar(&config.RequireSigned, "require-signed", "", "`KEYS` is a file of public keys, or a directory of such files: deploy only what one of them has signed")
	vulnerabilities := vulnerabilityFlags(cmd)
	unused := age(30 * 24 * time.Hour)
	cmd.Flags().Var(&unused, "package-age", "how long unused packages are kept, such as 12h or 30d")
	var limit size
	cmd.Flags().Var(&limit, "store-limit", "disk space of packages above which unused ones are removed earlier, such as 20G; without it half of the file system")
	cmd.Flags().BoolVar(&config.Events, "events", false, "write a line to the log for each event: function, version, request id, start, time, status, bytes")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := p.needRoot(cmd); err != nil {
			return err
		}
		config.Memory, config.PackageAge, config.StoreLimit = int64(memory), max(time.Duration(unused), 1), int64(limit) // 0 is for the usual
		config.Log = slog.New(slog.NewTextHandler(p.err, nil))
		if config.Vulnerabilities, config.Refuse, err = vulnerabilities.open(cmd, config.Log); err != nil {
			return err
		}
		if *policy != "" {
			if config.Policy, err = scan.Load(*policy); err != nil {
				return err
			}
		}
		return p.serveAt(cmd.Context(), *listen, *config)
	}
	return cmd
}

// needRoot refuses a command that makes sandboxes to whoever may not, before it has done anything.
func (p *program) needRoot(cmd *cobra.Command) error {
	if p.user == 0 {
		return nil
	}
	return core.Errorf(core.KindInvalid, core.FaultCaller, "'%s' makes sandboxes, for which it needs root, and you are user %d: run it with sudo, or as a service (docs/operations.md)", cmd.CommandPath(), p.user)
}

// placeFlags gives a command the flags that say where a worker finds things.
func placeFlags(cmd *cobra.Command) *workerConfig {
	config := workerConfig{PackageRule: osv.Rule}
	cmd.Flags().StringVar(&config.Data, "data", "/var/lib/pipsqueak", "`DIR` in which everything is kept")
	beside := "."
	if self, err := os.Executable(); err == nil {
		beside = filepath.Dir(self)
	}
	cmd.Flags().StringVar(&config.Drivers, "drivers", beside, "`DIR` of the drivers, programs called pipsqueak-driver-<language>")
	return &config
}

// listen waits for an address for as long as a worker that was killed may still have it: the kernel frees its memory first, which
// takes a second or so.
func listen(ctx context.Context, address string) (listener net.Listener, err error) {
	for range 20 {
		if listener, err = net.Listen("tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
	return listener, err
}

// serveAt listens, opens the worker, and serves it until the context ends. It listens first, because opening a worker ends what is
// left of another one.
func (p *program) serveAt(ctx context.Context, address string, config workerConfig) (err error) {
	listener, err := listen(ctx, address)
	if err != nil {
		return core.Errorf(core.KindUnavailable, core.FaultCaller, "cannot listen at %s: %w; --listen names another address", address, err)
	}
	defer listener.Close()
	service, closeWorker, err := p.open(ctx, config)
	if err != nil {
		return err
	}
	stopped := make(chan time.Time, 1)
	defer context.AfterFunc(ctx, func() { stopped <- time.Now() })()
	defer func() {
		began := time.Now()
		if ctx.Err() != nil {
			began = <-stopped
		}
		// Events whose callers have gone away have the same ten seconds, from the signal on.
		end, cancel := context.WithDeadline(context.WithoutCancel(ctx), began.Add(10*time.Second))
		defer cancel()
		if closing := closeWorker(end); err == nil {
			err = closing
		}
	}()
	config.Log.Info("serve", "url", "http://"+listener.Addr().String(), "data", config.Data)
	if tcp, ok := listener.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		config.Log.Warn("serve beyond this machine without authentication: whoever reaches the address can run code")
	}
	// From here on connections wait to be accepted, so whoever reads this line can send requests.
	if _, err := fmt.Fprintf(p.out, "listening on http://%s\n", listener.Addr()); err != nil {
		return core.Errorf(core.KindUnavailable, core.FaultCaller, "cannot print the address that is served: %w", err)
	}
	front := gateway.New(service, config.Log)
	v1.Mount(front)
	if config.Events {
		front.LogEvents()
	}
	return front.Serve(ctx, listener)
}
