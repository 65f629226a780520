package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
	"github.com/pipsqueak-faas/pipsqueak/core/supply"
)

// logReading gives the logs of functions to who asks. It implements core.Logs, and has no state but that of
// the logs.
type logReading struct {
	logs   *logs
	store  *store.Store
	supply *supply.Supply
}

// Logs implements core.Logs.
func (r logReading) Logs(ctx context.Context, name string, query core.LogQuery) (io.ReadCloser, error) {
	if functions := r.supply.FunctionsOf(name); len(functions) > 0 {
		if query.Functions != nil {
			functions = slices.DeleteFunc(functions, func(one string) bool { return !slices.Contains(query.Functions, one) })
		}
		return r.mergedLogs(ctx, functions, query)
	}
	fn, ok := r.store.Get(name)
	if !ok {
		return nil, r.supply.NotFound(name)
	}
	return r.logs.read(ctx, name, fn.Version, query)
}

// read returns the kept lines of a version of a function and those before that the query asks for, and with
// Follow those to come until the context ends or the function is removed.
func (l *logs) read(ctx context.Context, name string, version int, query core.LogQuery) (io.ReadCloser, error) {
	f := l.of(name, version)
	if f == nil {
		return nil, supply.NotFound(name)
	}
	r, kept, err := f.open(ctx, query.Follow)
	if err != nil {
		return nil, core.Errorf(core.KindInternal, core.FaultWorker, "the logs of %s: %w", name, err)
	}
	if query.Tail < 0 && query.Since.IsZero() && query.Request == "" && !query.Errors {
		return r, nil
	}
	lines := &lineReader{Closer: r, lines: bufio.NewReaderSize(r, 64<<10), query: query}
	if query.Tail >= 0 {
		lines.skip = max(0, linesOf(kept, query)-query.Tail)
	}
	return lines, nil
}

// open returns a reader of the kept lines, and with follow of those to come, and another one of the kept
// lines alone, which is to be used first.
func (f *functionLog) open(ctx context.Context, follow bool) (*logReader, io.Reader, error) {
	r := &logReader{ctx: ctx, log: f, follow: follow}
	var kept []io.Reader
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, path := range []string{f.path + ".1", f.path} {
		file, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			r.files = append(r.files, file)
			var info os.FileInfo
			if info, err = file.Stat(); err == nil {
				kept = append(kept, io.NewSectionReader(file, 0, info.Size()))
			}
		}
		if err != nil {
			r.Close()
			return nil, nil, err
		}
	}
	return r, io.MultiReader(kept...), nil
}

// linesOf counts the lines that a query asks for, however many are wanted of them. They are not kept: a log
// has megabytes, and its reader may be slow.
func linesOf(kept io.Reader, query core.LogQuery) (n int) {
	for lines := (&lineReader{lines: bufio.NewReaderSize(kept, 64<<10), query: query}); lines.err == nil; {
		if lines.next() != nil {
			n++
		}
	}
	return n
}

// lineReader passes on the lines that a query asks for.
type lineReader struct {
	io.Closer
	lines *bufio.Reader
	query core.LogQuery
	skip  int    // so many of them are left out
	ready []byte // to be passed on
	err   error  // after that
}

func (r *lineReader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.ready = r.next(); r.ready != nil && r.skip > 0 {
			r.ready, r.skip = nil, r.skip-1
		}
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// next returns the next line, or nothing when it is not asked for.
func (r *lineReader) next() []byte {
	var line []byte
	line, r.err = r.lines.ReadBytes('\n')
	var l struct {
		Time    time.Time
		Request string
		Error   *struct{}
	}
	if json.Unmarshal(line, &l) != nil || l.Time.Before(r.query.Since) || r.query.Request != "" && l.Request != r.query.Request || r.query.Errors && l.Error == nil {
		return nil
	}
	return line
}

// logReader reads the older file, then the newer one, then whatever comes. The caller closes it.
type logReader struct {
	ctx    context.Context
	log    *functionLog
	follow bool
	files  []*os.File
}

func (r *logReader) Read(p []byte) (int, error) {
	for {
		// Taken before reading, so that a line written in between is not slept over.
		r.log.mu.Lock()
		grown, gone := r.log.grown, r.log.gone
		r.log.mu.Unlock()
		for len(r.files) > 0 {
			n, err := r.files[0].Read(p)
			if n > 0 || err != nil && err != io.EOF {
				return n, err
			}
			if len(r.files) == 1 && !r.replaced() {
				break
			}
			r.files[0].Close()
			r.files = r.files[1:]
		}
		if !r.follow || gone {
			return 0, io.EOF
		}
		if len(r.files) == 0 {
			if file, err := os.Open(r.log.path); err == nil {
				r.files = append(r.files, file)
				continue
			}
		}
		select {
		case <-grown:
		case <-r.ctx.Done():
			return 0, io.EOF
		}
	}
}

// replaced reports whether the file that is being read is not the newest any more.
func (r *logReader) replaced() bool {
	if !r.follow {
		return false
	}
	current, err := os.Stat(r.log.path)
	if err != nil {
		return false
	}
	mine, err := r.files[0].Stat()
	return err == nil && !os.SameFile(current, mine)
}

// Close implements io.Closer.
func (r *logReader) Close() error {
	var err error
	for _, file := range r.files {
		err = errors.Join(err, file.Close())
	}
	r.files = nil
	return err
}
