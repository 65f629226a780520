package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// mergeWait is how long a line waits for an earlier one of another function, while logs are followed.
const mergeWait = 20 * time.Millisecond

// merged returns the logs of several functions as one, in the order of the lines' times. Those that are
// followed come without an end, and their lines as they come. The caller closes it, which closes the readers:
// each of them ends with the context that it was opened with.
func merged(ctx context.Context, names []string, follow bool, open func(ctx context.Context, name string) (io.ReadCloser, error)) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	m := &merge{ctx: ctx, cancel: cancel, follow: follow, arrived: make(chan arrival), heads: make([]arrival, len(names))}
	for i, name := range names {
		reader, err := open(ctx, name)
		if core.IsKind(err, core.KindNotFound) { // it was removed meanwhile
			continue
		}
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.readers = append(m.readers, reader)
		m.waiting++
		m.reading.Go(func() { m.read(i, reader) })
	}
	return m, nil
}

// mergedLogs returns the lines of several functions that the query asks for. The last so many of all begin at
// a time, from which on all are read.
func (l logReading) mergedLogs(ctx context.Context, functions []string, query core.LogQuery) (io.ReadCloser, error) {
	if query.Tail >= 0 {
		kept := query
		kept.Follow = false
		r, err := merged(ctx, functions, false, func(ctx context.Context, function string) (io.ReadCloser, error) { return l.Logs(ctx, function, kept) })
		if err != nil {
			return nil, err
		}
		defer r.Close()
		var times []time.Time
		for lines := json.NewDecoder(r); ; {
			var line core.LogLine
			if err := lines.Decode(&line); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			times = append(times, line.Time)
		}
		switch {
		case query.Tail == 0:
			query.Since = time.Now()
		case len(times) >= query.Tail:
			query.Since = times[len(times)-query.Tail]
		}
		query.Tail = core.AllLines
	}
	return merged(ctx, functions, query.Follow, func(ctx context.Context, function string) (io.ReadCloser, error) { return l.Logs(ctx, function, query) })
}

// merge reads lines of several logs.
type merge struct {
	ctx     context.Context
	cancel  func()
	follow  bool
	readers []io.ReadCloser
	reading sync.WaitGroup
	arrived chan arrival
	heads   []arrival // the next line of each log, where it has come
	waiting int       // logs of which it has not, and that have not ended
	rest    []byte    // of a line that is being read
}

// arrival is a line of a log, or its end.
type arrival struct {
	log  int
	line []byte
	time time.Time
	next chan<- struct{} // lets the log have its next line read; nil for no arrival
	err  error
}

// read hands over one line of a log after another.
func (m *merge) read(log int, reader io.Reader) {
	lines, next := bufio.NewReaderSize(reader, 64<<10), make(chan struct{}, 1)
	for {
		line, err := lines.ReadBytes('\n')
		var l core.LogLine
		if err == nil {
			err = json.Unmarshal(line, &l)
		}
		select {
		case m.arrived <- arrival{log, line, l.Time, next, err}:
		case <-m.ctx.Done():
			return
		}
		if err != nil {
			return
		}
		select {
		case <-next:
		case <-m.ctx.Done():
			return
		}
	}
}

// Read implements io.Reader.
func (m *merge) Read(p []byte) (int, error) {
	for len(m.rest) == 0 {
		if err := m.gather(); err != nil {
			return 0, err
		}
		first := -1
		for i, head := range m.heads {
			if head.next != nil && (first < 0 || head.time.Before(m.heads[first].time)) {
				first = i
			}
		}
		if first < 0 {
			return 0, io.EOF
		}
		m.rest = m.heads[first].line
		m.heads[first].next <- struct{}{}
		m.heads[first] = arrival{}
		m.waiting++
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// gather waits for the next line of each log: of logs that are followed for one line, and a little for the
// others'.
func (m *merge) gather() error {
	var enough <-chan time.Time
	for m.waiting > 0 {
		if m.follow && enough == nil && slices.ContainsFunc(m.heads, func(a arrival) bool { return a.next != nil }) {
			enough = time.After(mergeWait)
		}
		select {
		case a := <-m.arrived:
			m.waiting--
			if errors.Is(a.err, io.EOF) {
				continue
			}
			if a.err != nil {
				return a.err
			}
			m.heads[a.log] = a
		case <-enough:
			return nil
		case <-m.ctx.Done():
			return io.EOF
		}
	}
	return nil
}

// Close implements io.Closer.
func (m *merge) Close() error {
	m.cancel()
	m.reading.Wait() // what is read is not closed meanwhile
	var err error
	for _, reader := range m.readers {
		err = errors.Join(err, reader.Close())
	}
	return err
}
