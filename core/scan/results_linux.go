package scan

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Result is what a scan found in one archive, or in one package of a function.
type Result struct {
	Archive    string           `json:"archive,omitempty"` // its path, as it was found
	Digest     string           `json:"digest"`            // of the archive's bytes, "sha256:<hex>", or of an installed package
	Package    string           `json:"package"`           // as core.Package.String has it; empty when the archive cannot be read
	Runtime    core.RuntimeID   `json:"runtime"`
	Scanner    string           `json:"scanner"` // language and version of the driver that scanned
	Time       time.Time        `json:"time"`
	Took       time.Duration    `json:"took"`
	Suspicions []core.Suspicion `json:"suspicions"`
	Probe      *core.Probe      `json:"probe,omitempty"` // of a package of a function
	Error      string           `json:"error,omitempty"` // why it could not be scanned
}

// Results is a file of results, one JSON object a line. Lines are only ever added, each by one write, so that
// whatever ends the program leaves whole lines and perhaps half a last one.
type Results struct {
	file *os.File
	mu   sync.Mutex
	done map[string]Result // by digest and scanner
}

// OpenResults opens a file of results, or makes it. One that is there already needs resume: its results are
// Known then, and half a last line is cut off. It is locked against another scan. The caller closes it.
func OpenResults(name string, resume bool) (r *Results, err error) {
	flags := os.O_RDWR | os.O_CREATE
	if !resume {
		flags |= os.O_EXCL
	}
	file, err := os.OpenFile(name, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, core.Errorf(core.KindConflict, core.FaultCaller, "%s is there already: go on with --resume, or name another file", name)
	}
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the file of results: %w", err)
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, core.Errorf(core.KindConflict, core.FaultCaller, "another scan is writing to %s", name)
	}
	r = &Results{file: file, done: map[string]Result{}}
	return r, r.load(name)
}

func (r *Results) load(name string) error {
	reader, whole := bufio.NewReader(r.file), int64(0)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // without its end, it is half a line
		}
		if err != nil {
			return core.Errorf(core.KindInvalid, core.FaultCaller, "%s cannot be read: %w", name, err)
		}
		whole += int64(len(line))
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var one Result
		if err := json.Unmarshal(line, &one); err != nil || one.Digest == "" {
			return core.Errorf(core.KindInvalid, core.FaultCaller, "%s line %d is no result of a scan: name the file of an earlier scan, or a new one", name, number)
		}
		if one.Error == "" {
			r.done[one.Digest+one.Scanner] = one
		}
	}
	if err := r.file.Truncate(whole); err != nil {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "%s cannot be fixed: %w", name, err)
	}
	_, err := r.file.Seek(whole, io.SeekStart)
	return err
}

// Known returns an earlier result for these bytes by that scanner. What could not be scanned then has none,
// and is tried again.
func (r *Results) Known(digest, scanner string) (Result, bool) {
	if r == nil {
		return Result{}, false
	}
	one, ok := r.done[digest+scanner]
	return one, ok
}

// Any reports whether there are earlier results.
func (r *Results) Any() bool { return r != nil && len(r.done) > 0 }

// Add writes a result.
func (r *Results) Add(one Result) error {
	if r == nil {
		return nil
	}
	if one.Suspicions == nil {
		one.Suspicions = []core.Suspicion{}
	}
	line, err := json.Marshal(one)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.file.Write(append(line, '\n')); err != nil {
		return core.Errorf(core.KindExhausted, core.FaultCaller, "a result cannot be written: %w; make room, and go on with --resume", err)
	}
	return nil
}

// Close closes the file.
func (r *Results) Close() error {
	if r == nil {
		return nil
	}
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("closing the file of results: %w", err)
	}
	return nil
}
