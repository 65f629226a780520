// Package osv finds the known vulnerabilities of packages in a database in OSV's format
// (https://ossf.github.io/osv-schema) that lies on this machine: it is a core.VulnerabilityDatabase, and
// fetches nothing.
//
// It belongs to the command and not to core because it knows languages' registries: the names that OSV gives
// them, and how each orders versions.
//
// Mutex order: Database.refresh, which lets one reading at a time happen, before Database.mu. That of a
// reader is taken alone.
package osv

import (
	"log/slog"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Database is a database of vulnerabilities. It implements core.VulnerabilityDatabase.
type Database struct {
	path string
	log  *slog.Logger

	refresh sync.Mutex // one at a time
	print   string     // of what was last read, or could not be

	mu    sync.RWMutex
	index *index
}

// Open reads the database at path: a JSON file with one entry or many, a zip of such files, or a directory
// with such files and zips below it. A file or entry that cannot be read is a warning in the log, unless
// nothing else is there. Errors are the worker's.
func Open(path string, log *slog.Logger) (*Database, error) {
	d := &Database{path: path, log: log}
	files, err := list(path)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultWorker, "the database of vulnerabilities cannot be read: %w", err)
	}
	d.print = fingerprint(files)
	if d.index, err = d.read(files); err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultWorker, "the database of vulnerabilities cannot be read: %w; download one from osv.dev, such as all.zip of an ecosystem", err)
	}
	return d, nil
}

// Refresh implements core.VulnerabilityDatabase.
func (d *Database) Refresh() bool {
	d.refresh.Lock()
	defer d.refresh.Unlock()
	files, err := list(d.path)
	print := fingerprint(files)
	if err != nil {
		print = err.Error()
	}
	if print == d.print {
		return false
	}
	d.print = print
	var read *index
	if err == nil {
		read, err = d.read(files)
	}
	if err != nil {
		d.log.Warn("vulnerabilities: the database cannot be read again, what was read before stays", "path", d.path, "err", err)
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index = read
	return true
}

// Match implements core.VulnerabilityDatabase.
func (d *Database) Match(packages []core.Locked) core.VulnerabilityReport {
	d.mu.RLock()
	index := d.index
	d.mu.RUnlock()
	report := core.VulnerabilityReport{Checked: time.Now().UTC(), Vulnerabilities: []core.Vulnerability{}, Unchecked: []string{}}
	for _, p := range packages {
		var found []core.Vulnerability
		var problems []error
		where, ok := locate(p)
		if ok {
			found, problems = index.match(where)
		}
		if !ok || where.guessed || len(problems) > 0 {
			report.Unchecked = append(report.Unchecked, p.String())
		}
		for _, problem := range problems {
			d.log.Warn("vulnerabilities: an entry cannot be compared", "package", p.String(), "err", problem)
		}
		for _, v := range found {
			v.Package = p.String()
			report.Vulnerabilities = append(report.Vulnerabilities, v)
		}
	}
	core.SortBySeverity(report.Vulnerabilities)
	return report
}
