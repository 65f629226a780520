package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// auditFile is the file of a data directory that has the audit log.
const auditFile = "audit.log"

// Entry is one line of the audit log: who did what, and with which outcome.
type Entry struct {
	Time    time.Time `json:"time"`
	Who     string    `json:"who"`            // "token ID", "uid N" at the socket, "anyone" on a worker without tokens
	From    string    `json:"from,omitempty"` // address
	Request string    `json:"request,omitempty"`
	Action  string    `json:"action"`
	What    any       `json:"what,omitempty"`
	Outcome string    `json:"outcome"` // "ok" or the kind of the error
	Error   string    `json:"error,omitempty"`
}

// Audit is a file to which a line is added for each change. Its methods may be called from many goroutines at
// once.
//
// A line that cannot be written (the disk is full) goes to the worker's log, and the change happens all the
// same: removing a function or revoking a token may be what helps.
type Audit struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex // guards the file
	file *os.File
	torn bool // the file ends within a line
}

// OpenAudit returns the audit log of a data directory. The caller closes it.
func OpenAudit(data string, log *slog.Logger) *Audit {
	return &Audit{path: filepath.Join(data, auditFile), log: log}
}

// Write adds a line about what the caller did.
func (a *Audit) Write(c Caller, action string, what any, err error) {
	entry := Entry{Time: time.Now().UTC(), Who: c.String(), From: c.From, Request: c.Request, Action: action, What: what, Outcome: string(core.KindNone)}
	if err != nil {
		entry.Outcome, entry.Error = string(core.AsError(err).Kind), fmt.Sprintf("%.500s", err.Error())
	}
	line, failed := json.Marshal(entry)
	if failed == nil {
		failed = a.add(append(line, '\n'))
	}
	if failed != nil {
		a.log.Error("audit", "err", failed, "line", string(line))
	}
}

// add adds a line to the file, durably.
func (a *Audit) add(line []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.current(); err != nil {
		return err
	}
	if a.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := a.file.Write(line)
	if n > 0 {
		a.torn = line[n-1] != '\n'
	}
	return errors.Join(err, a.file.Sync())
}

// current opens the file, also again when somebody has renamed or removed it.
func (a *Audit) current() error {
	if a.file != nil {
		named, err := os.Stat(a.path)
		mine, failed := a.file.Stat()
		if err == nil && failed == nil && os.SameFile(named, mine) {
			return nil
		}
		_ = a.file.Close() // each line is on the disk
		a.file = nil
	}
	file, err := os.OpenFile(a.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	end, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	last := []byte{'\n'}
	if end.Size() > 0 {
		_, err = file.ReadAt(last, end.Size()-1)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	a.file, a.torn = file, last[0] != '\n'
	return nil
}

// Close closes the file.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	file := a.file
	a.file = nil
	return file.Close()
}
