package supply

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
)

// Of what an instance says that its function imports besides, so much is believed.
const (
	maxLoaded    = 64
	learnTimeout = time.Minute
)

// watched stands for the whole handler among the modules that were tried.
const watched = ""

// learning is the work that nobody waits for: preparing what is deployed, and trying what instances say that
// they import besides, nothing twice.
type learning struct {
	ctx    context.Context // ends with the supply
	cancel context.CancelFunc

	mu      sync.Mutex
	working sync.WaitGroup
	tried   map[string]tried // by function
}

// tried is the modules that were tried for a version of a function.
type tried struct {
	version int
	modules []string
}

func newLearning() *learning {
	l := &learning{tried: map[string]tried{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// enter counts a piece of work. It is refused when the supply is closing: the next one does it. The caller
// calls leave at its end.
func (l *learning) enter() (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil, false
	}
	l.working.Add(1)
	return l.working.Done, true
}

// begin does work in the background, unless the supply is closing.
func (l *learning) begin(work func(ctx context.Context)) {
	if leave, ok := l.enter(); ok {
		go func() {
			defer leave()
			work(l.ctx)
		}()
	}
}

// fresh returns those of the modules that were not tried yet, and counts them as tried.
func (l *learning) fresh(fn *core.Function, modules []string) (fresh []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tried[fn.Name]
	if l.ctx.Err() != nil || t.version > fn.Version {
		return nil // the instance is of a version that was replaced
	}
	if t.version < fn.Version {
		t = tried{version: fn.Version}
	}
	for _, m := range modules {
		if len(t.modules) < maxLoaded && !slices.Contains(t.modules, m) {
			t.modules = append(t.modules, m)
			fresh = append(fresh, m)
		}
	}
	l.tried[fn.Name] = t
	return fresh
}

// untry has modules tried again that could not be.
func (l *learning) untry(fn *core.Function, modules []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tried[fn.Name]; t.version == fn.Version {
		t.modules = slices.DeleteFunc(t.modules, func(m string) bool { return slices.Contains(modules, m) })
		l.tried[fn.Name] = t
	}
}

// forget forgets what was tried for a function.
func (l *learning) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tried, name)
}

// close ends what is being tried, and waits for it.
func (l *learning) close() {
	l.mu.Lock()
	l.cancel()
	l.mu.Unlock()
	l.working.Wait()
}

// Loaded corrects the known imports of a function by the report of one of its instances. The instance runs
// the function's own code. So its report counts only for modules of the function's own packages, and only
// after a probe has shown that a zygote can import them.
func (s *Supply) Loaded(fn *core.Function, modules []string) {
	leave, ok := s.learning.enter()
	if !ok {
		return
	}
	defer leave()
	if !fn.Watched && hasImports(fn) && len(s.learning.fresh(fn, []string{watched})) > 0 { // it can be imported by now
		s.watchLater(*fn)
	}
	packages := s.installed(fn)
	modules = slices.DeleteFunc(modules, func(m string) bool {
		p, _ := owner(m, packages)
		return p == nil || p.Probe != nil && (p.Probe.Unforkable != "" || len(p.Probe.Errors) > 0) || fn.Apart[m] != "" || fn.IsLate(m) || slices.Contains(fn.Imports, m) || slices.Contains(fn.Loaded, m)
	})
	if modules = s.learning.fresh(fn, modules); len(modules) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(s.learning.ctx, learnTimeout)
	defer cancel()
	err := s.learn(ctx, fn, modules)
	if core.IsKind(err, core.KindUnavailable) { // its driver is started again just now
		s.learning.untry(fn, modules)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("import", "fn", fn.Name, "modules", modules, "err", err)
	}
}

// learn tries those modules that an instance of a function has imported besides and that nobody has tried for
// it. The version that is deployed at the end has the use of it, as far as it is alike.
func (s *Supply) learn(ctx context.Context, fn *core.Function, modules []string) error {
	d := s.deployed(*fn, nil)
	if err := d.find(ctx); err != nil {
		return err
	}
	packages := s.installed(fn)
	trials, err := d.tryLoaded(ctx, modules, packages)
	for err == nil {
		known, ok := s.store.Get(fn.Name)
		if !ok || !alike(fn, &known) {
			return nil
		}
		before := known.Loaded
		take(&known, modules, trials, packages)
		news := !slices.Equal(before, known.Loaded)
		if !news && len(trials) == 0 {
			return nil // an earlier version has learned it all
		}
		if news {
			s.live.Preload(ctx, &known) // before its starts want it
		}
		var corrected core.Function
		corrected, err = s.store.Amend(fn.Name, known.Version, func(f *core.Function) { take(f, modules, trials, packages) })
		if err == nil && news {
			s.learnCosts(&corrected, packages)
			s.live.Correct(&corrected)
			s.log.Info("import", "fn", fn.Name, "loaded", corrected.Loaded)
		}
		if !core.IsKind(err, core.KindConflict) {
			return err
		}
		err = nil // it was replaced meanwhile
	}
	return err
}

// tryLoaded tries modules that an instance of the function has imported besides, but for those that were
// tried for it while this waited.
func (d *deployment) tryLoaded(ctx context.Context, modules []string, packages []core.Installed) (map[string]core.Trial, error) {
	defer d.turns.takeLater()()
	known, ok := d.store.Get(d.fn.Name)
	if !ok || !alike(&d.fn, &known) {
		return nil, nil
	}
	fresh := slices.DeleteFunc(slices.Clone(modules), func(m string) bool { _, tried := trialOf(&known, m); return tried })
	if len(fresh) == 0 {
		return nil, nil
	}
	first := slices.DeleteFunc(slices.Concat(known.Imports, known.Loaded), func(m string) bool { return known.Apart[m] != "" })
	trials, err := probe.Try(ctx, d.machine(), packages, first, fresh, known.Settings())
	return trials, errors.Join(err, d.noteAsks(d.runtime.ID, packages, trials))
}
