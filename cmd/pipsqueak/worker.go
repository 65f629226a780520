package main

import (
	"context"
	"log/slog"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/scan"
	"github.com/pipsqueak-faas/pipsqueak/core/worker"
)

// workerConfig is what a worker is opened with.
type workerConfig struct {
	Data    string // directory of everything that outlives the worker
	Drivers string // directory of the drivers' programs
	Memory  int64  // bytes that all nodes may use together; 0 lets the worker choose
	Log     *slog.Logger
	Policy  *scan.Policy // of what a scan finds at a deploy; nil for no scan
}

// opener opens a worker. What it returns as a function closes it.
type opener func(context.Context, workerConfig) (core.Service, func(context.Context) error, error)

func open(ctx context.Context, config workerConfig) (core.Service, func(context.Context) error, error) {
	w, err := worker.Open(ctx, worker.Config(config))
	if err != nil {
		return nil, nil, err
	}
	return w, w.Close, nil
}

func checks(ctx context.Context, config workerConfig) []core.Finding {
	return worker.Examine(ctx, worker.Config(config))
}
