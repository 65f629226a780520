// The demo of `make demo`: it deploys every function in this folder, sends each its first event, invokes it
// cold, as a fork and warm, and prints where the time went. It is a user like any other: it has the program,
// HTTP, and the headers of each answer.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func main() {
	bin := flag.String("bin", "bin", "folder of the built programs")
	examples := flag.String("examples", "examples", "folder of the functions")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx, *bin, *examples)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// example is one function of the folder, and what was measured of it.
type example struct {
	name   string
	dir    string
	app    bool // of several functions, of which the one with its name takes the event
	event  []byte
	starts []start
	answer string
}

// start is one invocation: how the instance came to be and the phases in milliseconds, as the worker told.
type start struct {
	kind    string
	runtime core.RuntimeID
	phases  map[string]float64
}

// columns are the phases as the table has them: the total first.
var columns = append([]string{"total"}, core.PhaseNames[:len(core.PhaseNames)-1]...)

func demo(ctx context.Context, bin, folder string) error {
	found, err := find(folder)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "pipsqueak-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	data := filepath.Join(scratch, "data")

	err = withWorker(ctx, bin, data, func(w *worker) error {
		for _, e := range found {
			if err := w.deploy(ctx, e); err != nil {
				return err
			}
			if err := w.first(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Println("\nFirst: the first event after the deploy, which is a fork.")
	fmt.Println("Cold: the first event of a worker that has just been started, and has forgotten which functions were used.")
	for _, e := range found {
		if err := os.RemoveAll(filepath.Join(data, "uses.json")); err != nil {
			return err
		}
		if err := withWorker(ctx, bin, data, func(w *worker) error { return w.measure(ctx, e, e.name, core.StartCold, 1) }); err != nil {
			return err
		}
	}
	fmt.Println("Fork: a fresh instance for every event (reuse: false). Warm: the same instance again. The median of each.")
	return withWorker(ctx, bin, data, func(w *worker) error {
		for _, e := range found {
			if err := w.forkAndWarm(ctx, e, scratch); err != nil {
				return err
			}
		}
		if err := show(found); err != nil {
			return err
		}
		fmt.Println("\nThe tree:")
		return w.program(ctx, "tree")
	})
}

// find returns the folders that have an event.json.
func find(folder string) (found []*example, err error) {
	events, err := filepath.Glob(filepath.Join(folder, "*", "event.json"))
	if err != nil {
		return nil, err
	}
	for _, path := range events {
		event, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		dir := filepath.Dir(path)
		manifest, err := os.ReadFile(filepath.Join(dir, "pipsqueak.yaml"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		found = append(found, &example{name: filepath.Base(dir), dir: dir, app: bytes.Contains(manifest, []byte("functions:")), event: event})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no folder below %s has an event.json", folder)
	}
	return found, nil
}

// first sends the first event after the deploy.
func (w *worker) first(ctx context.Context, e *example) error {
	got, answer, err := w.invoke(ctx, e.name, e.event)
	if err != nil {
		return err
	}
	if got.kind != string(core.StartFork) {
		return fmt.Errorf("the first event of %s was no fork, but %s", e.name, got.kind)
	}
	got.kind = "first"
	e.starts, e.answer = append(e.starts, got), answer
	return nil
}

// forkAndWarm measures the other two kinds of start. Of an application only the warm one says something.
func (w *worker) forkAndWarm(ctx context.Context, e *example, scratch string) error {
	if e.app {
		return w.measure(ctx, e, e.name, core.StartWarm, several)
	}
	fresh := e.name + "-fresh"
	dir := filepath.Join(scratch, fresh)
	if err := os.CopyFS(dir, os.DirFS(e.dir)); err != nil {
		return err
	}
	file := filepath.Join(dir, "pipsqueak.yaml")
	settings, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(file, withoutReuse(settings), 0o644); err != nil {
		return err
	}
	if err := w.deploy(ctx, &example{name: fresh, dir: dir}); err != nil {
		return err
	}
	if err := w.measure(ctx, e, fresh, core.StartFork, several); err != nil {
		return err
	}
	if err := w.measure(ctx, e, e.name, core.StartWarm, several); err != nil {
		return err
	}
	return w.program(ctx, "remove", fresh)
}

// withoutReuse returns settings with which each event has an instance of its own. Then no instance can have
// several events.
func withoutReuse(settings []byte) []byte {
	return append(regexp.MustCompile(`(?m)^concurrency:.*\n`).ReplaceAll(settings, nil), "reuse: false\n"...)
}

// several is how many starts are measured where one alone would tell little: a machine that is just busy with
// something else takes several times as long.
const several = 9

// measure invokes a function until it has started in the wanted way n times, and keeps the median start.
func (w *worker) measure(ctx context.Context, e *example, function string, want core.Start, n int) error {
	const tries = 100
	var starts []start
	for range tries {
		got, answer, err := w.invoke(ctx, function, e.event)
		if err != nil {
			return err
		}
		if got.kind == string(want) {
			e.answer = answer
			starts = append(starts, got)
		}
		if len(starts) == n {
			slices.SortFunc(starts, func(a, b start) int { return cmp.Compare(a.phases["total"], b.phases["total"]) })
			e.starts = append(e.starts, starts[n/2])
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s did not start as %s %d times in %d tries", function, want, n, tries)
}

// invoke sends the event and reads what every answer says of it.
func (w *worker) invoke(ctx context.Context, function string, event []byte) (start, string, error) {
	answer, err := w.client.Invoke(ctx, function, bytes.NewReader(event))
	if err != nil {
		return start{}, "", fmt.Errorf("%s: %w", function, err)
	}
	s := start{kind: string(answer.Start), phases: map[string]float64{}}
	for _, phase := range answer.Phases {
		s.phases[phase.Name] = phase.Ms
	}
	f, err := w.client.Function(ctx, function)
	s.runtime = f.Runtime
	return s, string(bytes.TrimSpace(answer.Result)), err
}

// show prints the table.
func show(found []*example) error {
	fmt.Println()
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "function\tlanguage\tstart\t%s ms\t%s\t\n", columns[0], strings.Join(columns[1:], "\t"))
	for _, e := range found {
		for _, s := range e.starts {
			fmt.Fprintf(out, "%s\t%s\t%s\t", e.name, s.runtime, s.kind)
			for _, name := range columns {
				if ms, happened := s.phases[name]; happened {
					fmt.Fprintf(out, "%.3f\t", ms)
				} else {
					fmt.Fprint(out, "·\t")
				}
			}
			fmt.Fprintln(out)
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Println()
	for _, e := range found {
		line := []rune(e.name + " answers " + e.answer)
		if len(line) > 118 {
			line = append(line[:117], '…')
		}
		fmt.Println(string(line))
	}
	return nil
}
