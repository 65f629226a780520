package coldstart

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/registry"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/run"
)

// Options are what is measured, and where.
type Options struct {
	Out       string // directory of everything: results, and what they are measured with
	Worker    string // the program pipsqueak
	Languages []string
	Starts    int  // of each kind, for each function
	Quick     bool // few functions
	Progress  io.Writer
}

// Sample is one start.
type Sample struct {
	Language string             `json:"language"`
	Count    int                `json:"packages"`
	Cost     string             `json:"cost,omitempty"`
	Kind     Kind               `json:"kind"`
	Ms       float64            `json:"ms"` // from when the event was sent to its answer, or of the whole process
	Phases   map[string]float64 `json:"phases,omitempty"`
}

// study is a measurement under way.
type study struct {
	Options
	cells     []Cell
	functions map[Cell]functions.Function
	samples   []Sample
	have      map[Cell]map[Kind]int
	file      *os.File
	registry  *registry.Server
}

// Run measures what has not been measured yet, and returns all starts.
func Run(ctx context.Context, o Options) (samples []Sample, err error) {
	s := &study{Options: o, have: map[Cell]map[Kind]int{}}
	for _, language := range o.Languages {
		if !slices.Contains(profile.Languages, language) {
			return nil, fmt.Errorf("--language: %q is not one of %q", language, profile.Languages)
		}
		s.cells = append(s.cells, cells(language, o.Quick)...)
	}
	if err := os.MkdirAll(s.bench(), 0o755); err != nil {
		return nil, err
	}
	if s.functions, err = prepare(ctx, s.bench(), s.cells); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.file.Close()) }()
	if s.registry, err = registry.Serve(s.bench()); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.registry.Close()) }()
	for _, part := range []func(context.Context) error{s.processes, s.roots, s.zygotes} {
		if err := part(ctx); err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("interrupted; %s has the results so far, and the same command goes on", s.Out)
			}
			return nil, err
		}
	}
	return s.samples, nil
}

func (s *study) bench() string { return filepath.Join(s.Out, "bench") }

// open reads the samples of an interrupted measurement, and goes on writing after them.
func (s *study) open() error {
	path := filepath.Join(s.Out, "starts.jsonl")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	whole := bytes.LastIndexByte(text, '\n') + 1 // a last line may have been cut off
	number := 0
	for line := range bytes.Lines(text[:whole]) {
		number++
		var one Sample
		if err := json.Unmarshal(line, &one); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, number, err)
		}
		s.count(one)
	}
	if s.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644); err != nil {
		return err
	}
	err = s.file.Truncate(int64(whole))
	if err == nil {
		_, err = s.file.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return errors.Join(err, s.file.Close())
	}
	return nil
}

func (s *study) count(one Sample) {
	c := Cell{one.Language, one.Count, one.Cost}
	if s.have[c] == nil {
		s.have[c] = map[Kind]int{}
	}
	s.have[c][one.Kind]++
	s.samples = append(s.samples, one)
}

// wanted is how many starts of a kind are measured: a new sandbox takes a worker of its own.
func (s *study) wanted(k Kind) int {
	if k == Sandbox {
		return min(s.Starts, max(3, s.Starts/4))
	}
	return s.Starts
}

// lacks tells whether a cell has too few starts of some kinds.
func (s *study) lacks(c Cell, kinds ...Kind) bool {
	return slices.ContainsFunc(kinds, func(k Kind) bool { return s.have[c][k] < s.wanted(k) })
}

// left are the cells that have too few starts of some kinds.
func (s *study) left(kinds ...Kind) []Cell {
	return slices.DeleteFunc(slices.Clone(s.cells), func(c Cell) bool { return !s.lacks(c, kinds...) })
}

// start sends an event, checks the answer, and keeps the start if its kind lacks some.
func (s *study) start(ctx context.Context, target run.Target, c Cell, f functions.Function, kind func(run.Answer) Kind) error {
	event, err := json.Marshal(functions.Event{Nonce: fmt.Sprintf("n%d", len(s.samples))})
	if err != nil {
		return err
	}
	began := time.Now()
	a, err := target.Invoke(ctx, f, event)
	took := time.Since(began)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	named := s.functions[c]
	named.Name = f.Name
	if err := named.Check(fmt.Sprintf("n%d", len(s.samples)), a.Result); err != nil {
		return err
	}
	one := Sample{c.Language, c.Count, c.Cost, kind(a), float64(took.Microseconds()) / 1000, a.Phases}
	if one.Kind == "" || !s.lacks(c, one.Kind) {
		return nil
	}
	text, err := json.Marshal(one)
	if err == nil {
		_, err = s.file.Write(append(text, '\n'))
	}
	s.count(one)
	return err
}

// say reports progress.
func (s *study) say(format string, args ...any) { fmt.Fprintf(s.Progress, format+"\n", args...) }

// processes starts a process for each event.
func (s *study) processes(ctx context.Context) (err error) {
	left := s.left(Process)
	if len(left) == 0 {
		return nil
	}
	target, err := run.NewCommand(s.bench())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	for _, c := range left {
		f := s.functions[c]
		if _, err := target.Deploy(ctx, f, s.code(f), false); err != nil {
			return fmt.Errorf("install %s: %w", f.Name, err)
		}
		s.say("%s: new processes", f.Name)
		is := func(run.Answer) Kind { return "" } // the first reads everything from the disk
		for s.lacks(c, Process) {
			if err := s.start(ctx, target, c, f, is); err != nil {
				return err
			}
			is = func(run.Answer) Kind { return Process }
		}
	}
	return nil
}

