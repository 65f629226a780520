// Package study measures Pipsqueak with its tree, without it, and against new processes, and writes a paper
// about that.
package study

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/coldstart"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/registry"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/run"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/trace"
)

// Options are where a study is made.
type Options struct {
	Work     string // directory of everything that is measured, with which an interrupted study goes on
	Out      string // directory of the paper
	Worker   string // the program pipsqueak
	Quick    bool   // a short form, which shows that everything runs, and little else
	Progress io.Writer
}

// size is how much is measured.
type size struct {
	starts, packages, functions, rounds int
	trace                               time.Duration
}

func (o Options) size() size {
	if o.Quick {
		return size{starts: 3, packages: 30, functions: 2, rounds: 3, trace: 10 * time.Second}
	}
	return size{starts: 10, packages: 100, functions: 6, rounds: 15, trace: 5 * time.Minute}
}

// The platforms that are compared.
const (
	processes = "new processes"
	noTree    = "no tree"
	tree      = "tree"
)

var platforms = []string{processes, noTree, tree}

// measured is everything that a study has measured.
type measured struct {
	starts []coldstart.Row
	traces []*results.Run // by platform
	real   []*results.Run
}

// Run measures what has not been measured yet, and writes the paper.
func Run(ctx context.Context, o Options) error {
	if err := os.MkdirAll(o.Work, 0o755); err != nil {
		return err
	}
	var m measured
	samples, err := coldstart.Run(ctx, coldstart.Options{Out: filepath.Join(o.Work, "starts"), Worker: o.Worker, Languages: profile.Languages,
		Starts: o.size().starts, Quick: o.Quick, Progress: o.Progress})
	if err != nil {
		return err
	}
	m.starts = coldstart.Rows(samples)
	if m.traces, err = o.traces(ctx); err != nil {
		return err
	}
	if m.real, err = o.real(ctx); err != nil {
		return err
	}
	return m.write(o.Out, o.Quick)
}

// on has a function use a platform: with packages of a directory, or with those of the machine's own
// settings.
func (o Options) on(ctx context.Context, platform, dir, data string, use func(run.Target) error) (err error) {
	if platform == processes {
		target, err := run.NewCommand(dir)
		if err != nil {
			return err
		}
		return errors.Join(use(target), target.Close())
	}
	var packages *registry.Server
	if dir != "" {
		if packages, err = registry.Serve(dir); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, packages.Close()) }()
	}
	flags := map[string][]string{noTree: {"--zygotes", "roots"}}[platform]
	w, err := run.StartWorker(ctx, o.Worker, filepath.Join(o.Work, data), packages, flags...)
	if err != nil {
		return err
	}
	return errors.Join(use(w), w.Close())
}

// file is that of the results of a platform, without blanks.
func (o Options) file(part, platform string) string {
	name := map[string]string{processes: "processes", noTree: "no-tree", tree: "tree"}[platform]
	return filepath.Join(o.Work, part+"-"+name+".jsonl")
}

// traces runs one trace of artificial functions in four languages on every platform.
func (o Options) traces(ctx context.Context) (all []*results.Run, err error) {
	dir, at := filepath.Join(o.Work, "bench"), filepath.Join(o.Work, "trace.jsonl")
	if _, err := os.Stat(at); err != nil {
		if err := o.make(ctx, dir, at); err != nil {
			return nil, err
		}
	}
	return o.onEach("trace", func(platform, path string, begun bool) error {
		return o.on(ctx, platform, dir, "data-"+filepath.Base(path), func(target run.Target) error {
			return run.Do(ctx, target, run.Options{Dir: dir, Trace: at, Out: path, Continue: begun, Timeout: 2 * time.Minute, Progress: o.Progress})
		})
	})
}

// onEach has each platform do a part of the study, unless its results are whole. Begun says that there are
// some. It returns the results by platform.
func (o Options) onEach(part string, do func(platform, path string, begun bool) error) (all []*results.Run, err error) {
	for _, platform := range platforms {
		path := o.file(part, platform)
		before, err := results.Open(path)
		if begun := err == nil; !begun || !before.Complete {
			fmt.Fprintf(o.Progress, "%s: %s\n", part, platform)
			if err := do(platform, path, begun); err != nil {
				return nil, err
			}
		}
		r, err := results.Open(path)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// rate is how many events a second a trace has: as many as new processes bear on two processors.
const rate = 1.5

// make makes packages, functions and a trace. What an interruption has left of them is removed.
func (o Options) make(ctx context.Context, dir, at string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, language := range profile.Languages {
		p, err := profile.Shipped(language)
		if err != nil {
			return err
		}
		if _, err := packages.Write(ctx, p, o.size().packages, 1, 0.01, dir, func(int) {}); err != nil {
			return err
		}
	}
	set, err := functions.Write(dir, nil, o.size().functions, 1)
	if err != nil {
		return err
	}
	made, err := trace.Draw("poisson", set.Functions, trace.Options{Seed: 1, Duration: o.size().trace, Speed: 1, Rate: rate, Burst: 1})
	if err != nil {
		return err
	}
	return made.Write(at)
}
