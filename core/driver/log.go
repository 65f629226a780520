package driver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// The form of hclog's JSON lines, which is what go-plugin's drivers in any language write on stderr.
const (
	hclogTime    = "@timestamp"
	hclogLevel   = "@level"
	hclogMessage = "@message"
	hclogLayout  = "2006-01-02T15:04:05.000000Z07:00"
)

const levelTrace = slog.LevelDebug - 4 // hclog has one level more than slog

// Logger returns the logger of a driver: it writes to w, a driver's standard error, in the form that the host
// carries into its own log. Make it before Serve, because serving replaces os.Stderr. All levels are written;
// the host chooses.
func Logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: levelTrace,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.TimeKey:
				return slog.String(hclogTime, a.Value.Time().Format(hclogLayout))
			case slog.LevelKey:
				level, _ := a.Value.Any().(slog.Level)
				return slog.String(hclogLevel, hclogLevelName(level))
			case slog.MessageKey:
				return slog.Attr{Key: hclogMessage, Value: a.Value}
			}
			return a
		},
	}))
}

func hclogLevelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "trace"
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	}
	return "error"
}

var slogLevels = map[string]slog.Level{
	"trace": levelTrace, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// A line longer than maxLine is carried in pieces; of a driver's last words this much is kept for the error
// that tells its death.
const (
	maxLine      = 64 << 10
	maxLastLines = 4
	maxLastLine  = 300
)

// lineLog carries what a driver writes on stderr into the host's log, and remembers the last of it.
type lineLog struct {
	log *slog.Logger
	eof chan struct{} // closed when read has returned

	mu    sync.Mutex
	last  []string
	panic string // the line that says why a Go program crashed; the goroutines after it would push it out of last
}

func newLineLog(log *slog.Logger) *lineLog { return &lineLog{log: log, eof: make(chan struct{})} }

// read carries lines until r ends.
func (l *lineLog) read(r io.Reader) {
	defer close(l.eof)
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, _, err := lines.ReadLine()
		if err != nil {
			return
		}
		l.carry(line)
	}
}

// carry writes one line to the log: with the level, time and fields that it has when it is hclog's, and
// otherwise as a warning, because what a driver prints past its logger is what it did not mean to say.
func (l *lineLog) carry(line []byte) {
	record, ok := parseLine(line)
	if !ok {
		text := strings.TrimSpace(string(line))
		if text == "" {
			return
		}
		record = slog.NewRecord(time.Now(), slog.LevelWarn, text, 0)
	}
	l.remember(record)
	ctx := context.Background()
	if l.log.Enabled(ctx, record.Level) {
		_ = l.log.Handler().Handle(ctx, record) // as slog.Logger itself does: there is nowhere to tell it
	}
}

// parseLine reads one line of hclog's JSON. Any other line, valid JSON or not, is not ok.
func parseLine(line []byte) (slog.Record, bool) {
	var fields map[string]any
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &fields) != nil {
		return slog.Record{}, false
	}
	message, isText := fields[hclogMessage].(string)
	name, _ := fields[hclogLevel].(string)
	level, known := slogLevels[name]
	if !isText || !known {
		return slog.Record{}, false
	}
	stamp, _ := fields[hclogTime].(string)
	at, err := time.Parse(hclogLayout, stamp)
	if err != nil {
		at = time.Now()
	}
	record := slog.NewRecord(at, level, message, 0)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		switch key {
		case hclogMessage, hclogLevel, hclogTime:
		default:
			record.AddAttrs(slog.Any(strings.TrimPrefix(key, "@"), fields[key]))
		}
	}
	return record, true
}

func (l *lineLog) remember(record slog.Record) {
	var b strings.Builder
	b.WriteString(record.Message)
	record.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return b.Len() < maxLastLine
	})
	line := clip(b.String(), maxLastLine)

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.panic == "" && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")) {
		l.panic = line
	}
	if len(l.last) == maxLastLines {
		l.last = slices.Delete(l.last, 0, 1)
	}
	l.last = append(l.last, line)
}

// lastWords returns the end of what the driver said, as the tail of a sentence, or nothing when it was
// silent.
func (l *lineLog) lastWords() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.panic != "":
		return "; it said: " + l.panic
	case len(l.last) > 0:
		return "; it said last: " + strings.Join(l.last, " / ")
	}
	return ""
}

// What the dynamic loader says when it cannot load a program, after the program's name.
var loaderWords = []string{"error while loading shared libraries: ", "symbol lookup error: ", "version `"}

// lacking returns what the dynamic loader missed when it tried to load the program, or nothing when it did
// not complain.
func (l *lineLog) lacking() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.last {
		for _, words := range loaderWords {
			if i := strings.Index(line, words); i >= 0 && (words != "version `" || strings.Contains(line[i:], "not found")) {
				return strings.TrimPrefix(line[i:], loaderWords[0])
			}
		}
	}
	return ""
}
