package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
)

// quiet is how long nothing has to change before a change is deployed: an editor writes a file in several
// steps.
const quiet = 20 * time.Millisecond

func (p *program) dev() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "Deploy a function, and again at each change",
		Long: `Deploy the function of a directory, by default the current one, and deploy it again at each change of
a file that belongs to it. After each deploy its saved events are sent: those in event.json, and in
the files events/*.json. Results, errors and the function's log are shown as they come.

It ends with an interrupt. The function stays deployed.`,
		Example: "  pipsqueak dev hello",
		GroupID: groupFunctions,
		Args:    cobra.MaximumNArgs(1),
	}
	name := cmd.Flags().String("name", "", "`NAME` of the function")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "."
		if len(args) > 0 {
			dir = args[0]
		}
		part, err := p.onePart(cmd.Context(), dir, *name)
		if err != nil {
			return err
		}
		d := developing{program: p, part: part}
		ctx, end := context.WithCancel(cmd.Context())
		if err = d.run(ctx, end); cmd.Context().Err() != nil {
			err = nil // an interrupt is how it ends
		}
		return err
	}
	return cmd
}

// onePart returns the function of a directory.
func (p *program) onePart(ctx context.Context, dir, name string) (bundle.Part, error) {
	if !isDir(dir) {
		return bundle.Part{}, core.Errorf(core.KindInvalid, core.FaultCaller, "%s is no directory; name the directory of a function", dir)
	}
	application, parts, err := partsOf(ctx, dir, name)
	if err == nil && application != "" {
		err = core.Errorf(core.KindInvalid, core.FaultCaller, "%s is an application, and this takes one function: name the directory of one of them", dir)
	}
	if err != nil {
		return bundle.Part{}, err
	}
	return parts[0], nil
}

// developing is one run of the command.
type developing struct {
	*program
	part  bundle.Part
	shown chan struct{} // closed when its log is not shown, or not any more
}

// run goes on until the context ends, and ends it for what it has begun.
func (d *developing) run(ctx context.Context, end func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return core.Errorf(core.KindUnsupported, core.FaultWorker, "changes of files cannot be watched: %w", err)
	}
	defer watcher.Close()
	if err := d.watch(watcher, d.part.Dir); err != nil {
		return err
	}
	d.shown = make(chan struct{})
	close(d.shown)
	defer func() { end(); <-d.shown }()
	for changed := d.part.Dir; ; {
		d.deploy(ctx, changed)
		if changed, err = d.change(ctx, watcher); err != nil {
			return err
		}
	}
}

// watch watches a directory and those below it, as far as they belong to the function.
func (d *developing) watch(watcher *fsnotify.Watcher, dir string) error {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it is gone again
		case err != nil || !entry.IsDir():
			return err
		case path != d.part.Dir && !d.belongs(path):
			return fs.SkipDir
		}
		return watcher.Add(path)
	})
	if err != nil {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "changes below %s cannot be watched: %w; on Linux fs.inotify.max_user_watches may be too low", dir, err)
	}
	return nil
}

// belongs reports whether a path belongs to the function.
func (d *developing) belongs(path string) bool {
	name, err := filepath.Rel(d.part.Dir, path)
	if err != nil {
		return false
	}
	ignore, err := bundle.LoadIgnore(os.DirFS(d.part.Dir))
	if err != nil {
		return true // the deploy says what is wrong with it
	}
	info, err := os.Lstat(path)
	return !ignore.Match(filepath.ToSlash(name), err == nil && info.IsDir())
}

// change waits until a file of the function has changed, and then until nothing changes any more.
func (d *developing) change(ctx context.Context, watcher *fsnotify.Watcher) (changed string, err error) {
	settled := time.NewTimer(0)
	settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-settled.C:
			return changed, nil
		case err := <-watcher.Errors:
			if err != nil && !errors.Is(err, fsnotify.ErrEventOverflow) {
				return "", core.Errorf(core.KindInternal, core.FaultWorker, "watching %s: %w", d.part.Dir, err)
			}
			changed = d.part.Dir
			settled.Reset(quiet)
		case event := <-watcher.Events:
			if event.Op == fsnotify.Chmod || !d.belongs(event.Name) {
				continue
			}
			if event.Has(fsnotify.Create) && isDir(event.Name) {
				if err := d.watch(watcher, event.Name); err != nil {
					return "", err
				}
			}
			changed = event.Name
			settled.Reset(quiet)
		}
	}
}

// deploy deploys the function as it is now, and sends its events. What goes wrong is shown, and may be fixed
// by the next change.
func (d *developing) deploy(ctx context.Context, changed string) {
	began := d.now()
	archive, err := openArchive(d.part)
	if err != nil {
		d.explain(err)
		return
	}
	defer archive.Close()
	show := d.progress()
	f, err := d.client().Deploy(ctx, d.part.Name, url.Values{"wait": {"deployed"}}, archive, show.step)
	show.clear()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		d.explain(err)
		return
	}
	fmt.Fprintf(d.out, "%s version %d in %s (%s)\n", f.Name, f.Version, d.now().Sub(began).Round(time.Millisecond), changed)
	d.follow(ctx, f.Name, began)
	for _, file := range savedEvents(d.part.Dir) {
		d.send(ctx, f.Name, file)
	}
}

// follow shows the log of the function from a time on, if it is not shown yet.
func (d *developing) follow(ctx context.Context, name string, since time.Time) {
	select {
	case <-d.shown:
	default:
		return
	}
	shown := make(chan struct{})
	d.shown = shown
	go func() {
		defer close(shown)
		query := core.LogQuery{Follow: true, Tail: core.AllLines, Since: since}
		if err := d.client().Logs(ctx, name, "text/plain", query, d.err); err != nil && ctx.Err() == nil {
			d.explain(err)
		}
	}()
}

// savedEvents returns the files with events of a function, in order.
func savedEvents(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "events", "*.json")) // it fails for a bad pattern alone
	slices.Sort(files)
	if one := filepath.Join(dir, "event.json"); !isDir(one) {
		if _, err := os.Stat(one); err == nil {
			files = append([]string{one}, files...)
		}
	}
	return files
}

// send sends a saved event and shows what comes of it.
func (d *developing) send(ctx context.Context, name, file string) {
	event, err := os.ReadFile(file)
	if err != nil {
		d.explain(core.Errorf(core.KindInvalid, core.FaultCaller, "the event %s cannot be read: %w", file, err))
		return
	}
	began := d.now()
	answer, err := d.client().Invoke(ctx, name, bytes.NewReader(event))
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		d.explain(err)
		return
	}
	fmt.Fprintf(d.out, "%s: %s (%s, %s)\n", filepath.Base(file), strings.TrimSpace(string(answer.Result)), answer.Start, d.now().Sub(began).Round(100*time.Microsecond))
}
