package main

import (
	"context"
	"log/slog"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// workerConfig is what a worker is opened with.
type workerConfig struct {
	Data    string // directory of everything that outlives the worker
	Drivers string // directory of the drivers' programs
	Memory  int64  // bytes that all nodes may use together; 0 lets the worker choose
	Log     *slog.Logger
}

// opener opens a worker. What it returns as a function closes it.
type opener func(context.Context, workerConfig) (core.Service, func(context.Context) error, error)

func open(context.Context, workerConfig) (core.Service, func(context.Context) error, error) {
	return nil, nil, core.Errorf(core.KindUnsupported, core.FaultWorker, "this build has no worker in it")
}

func checks(context.Context, workerConfig) []Check { return nil }
