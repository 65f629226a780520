package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/worker"
)

// attach gives the program the machine that it runs on.
func (p *program) attach() { p.open, p.checks = open, checks }

// ofMachine returns the commands that make sandboxes on this machine.
func (p *program) ofMachine() []*cobra.Command {
	return []*cobra.Command{p.serve(), p.doctor(), p.scan()}
}

func open(ctx context.Context, config workerConfig) (core.Service, func(context.Context) error, error) {
	if err := sweep(filepath.Join(config.Data, workDir)); err != nil { // a scan that was killed has left it
		config.Log.Warn("scan", "err", err)
	}
	w, err := worker.Open(ctx, worker.Config(config.withEnvironment(os.Environ())))
	if err != nil {
		return core.Service{}, nil, err
	}
	return w.Service(), w.Close, nil
}

func checks(ctx context.Context, config workerConfig) []core.Finding {
	return worker.Examine(ctx, worker.Config(config.withEnvironment(os.Environ())))
}

// sweep removes the directory of a scan, and what else that has left, unless another scan has it.
func sweep(dir string) error {
	err := worker.Sweep(dir)
	if core.IsKind(err, core.KindConflict) {
		return nil
	}
	return err
}
