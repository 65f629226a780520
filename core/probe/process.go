package probe

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// process is one process of a probe, in a sandbox of its own.
type process struct {
	Sandbox
	modules []string // that it has imported, or what it was forked from
	depth   int
}

// process makes a process: a fork of the parent, or a root zygote when there is none.
func (r *run) process(parent *process) (*process, error) {
	ctx, cancel := context.WithTimeout(r.ctx, preloadTime)
	defer cancel()
	config := core.SandboxConfig{Role: core.RoleZygote, Runtime: r.Runtime, Packages: r.set, Limits: core.Limits{Memory: memoryLimit}}
	if parent != nil {
		config.Parent = parent.Door().ID
	}
	box, err := r.Create(ctx, config)
	if err != nil {
		return nil, err
	}
	p := &process{Sandbox: box}
	r.all = append(r.all, p)
	id := box.Door().ID
	if parent == nil {
		err = r.Driver.Preload(ctx, id, r.Runtime.ID, box.Door())
	} else {
		p.modules, p.depth = parent.modules, parent.depth+1
		err = r.Driver.Fork(ctx, id, parent.Door().ID, box.Door())
	}
	if err == nil {
		_, _, err = box.Entered()
	}
	if err != nil {
		err = explain(p, err)
		r.end(p)
		return nil, err
	}
	return p, nil
}

// end ends a process and everything that was forked from it.
func (r *run) end(p *process) {
	p.Kill()
	<-p.Done()
	if p == r.work {
		r.work, r.seen = nil, nil
	}
}

// explain returns why a process has not done what it was asked to: how it ended, if it did, which its driver
// cannot know. KindExhausted is for a machine that is short of memory.
func explain(p *process, err error) error {
	if core.IsKind(err, core.KindException) {
		return err
	}
	select {
	case <-p.Done():
	case <-time.After(endGrace):
		return err
	}
	exit := p.Exit()
	switch {
	case exit.OutOfMemory:
		return core.Errorf(core.KindMemory, core.FaultHandler, "its import was ended when it took more than the %d MiB of memory that it may take", int64(memoryLimit)>>20)
	case exit.Starved:
		return core.Errorf(core.KindExhausted, core.FaultWorker, "its import was ended because the worker's machine or service had no memory left").Again()
	case !exit.Known:
		if _, _, entering := p.Entered(); entering != nil {
			err = fmt.Errorf("%w; its driver says: %w", entering, err)
		}
		return err
	}
	how := fmt.Sprintf("its process ended with code %d", exit.Code)
	if exit.Signal != 0 {
		how = fmt.Sprintf("its process ended with signal %d (%v)", exit.Signal, syscall.Signal(exit.Signal))
	}
	if exit.Crowded {
		how += ", after it wanted more processes and threads than it may have"
	}
	return core.Errorf(core.KindExit, core.FaultHandler, "%s", how)
}

// observe looks at the process to work with.
func (r *run) observe() (sandbox.Observation, error) {
	if r.seen == nil {
		seen, err := r.work.Observe()
		if err != nil {
			return seen, err
		}
		r.seen = &seen
	}
	return *r.seen, nil
}

// load has a process import modules, and returns the report, with what they read and ask for.
func (r *run) load(ctx context.Context, p *process, modules ...string) (report core.Report, err error) {
	if p == r.work {
		r.seen = nil
	}
	report, err = r.Driver.Import(ctx, p.Door().ID, core.Load{Packages: r.dirs, Modules: modules, Watch: true})
	if err == nil {
		p.modules = slices.Concat(p.modules, modules)
	}
	return report, err
}

// ready sees to it that there is a process to work with, which has imported all that is good and is needed.
// What cannot be imported any more is good no longer.
func (r *run) ready(needed []string) error {
	if r.work == nil {
		if err := r.refork(); err != nil {
			return err
		}
	}
	if missing := without(needed, r.work.modules); len(missing) > 0 {
		if _, err := r.load(r.ctx, r.work, missing...); err != nil {
			r.end(r.work)
			return r.refork()
		}
		r.good = r.work.modules
	}
	return nil
}

// refork makes a process to work with after the last one was spoilt. What that had imported beyond base is
// imported again, once: a copy of the result is base from then on.
func (r *run) refork() error {
	for r.ctx.Err() == nil {
		p, err := r.process(r.base)
		if err != nil {
			if r.base == r.root {
				return err
			}
			r.base, r.good = r.root, nil // a package has harmed it after all
			continue
		}
		r.work = p
		// Also when nothing is missing: what has answered has done what it does after a fork.
		missing := without(r.good, p.modules)
		if _, err := r.load(r.ctx, p, missing...); err != nil {
			r.end(p)
			if len(missing) == 0 {
				return err
			}
			r.good = r.base.modules
			continue
		}
		if len(missing) == 0 || p.depth >= maxDepth {
			return nil
		}
		r.base, r.work, r.seen = p, nil, nil
	}
	return r.ctx.Err()
}

// tryFork reports why the process cannot be forked any more, if it cannot: a fork has to stand in its sandbox
// and answer.
func (r *run) tryFork() string {
	r.seen = nil // to fork leaves something as well
	child, err := r.process(r.work)
	if err == nil {
		if _, err = r.load(r.ctx, child); err != nil {
			err = explain(child, err)
		}
		r.end(child)
	}
	if err != nil {
		return "cannot be forked after its import: " + explain(r.work, err).Error()
	}
	return ""
}

// drop goes on without a module that the process to work with has imported.
func (r *run) drop(module string) {
	r.end(r.work)
	r.good = without(r.good, []string{module})
}
