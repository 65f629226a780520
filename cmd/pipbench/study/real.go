package study

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/run"
)

//go:embed functions
var written embed.FS

// real is a function that does something useful: its event, and what it has to answer.
type real struct {
	functions.Function
	event, answer []byte
}

// reals are all of them.
func reals() (all []real, err error) {
	dirs, err := fs.ReadDir(written, "functions")
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		language, _, _ := strings.Cut(dir.Name(), "-")
		r := real{Function: functions.Function{Name: dir.Name(), Language: language}}
		if r.event, err = written.ReadFile("functions/" + dir.Name() + "/event.json"); err != nil {
			return nil, err
		}
		if r.answer, err = written.ReadFile("functions/" + dir.Name() + "/answer.json"); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// write writes a function to a directory, with a main program, and so that each event has an instance of its
// own.
func (r real) write(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	code, err := fs.Sub(written, "functions/"+r.Name)
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, code); err != nil {
		return err
	}
	files := functions.Mains(r.Language)
	files["pipsqueak.yaml"] = "reuse: false\n"
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// check returns how a result differs from the answer, as JSON, or nil.
func (r real) check(result []byte) error {
	var got, want any
	if err := json.Unmarshal(r.answer, &want); err != nil {
		return err
	}
	if err := json.Unmarshal(result, &got); err != nil || !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s has to answer %s, not %s", r.Name, bytes.TrimSpace(r.answer), bytes.TrimSpace(result))
	}
	return nil
}

// real starts each real function some times on every platform.
func (o Options) real(ctx context.Context) (all []*results.Run, err error) {
	every, err := reals()
	if err != nil {
		return nil, err
	}
	return o.onEach("real", func(platform, path string, _ bool) error {
		if err := os.RemoveAll(path); err != nil { // it takes a minute
			return err
		}
		return o.on(ctx, platform, "", "data-"+filepath.Base(path), func(target run.Target) error { return o.serve(ctx, platform, target, every, path) })
	})
}

// gap is the time between two events, in which a worker tidies up after the first one.
const gap = 100 * time.Millisecond

// serve deploys functions to a platform, and sends each some events, one after the other.
func (o Options) serve(ctx context.Context, platform string, target run.Target, every []real, path string) (err error) {
	rounds := o.size().rounds
	for _, r := range every {
		code := filepath.Join(o.Work, "real", r.Name)
		if err := r.write(code); err != nil {
			return err
		}
		if _, err := target.Deploy(ctx, r.Function, code, false); err != nil {
			return fmt.Errorf("deploy %s: %w", r.Name, err)
		}
		fmt.Fprintf(o.Progress, "deployed %s\n", r.Name)
	}
	began := time.Now()
	out, err := results.Create(path, results.Head{Target: platform, Mode: "closed 1", Trace: "real functions", Events: rounds * len(every), Began: began})
	if err != nil {
		return err
	}
	defer func() { out.Close() }()
	for n := range rounds * len(every) {
		r := every[n%len(every)]
		sent := time.Now()
		a, err := target.Invoke(ctx, r.Function, r.event)
		ended := time.Now()
		if err == nil {
			err = r.check(a.Result)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		ms := func(t time.Time) float64 { return float64(t.Sub(began).Microseconds()) / 1e3 }
		out.Request(results.Request{Event: n, Function: r.Name, Language: r.Language, Due: ms(sent), Sent: ms(sent), Ended: ms(ended), Latency: ms(ended) - ms(sent),
			Start: a.Start, Phases: a.Phases, CPU: a.CPU, Bytes: a.Bytes, Held: a.Held})
		time.Sleep(gap)
	}
	out.Complete()
	return out.Flush()
}
