// Package results keeps what a run has measured, as lines of JSON, so that an interrupted run goes on where
// it was.
package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Head says what was run. A run goes on only with the same Target, Mode and Digest.
type Head struct {
	Target string    `json:"target"`
	Mode   string    `json:"mode"` // open, or closed with a number of clients
	Trace  string    `json:"trace"`
	Digest string    `json:"digest"` // of the trace and the functions
	Events int       `json:"events"` // of the trace
	Began  time.Time `json:"began"`
	System string    `json:"system"` // the machine of the clients
}

// Deploy is one deploy.
type Deploy struct {
	Function string  `json:"function"`
	Language string  `json:"language"`
	Took     float64 `json:"ms"`
}

// Request is one event with its answer. Times are milliseconds since the beginning of the trace.
type Request struct {
	Event    int                `json:"n"` // its place in the trace, from 0 on
	Function string             `json:"function"`
	Language string             `json:"language"`
	Due      float64            `json:"due_ms"`
	Sent     float64            `json:"sent_ms"`
	Ended    float64            `json:"ended_ms"`
	Latency  float64            `json:"latency_ms"`         // since it was due; since it was sent, if the loop is closed
	Spends   float64            `json:"spends_ms"`          // of this, what the event asked for
	Start    string             `json:"start,omitempty"`    // how an instance was had, if the target says so
	Phases   map[string]float64 `json:"phases,omitempty"`   // where the time went, in milliseconds, if the target says so
	CPU      float64            `json:"cpu_ms,omitempty"`   // of the processors, if the target says so
	Bytes    int64              `json:"bytes,omitempty"`    // of memory that it had for itself, if the target says so
	Held     float64            `json:"held_ms,omitempty"`  // for how long it had them
	Error    string             `json:"error,omitempty"`    // why there is no right answer
	IsWrong  bool               `json:"is_wrong,omitempty"` // there is an answer, but not the right one
}

// Memory is what the target takes at a moment.
type Memory struct {
	At    float64 `json:"at_ms"`
	Bytes int64   `json:"bytes"`
	// Functions are the bytes of each function's instances, if the target says so: the rest is common to
	// functions.
	Functions map[string]int64 `json:"functions,omitempty"`
}

// Run is everything in a file of results.
type Run struct {
	Path      string
	Head      Head
	Deploys   []Deploy
	Requests  []Request
	Memory    []Memory
	Continued int  // how many times it was interrupted
	Complete  bool // the run has come to its end
	whole     int  // bytes of the file that are whole lines
}

// line is one of a file: one of the fields is there.
type line struct {
	Run       *Head      `json:"run,omitempty"`
	Deploy    *Deploy    `json:"deploy,omitempty"`
	Request   *Request   `json:"request,omitempty"`
	Memory    *Memory    `json:"memory,omitempty"`
	Continued *time.Time `json:"continued,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`
}

// Open reads a file of results. A last line that was cut off when the run was interrupted does not count.
// Errors name the line and the field.
func Open(path string) (*Run, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Run{Path: path}
	number := 0
	for one := range bytes.Lines(text) {
		number++
		if !bytes.HasSuffix(one, []byte("\n")) && number > 1 {
			break
		}
		if err := r.read(one, number == 1); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, number, err)
		}
		r.whole += len(one)
	}
	if number == 0 {
		return nil, fmt.Errorf("%s: line 1: run: results begin with what was run", path)
	}
	return r, nil
}

func (r *Run) read(text []byte, first bool) error {
	var l line
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&l); err != nil {
		return err
	}
	if first != (l.Run != nil) {
		return errors.New("run: results begin with what was run, and have no second one")
	}
	switch {
	case first:
		r.Head = *l.Run
	case l.Deploy != nil:
		r.Deploys = append(r.Deploys, *l.Deploy)
	case l.Request != nil:
		if l.Request.Event < 0 || l.Request.Event >= r.Head.Events {
			return fmt.Errorf("request: n: %d is not one of %d events", l.Request.Event, r.Head.Events)
		}
		r.Requests = append(r.Requests, *l.Request)
	case l.Memory != nil:
		r.Memory = append(r.Memory, *l.Memory)
	case l.Continued != nil:
		r.Continued++
	case l.Ended != nil:
		r.Complete = true
	default:
		return errors.New("neither a deploy, a request nor memory")
	}
	return nil
}

// Writer writes results to a file. Its methods may be called from many goroutines at once.
type Writer struct {
	mu     sync.Mutex
	file   *os.File
	buffer bytes.Buffer
	err    error
}

// Create begins a file, which must not exist yet.
func Create(path string, head Head) (*Writer, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s has results already; --continue goes on with them", path)
	}
	if err != nil {
		return nil, err
	}
	w := &Writer{file: file}
	w.add(line{Run: &head})
	return w, nil
}

// Continue goes on with a file that was read: of a run with the same head, but for the time.
func (r *Run) Continue(head Head) (*Writer, error) {
	for _, field := range [][3]string{
		{"target", r.Head.Target, head.Target}, {"mode", r.Head.Mode, head.Mode}, {"digest", r.Head.Digest, head.Digest},
	} {
		if field[1] != field[2] {
			return nil, fmt.Errorf("%s: line 1: run: %s: %s, and not %s: these are results of another run", r.Path, field[0], field[1], field[2])
		}
	}
	if r.Complete {
		return nil, fmt.Errorf("%s has all results: there is nothing to go on with", r.Path)
	}
	file, err := os.OpenFile(r.Path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(int64(r.whole)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	w := &Writer{file: file}
	now := time.Now()
	w.add(line{Continued: &now})
	return w, nil
}

// Deploy adds a deploy.
func (w *Writer) Deploy(d Deploy) { w.add(line{Deploy: &d}) }

// Request adds a request.
func (w *Writer) Request(r Request) { w.add(line{Request: &r}) }

// Memory adds what the target takes.
func (w *Writer) Memory(m Memory) { w.add(line{Memory: &m}) }

// Complete says that the run has come to its end.
func (w *Writer) Complete() { now := time.Now(); w.add(line{Ended: &now}) }

func (w *Writer) add(l line) {
	text, err := json.Marshal(l)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buffer.Write(append(text, '\n'))
	w.err = errors.Join(w.err, err)
}

// Flush writes to the disk what there is so far.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		_, w.err = w.buffer.WriteTo(w.file)
	}
	return w.err
}

// Close flushes, and closes the file.
func (w *Writer) Close() error { return errors.Join(w.Flush(), w.file.Close()) }
