package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What is kept of each function's output: this many bytes twice, the older half being thrown away when the
// newer is full.
const maxLog = 4 << 20

// maxLine is where a longer line is split.
const maxLine = 16 << 10

// logs keeps what handlers print, in two files for each function: <name>.log and, before that, <name>.log.1.
type logs struct {
	dir string
	mu  sync.Mutex
	all map[string]*functionLog
	// gone is the last version of each function that was removed. What its processes still print is not for
	// the next function of its name.
	gone map[string]int
	// hider returns what takes secrets of a function out of a text, nil for nothing. It may be nil.
	hider func(function string) *hider
}

// functionLog is the log of one function.
type functionLog struct {
	path  string
	mu    sync.Mutex
	file  *os.File // nil until the first line
	size  int64
	grown chan struct{} // closed and replaced with each write
	gone  bool          // the function was removed: nothing is written any more, and nobody waits for it

	refused time.Time // when it was told last of events that were refused
	more    int       // such events since
}

// openLogs opens a directory of logs. Those of functions that are not there are removed: a worker was killed
// before it did.
func openLogs(dir string, there func(name string) bool) (*logs, error) {
	l := &logs{dir: dir, all: map[string]*functionLog{}, gone: map[string]int{}}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		_ = os.Rename(dir, dir+".corrupt") // else it is told by what follows
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, core.Errorf(core.KindInternal, core.FaultWorker, "the directory of logs: %w", err)
	}
	l.sweep(there)
	return l, nil
}

// sweep removes the logs of functions that are there no more. What cannot be removed is in nobody's way.
func (l *logs) sweep(there func(name string) bool) {
	entries, _ := os.ReadDir(l.dir)
	for _, entry := range entries {
		name, isLog := strings.CutSuffix(strings.TrimSuffix(entry.Name(), ".1"), ".log")
		if isLog && !strings.HasPrefix(name, ".") && !there(name) {
			_ = os.Remove(filepath.Join(l.dir, entry.Name()))
		}
	}
}

// of returns the log of a version of a function, nil when that was removed.
func (l *logs) of(name string, version int) *functionLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, removed := l.gone[name]; removed && version <= last {
		return nil
	}
	f := l.all[name]
	if f == nil {
		f = &functionLog{path: filepath.Join(l.dir, name+".log"), grown: make(chan struct{})}
		l.all[name] = f
	}
	return f
}

// remove removes the log of a function whose last version that was.
func (l *logs) remove(name string, version int) {
	l.mu.Lock()
	f := l.all[name]
	delete(l.all, name)
	l.gone[name] = version
	l.mu.Unlock()
	if f != nil {
		f.mu.Lock()
		f.gone = true
		close(f.grown)
		f.mu.Unlock()
		_ = f.close()
	}
	for _, path := range []string{".log", ".log.1"} {
		_ = os.Remove(filepath.Join(l.dir, name+path))
	}
}

func (l *logs) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	for _, f := range l.all {
		err = errors.Join(err, f.close())
	}
	return err
}

// voice is a stream of a process, as sandbox.Output is one.
type voice interface {
	ReadEvent(p []byte, holding bool) (n int, request string, err error)
}

// collect reads one stream of a process until its end. What zygotes print while they import belongs to no
// function; it is kept under the name of the runtime.
func (l *logs) collect(config core.SandboxConfig, stream string, output voice) {
	name := config.Function
	if name == "" {
		name = "." + string(config.Runtime.ID)
	}
	hide, longest := l.hiderOf(config.Function), 0
	if hide != nil {
		longest = len(hide.ordered[0])
	}
	line := core.LogLine{Function: config.Function, Node: config.ID, Stream: stream}
	buffer := make([]byte, 2*maxLine+longest)
	held := 0 // bytes of a line that has not ended
	for {
		n, request, err := output.ReadEvent(buffer[held:], held > 0)
		line.Request = request // what is held is of the same one
		text := buffer[:held+n]
		var lines bytes.Buffer
		for len(text) > 0 {
			end, next := endOfLine(text, n == 0, hide)
			if end < 0 {
				break
			}
			line.Time, line.Text = time.Now().UTC(), string(text[:end])
			if hide != nil {
				line.Text = hide.Replace(line.Text)
			}
			appendLine(&lines, line)
			text = text[next:]
		}
		held = copy(buffer, text)
		if f := l.of(name, config.Version); f != nil && lines.Len() > 0 {
			f.write(lines.Bytes())
		}
		if err != nil {
			return
		}
	}
}

func (l *logs) hiderOf(function string) *hider {
	if l.hider == nil {
		return nil
	}
	return l.hider(function)
}

// printed keeps the lines of what a handler has printed in one of several events of its instance, and returns
// how many bytes those are. Complete is whether a last line without an end is one.
func (l *logs) printed(fn *core.Function, line core.LogLine, text []byte, complete bool) (kept int) {
	log, hide := l.of(fn.Name, fn.Version), l.hiderOf(fn.Name)
	line.Time, line.Function = time.Now().UTC(), fn.Name
	var lines bytes.Buffer
	for kept < len(text) {
		end, next := endOfLine(text[kept:], complete, hide)
		if end < 0 {
			break
		}
		if line.Text = string(text[kept : kept+end]); hide != nil {
			line.Text = hide.Replace(line.Text)
		}
		appendLine(&lines, line)
		kept += next
	}
	if log != nil && lines.Len() > 0 {
		log.write(lines.Bytes())
	}
	return kept
}

// endOfLine returns where the first line of a text ends and the next one begins: -1 when more of it may come.
// A line that is too long ends between two characters, and between two secrets.
func endOfLine(text []byte, complete bool, hide *hider) (end, next int) {
	line, _, found := bytes.Cut(text, []byte{'\n'})
	complete = complete || found
	beyond := 0 // bytes that show whether a secret is where the line is split
	if hide != nil && !complete {
		beyond = len(hide.ordered[0])
	}
	end = len(line)
	if end > maxLine+beyond {
		if end = cut(line, maxLine); hide != nil {
			end = hide.end(line, end)
		}
	}
	switch {
	case end < len(line):
		return end, end
	case found:
		return end, end + 1
	case complete:
		return end, end
	}
	return -1, -1
}

// cut returns where to cut a text of more than limit bytes in UTF-8: there, or up to three bytes before.
func cut[T string | []byte](text T, limit int) int {
	for end := limit; end > limit-utf8.UTFMax; end-- {
		if utf8.RuneStart(text[end]) {
			return end
		}
	}
	return limit // no UTF-8
}

func appendLine(to *bytes.Buffer, line core.LogLine) {
	_ = json.NewEncoder(to).Encode(line) // a LogLine can always be written, to a buffer
}

// write appends whole lines. A disk that is full loses them; the function does not suffer for it.
func (f *functionLog) write(lines []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return
	}
	if f.file == nil || f.size > maxLog {
		if err := f.rotate(); err != nil {
			return
		}
	}
	if _, err := f.file.Write(lines); err != nil {
		_ = f.file.Truncate(f.size) // half a line would spoil the next
		return
	}
	f.size += int64(len(lines))
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *functionLog) rotate() error {
	if f.file != nil {
		f.file.Close()
		f.file = nil
		if err := os.Rename(f.path, f.path+".1"); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	f.file, f.size = file, info.Size()
	return nil
}

func (f *functionLog) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	return file.Close()
}
