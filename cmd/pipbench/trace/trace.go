// Package trace makes and reads traces: when which function is sent an event, and what the event costs.
package trace

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Trace is events in the order in which they are due. Its file has the Head in the first line, and each event
// in one of its own.
type Trace struct {
	Head   Head
	Events []Event
}

// Head says where a trace is from.
type Head struct {
	Model    string  `json:"trace"`
	Seed     uint64  `json:"seed"`
	Duration float64 `json:"duration_ms"` // from the beginning to the end, whether there is an event or not
	Speed    float64 `json:"speed"`       // how many times as fast as the model it is
}

// Event is one request.
type Event struct {
	At       float64 `json:"at_ms"` // since the beginning
	Function string  `json:"function"`
	CPU      float64 `json:"cpu_ms,omitempty"`
	Wait     float64 `json:"wait_ms,omitempty"`
	Memory   int64   `json:"memory,omitempty"` // bytes
}

// Due is when the event is, after the beginning.
func (e Event) Due() time.Duration { return time.Duration(e.At * float64(time.Millisecond)) }

// sort puts the events in order.
func (t *Trace) sort() {
	slices.SortStableFunc(t.Events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Function, b.Function))
	})
}

// Write writes the trace to a file, which must not exist yet.
func (t *Trace) Write(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	encoder := json.NewEncoder(out)
	err = encoder.Encode(t.Head)
	for _, e := range t.Events {
		if err == nil {
			err = encoder.Encode(e)
		}
	}
	if err = errors.Join(err, out.Flush(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// Open reads a trace. The errors name the line and the field.
func Open(path string) (*Trace, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := &Trace{}
	last, number := 0.0, 0
	for line := range bytes.Lines(text) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var e Event
		if t.Head.Model == "" {
			if err = read(line, &t.Head); err == nil {
				err = t.Head.check()
			}
		} else if err = read(line, &e); err == nil {
			err = e.check(last)
			t.Events, last = append(t.Events, e), e.At
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, number, err)
		}
	}
	if t.Head.Model == "" {
		return nil, fmt.Errorf("%s: line 1: trace: a trace begins with its model", path)
	}
	return t, nil
}

// read reads one line, which has no fields but those of value.
func read(line []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("it is cut off")
		}
		return err
	}
	return nil
}

func (h Head) check() error {
	switch {
	case h.Model == "":
		return errors.New("trace: the first line of a trace names its model")
	case h.Duration < 0:
		return fmt.Errorf("duration_ms: %g is no duration", h.Duration)
	case h.Speed <= 0:
		return fmt.Errorf("speed: %g is no factor", h.Speed)
	}
	return nil
}

func (e Event) check(last float64) error {
	switch {
	case e.Function == "":
		return errors.New("function: it is missing")
	case e.At < last:
		return fmt.Errorf("at_ms: %g is before the event above it", e.At)
	case e.CPU < 0 || e.Wait < 0:
		return fmt.Errorf("cpu_ms, wait_ms: %g, %g: no event takes less than no time", e.CPU, e.Wait)
	case e.Memory < 0:
		return fmt.Errorf("memory: %d is no size", e.Memory)
	}
	return nil
}