func (s *study) code(f functions.Function) string {
	return filepath.Join(s.bench(), "functions", f.Name)
}

// byLanguage are cells by their language, in the order of the languages.
func byLanguage(all []Cell) (groups [][]Cell) {
	for _, c := range all {
		i := slices.IndexFunc(groups, func(g []Cell) bool { return g[0].Language == c.Language })
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], c)
	}
	return groups
}

// roots starts functions on a worker whose zygotes have imported nothing. The first start in a language after
// the worker's own makes the process of the runtime too; so there is a worker for each of them.
func (s *study) roots(ctx context.Context) error {
	data := filepath.Join(s.Out, "data")
	deployed := false
	for len(s.left(Sandbox, Root)) > 0 {
		before := len(s.samples)
		// What was used before is forgotten, or the worker would make the processes of the runtimes at once.
		if err := os.Remove(filepath.Join(data, "uses.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		w, err := run.StartWorker(ctx, s.Worker, data, s.registry, "--zygotes", "roots")
		if err != nil {
			return err
		}
		if deployed {
			err = s.progressed(before, s.round(ctx, w), Sandbox, Root)
		} else {
			err = s.deploy(ctx, w, s.left(Sandbox, Root))
			deployed = true
		}
		if err := errors.Join(err, w.Close()); err != nil {
			return err
		}
	}
	return nil
}

// progressed is an error if no start was seen of those that lack.
func (s *study) progressed(before int, err error, kinds ...Kind) error {
	if err != nil || len(s.samples) > before {
		return err
	}
	c := s.left(kinds...)[0]
	return fmt.Errorf("%s: it has started %d times as one of %q, and now never: is the machine short of memory?", c.function(), s.have[c][kinds[0]], kinds)
}

// deploy deploys both functions of cells.
func (s *study) deploy(ctx context.Context, w *run.Worker, all []Cell) error {
	for _, c := range all {
		for _, f := range []functions.Function{s.functions[c], fresh(s.functions[c])} {
			if _, err := w.Deploy(ctx, f, s.code(f), false); err != nil {
				return fmt.Errorf("deploy %s: %w", f.Name, err)
			}
			s.say("%s: deployed", f.Name)
		}
	}
	return nil
}

// round starts each function once that lacks starts, on a worker that has just been started: in each language
// one that lacks starts in a new sandbox comes first.
func (s *study) round(ctx context.Context, w *run.Worker) error {
	for _, group := range byLanguage(s.left(Sandbox, Root)) {
		slices.SortStableFunc(group, func(a, b Cell) int { return cmp.Compare(s.have[a][Sandbox], s.have[b][Sandbox]) })
		s.say("%s: new sandboxes and forks from the root, %d functions left", group[0].Language, len(group))
		for i, c := range group {
			if i > 0 && !s.lacks(c, Root) {
				continue
			}
			if err := s.start(ctx, w, c, fresh(s.functions[c]), ofRoot); err != nil {
				return err
			}
			pause(ctx)
		}
	}
	return nil
}

// ofRoot is the kind of a start on a worker with root zygotes only.
func ofRoot(a run.Answer) Kind {
	if a.Phases["preload"] > 0 {
		return Sandbox
	}
	return Root
}

// gap is the time between two events, in which a worker tidies up after the first one.
const gap = 100 * time.Millisecond

func pause(ctx context.Context) {
	select {
	case <-time.After(gap):
	case <-ctx.Done():
	}
}

// forget is how long a worker remembers that a function was started, and keeps a child parked for it.
const forget = 31 * time.Second

// zygotes starts functions on a worker with a zygote for each: the first two starts of a function are forks,
// and a child is parked for the next ones, until the worker has forgotten them.
func (s *study) zygotes(ctx context.Context) (err error) {
	kinds := []Kind{Zygote, Parked, Warm}
	left := s.left(kinds...)
	if len(left) == 0 {
		return nil
	}
	w, err := run.StartWorker(ctx, s.Worker, filepath.Join(s.Out, "data"), s.registry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := s.deploy(ctx, w, left); err != nil {
		return err
	}
	last := map[Cell]time.Time{}
	for len(left) > 0 {
		before := len(s.samples)
		for _, c := range left {
			if err := s.visit(ctx, w, c, last[c]); err != nil {
				return err
			}
			last[c] = time.Now()
		}
		if err := s.progressed(before, nil, kinds...); err != nil {
			return err
		}
		left = s.left(kinds...)
		s.say("forks, parked children and warm starts: %d functions left", len(left))
	}
	return nil
}

// visit sends some events to the functions of a cell.
func (s *study) visit(ctx context.Context, w *run.Worker, c Cell, last time.Time) error {
	if s.lacks(c, Zygote) && !last.IsZero() {
		select {
		case <-time.After(time.Until(last.Add(forget))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for range 2 + min(5, s.Starts) {
		if err := s.start(ctx, w, c, fresh(s.functions[c]), ofZygote); err != nil {
			return err
		}
		pause(ctx)
	}
	for range 1 + min(10, s.Starts) {
		if !s.lacks(c, Warm) {
			break
		}
		if err := s.start(ctx, w, c, s.functions[c], ofZygote); err != nil {
			return err
		}
		pause(ctx)
	}
	return nil
}

// ofZygote is the kind of a start on a worker with all zygotes. A child that was parked was forked before the
// event came.
func ofZygote(a run.Answer) Kind {
	switch {
	case a.Start == "warm":
		return Warm
	case a.Start == "fork" && a.Phases["fork"] > 0:
		return Zygote
	case a.Start == "fork":
		return Parked
	}
	return "" // imports were still to do
}
