package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// patience is how long a caller waits for a driver that is being restarted, unless its context ends sooner.
const patience = 2 * time.Second

// FleetOptions says how a fleet is kept.
type FleetOptions struct {
	Options
	// OnLost is called when a driver has died, before it is started again and not during Close: what the
	// driver held under that generation will not answer any more. The restart waits for it to return. May be
	// nil.
	OnLost func(language string, generation int)
}

// Fleet keeps every driver of a directory alive, and finds the driver of a runtime. It is safe for concurrent
// use; every error of its methods is a *core.Error.
//
// A generation is one life of one driver. The generations of a fleet are counted over all of its drivers, so
// a number is never used twice.
type Fleet struct {
	log    *slog.Logger
	onLost func(string, int)
	open   func(ctx context.Context, path string) (life, error)

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	keeper sync.WaitGroup

	mu         sync.Mutex
	members    []*member // by file name, which decides who gets a runtime that several claim
	generation int       // the last one given
	changed    chan struct{}
}

// Running is a driver with what it has said of itself.
type Running interface {
	core.Driver
	Description() core.Description
	Parts() core.Parts // by the capabilities in the description
	Protocol() int     // version that it speaks
}

// life is a driver from its start to its death: a *Client, outside of tests.
type life interface {
	Running
	PID() int
	Done() <-chan struct{}
	Err() error
	Close()
}

// member is one driver, alive or not. The fields below path are guarded by Fleet.mu.
type member struct {
	name, language, path string

	description core.Description // of its last life; no runtimes before the first
	life        life             // nil while it does not run
	generation  int              // of its last life
	lives       int
	failed      bool  // the last start did not succeed, so there is nothing to wait for
	reason      error // why it does not run
}

// OpenFleet starts every program in dir whose name begins with Prefix. It returns when each has been tried
// once, also when some or all do not start: Snapshot reports why, and they are tried again, at once, then
// with pauses from 100 ms doubling to 10 s, which begin again after a minute of life. The end of ctx ends the
// opening only. The caller closes the fleet.
func OpenFleet(ctx context.Context, dir string, options FleetOptions) (*Fleet, error) {
	paths, err := programs(dir)
	if err != nil {
		return nil, err
	}
	return openFleet(ctx, paths, options, func(ctx context.Context, path string) (life, error) {
		client, err := Open(ctx, path, options.Options)
		if err != nil {
			return nil, err
		}
		return client, nil
	})
}

// programs returns the drivers of a directory.
func programs(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, core.Errorf(core.KindNotFound, core.FaultWorker, "the directory of drivers cannot be read: %w", err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), Prefix) && !entry.IsDir() {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths, nil
}

func openFleet(ctx context.Context, paths []string, options FleetOptions, open func(context.Context, string) (life, error)) (*Fleet, error) {
	f := &Fleet{log: cmp.Or(options.Log, slog.Default()), onLost: options.OnLost, open: open, changed: make(chan struct{})}
	if f.onLost == nil {
		f.onLost = func(string, int) {}
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	for _, path := range slices.Sorted(slices.Values(paths)) {
		name := filepath.Base(path)
		f.members = append(f.members, &member{name: name, path: path, language: strings.TrimPrefix(name, Prefix)})
	}
	var tried sync.WaitGroup
	stop := context.AfterFunc(ctx, f.cancel)
	for _, m := range f.members {
		tried.Add(1)
		f.keeper.Go(func() { f.keep(m, sync.OnceFunc(tried.Done)) })
	}
	tried.Wait()
	if !stop() {
		f.Close()
		return nil, contextError(ctx, "the drivers were not all started")
	}
	return f, nil
}

// Driver returns the live driver of a runtime, the runtime as that driver described it, and the generation,
// by which a later OnLost names this life. When the driver is just being restarted it waits, two seconds at
// most. It fails with KindUnsupported when no driver has the runtime, and with KindUnavailable and the reason
// when the driver does not run.
func (f *Fleet) Driver(ctx context.Context, id core.RuntimeID) (Running, core.Runtime, int, error) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for impatient := false; ; {
		found, changed := f.find(id)
		switch {
		case found.err != nil:
			return nil, core.Runtime{}, 0, found.err
		case found.life != nil:
			return found.life, found.runtime, found.generation, nil
		case impatient:
			return nil, core.Runtime{}, 0, unavailable(id, found.reason)
		}
		select {
		case <-changed:
		case <-f.ctx.Done():
		case <-timeout.C:
			impatient = true
		case <-ctx.Done():
			return nil, core.Runtime{}, 0, contextError(ctx, fmt.Sprintf("the runtime %s was waited for: %v", id, found.reason))
		}
	}
}

// found is what find found: a life, an error, or the reason to wait.
type found struct {
	life       life
	runtime    core.Runtime
	generation int
	reason     error
	err        error
}

// find looks a runtime up, and returns a channel that is closed when the answer may have changed.
func (f *Fleet) find(id core.RuntimeID) (found, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, runtime, ok := f.owner(id)
	switch {
	case f.ctx.Err() != nil:
		return found{err: core.Errorf(core.KindUnavailable, core.FaultWorker, "the worker is stopping and has closed its drivers")}, nil
	case !ok:
		return found{err: f.unsupported(id)}, nil
	case m.failed:
		return found{err: unavailable(id, m.reason)}, nil
	}
	if m.life != nil {
		select {
		case <-m.life.Done(): // who has seen a call fail by its death must not be given it again; its keeper is about to say so
			return found{reason: m.life.Err()}, f.changed
		default:
		}
	}
	return found{life: m.life, runtime: runtime, generation: m.generation, reason: m.reason}, f.changed
}

// owner returns the first driver by file name that has described the runtime, alive or not.
func (f *Fleet) owner(id core.RuntimeID) (*member, core.Runtime, bool) {
	for _, m := range f.members {
		for _, r := range m.description.Runtimes {
			if r.ID == id {
				return m, r, true
			}
		}
	}
	return nil, core.Runtime{}, false
}

// unsupported reports that nobody has the runtime, or that the one who most likely has it never ran.
func (f *Fleet) unsupported(id core.RuntimeID) error {
	var ids []string
	for _, m := range f.members {
		if m.lives == 0 && m.reason != nil && strings.HasPrefix(string(id), m.language) {
			return unavailable(id, m.reason)
		}
		for _, r := range m.description.Runtimes {
			ids = append(ids, string(r.ID))
		}
	}
	slices.Sort(ids)
	there := "there is none on this machine"
	if ids = slices.Compact(ids); len(ids) > 0 {
		there = "there are " + strings.Join(ids, ", ")
	}
	return core.Errorf(core.KindUnsupported, core.FaultCaller, "no driver has the runtime %q: %s", id, there)
}

func unavailable(id core.RuntimeID, reason error) error {
	return core.Errorf(core.KindUnavailable, core.AsError(reason).Fault,
		"the runtime %s cannot be used now: %w", id, reason).Again()
}

func contextError(ctx context.Context, what string) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return core.Errorf(core.KindTimeout, core.FaultWorker, "%s: %w", what, ctx.Err())
	}
	return core.Errorf(core.KindCanceled, core.FaultCaller, "%s: %w", what, ctx.Err())
}

// Snapshot returns all drivers as they are now, by file name. What it returns is not to be changed.
func (f *Fleet) Snapshot() []core.DriverInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	infos := make([]core.DriverInfo, 0, len(f.members))
	for _, m := range f.members {
		info := core.DriverInfo{Description: m.description, Path: m.path, Restarts: max(0, m.lives-1)}
		info.Language = m.language
		if m.life != nil {
			info.PID = m.life.PID()
			info.Error = f.conflicts(m)
		} else if m.reason != nil {
			info.Error = m.reason.Error()
		}
		infos = append(infos, info)
	}
	return infos
}

// conflicts reports which runtimes of m belong to another driver.
func (f *Fleet) conflicts(m *member) string {
	var sentences []string
	for _, r := range m.description.Runtimes {
		if owner, _, _ := f.owner(r.ID); owner != m {
			sentences = append(sentences, fmt.Sprintf("the runtime %s is not used from here, because %s has it too", r.ID, owner.name))
		}
	}
	return strings.Join(sentences, "; ")
}

// Close closes all drivers and returns when they are gone.
func (f *Fleet) Close() {
	f.cancel()
	f.keeper.Wait()
}
