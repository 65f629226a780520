package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// Rules of the quarantine forbid packages by what people call them, in the store or not. They are all in one
// file of the data directory. What they say of a package is remembered, because it is asked for with each
// event.

// rulesFile has the rules, an array of core.Forbidden.
const rulesFile = "quarantine.json"

// rule is a rule that has been understood.
type rule struct {
	core.Forbidden
	covers func(core.Locked) bool
}

// forbiddenKey names a version of a package in a runtime.
type forbiddenKey struct {
	runtime       core.RuntimeID
	name, version string
}

// literally is the core.PackageRule of a store that has been given none: names and versions are those of the
// store.
func literally(name, versions string) (func(core.Locked) bool, error) {
	version := exact(versions)
	return func(p core.Locked) bool { return p.Name == name && (version == "" || p.Version == version) }, nil
}

// exact is a version without "==".
func exact(versions string) string { return strings.TrimSpace(strings.TrimPrefix(versions, "==")) }

// Understand sets the function that reads the rules of the quarantine. A rule that read does not understand
// is taken literally, and is among the errors.
func (s *Store) Understand(read core.PackageRule) (warnings []error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	s.readRule = read
	rules := slices.Clone(s.Forbidden())
	all := make([]rule, len(rules))
	for i, f := range rules {
		covers, err := read(f.Name, f.Versions)
		if err != nil {
			warnings = append(warnings, core.Errorf(core.KindInvalid, core.FaultWorker, "the rule %s in %s is only taken literally: %w", f, rulesFile, err))
			covers, _ = literally(f.Name, f.Versions)
		}
		all[i] = rule{f, covers}
	}
	s.setRules(all)
	return warnings
}

// setRules replaces the rules, and forgets the verdicts of the earlier ones.
func (s *Store) setRules(all []rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules, s.verdicts = all, map[forbiddenKey]*core.Forbidden{}
}

// Forbidden returns the rules of the quarantine, in the order in which they were made. The slice is the
// caller's.
func (s *Store) Forbidden() []core.Forbidden {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]core.Forbidden, len(s.rules))
	for i, r := range s.rules {
		all[i] = r.Forbidden
	}
	return all
}

// forbids returns the rule that forbids a package of a lock, nil when none does.
func (s *Store) forbids(p core.Locked) *core.Forbidden {
	s.mu.RLock()
	rules := s.rules
	s.mu.RUnlock()
	for _, r := range rules {
		if r.covers(p) {
			return &r.Forbidden
		}
	}
	return nil
}

// verdict is forbids for a package in the store. Its entry of the index is read once.
func (s *Store) verdict(runtime core.RuntimeID, p core.Package) *core.Forbidden {
	key := forbiddenKey{runtime, p.Name, p.Version}
	s.mu.RLock()
	verdicts, none := s.verdicts, len(s.rules) == 0
	found, known := verdicts[key]
	s.mu.RUnlock()
	if none || known {
		return found
	}
	locked := core.Locked{Name: p.Name, Version: p.Version}
	entry, ok := s.find(runtime, p)
	if ok {
		locked = entry.Locked
	}
	found = s.forbids(locked)
	if ok {
		s.mu.Lock()
		verdicts[key] = found // of a map that is the store's no more when the rules are others by now
		s.mu.Unlock()
	}
	return found
}

// quarantine returns why the package may not be used, "" when it may.
func (s *Store) quarantine(p core.Installed) string {
	if f := s.forbids(p.Locked); f != nil {
		return f.Reason
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if file, damaged := s.damaged[Tree{Packages, p.Digest}]; damaged {
		return "damaged: " + file.String()
	}
	return ""
}

// Refused returns an error when no process may be started with this code and these packages, and nil when one
// may.
func (s *Store) Refused(runtime core.RuntimeID, code string, packages core.Set) error {
	s.mu.RLock()
	free := len(s.damaged) == 0 && len(s.rules) == 0
	file, damaged := s.damaged[Tree{Code, code}]
	s.mu.RUnlock()
	if free {
		return nil
	}
	if damaged {
		return core.Errorf(core.KindUnavailable, core.FaultWorker, "the code of the function is damaged on this worker (%s): deploy it again", file)
	}
	for _, p := range packages {
		if f := s.verdict(runtime, p); f != nil {
			return core.Errorf(core.KindUnavailable, core.FaultWorker,
				"the package %s is quarantined on this worker (%s): deploy the function with another version, or allow this one with `pipsqueak store release '%s'`", p, f.Reason, f)
		}
		s.mu.RLock()
		file, damaged := s.damaged[Tree{Packages, p.Digest}]
		s.mu.RUnlock()
		if damaged {
			return core.Errorf(core.KindUnavailable, core.FaultWorker,
				"the package %s is damaged on this worker (%s): the worker tries to install it again; `pipsqueak store verify %s` says why it cannot", p, file, p).Again()
		}
	}
	return nil
}

// Forbid makes a rule, or replaces the one of the same name and versions. Without a reason it removes that
// rule; the error is KindNotFound when there is none. It returns the installed packages that the rule covers.
func (s *Store) Forbid(f core.Forbidden) ([]core.Installed, error) {
	f.Name, f.Versions = strings.TrimSpace(f.Name), strings.TrimSpace(f.Versions)
	s.writes.Lock()
	defer s.writes.Unlock()
	covers, err := s.readRule(f.Name, f.Versions)
	if err != nil && f.Reason != "" {
		return nil, err
	}
	s.mu.RLock()
	rules := slices.Clone(s.rules)
	s.mu.RUnlock()
	at := slices.IndexFunc(rules, func(r rule) bool { return r.Name == f.Name && exact(r.Versions) == exact(f.Versions) })
	switch {
	case f.Reason == "" && at < 0:
		return nil, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no rule %s in the quarantine; `pipsqueak store quarantine` shows those there are", f)
	case f.Reason == "":
		covers = rules[at].covers
		rules = slices.Delete(rules, at, at+1)
	case at < 0:
		rules = append(rules, rule{f, covers})
	default:
		rules[at] = rule{f, covers}
	}
	if err := s.writeRules(rules); err != nil {
		return nil, err
	}
	var all []core.Installed
	for _, p := range s.Installed() {
		if covers(p.Locked) {
			all = append(all, p)
		}
	}
	return all, nil
}

// writeRules exchanges the rules, on the disk first. The caller holds writes.
func (s *Store) writeRules(rules []rule) error {
	all := make([]core.Forbidden, len(rules))
	for i, r := range rules {
		all[i] = r.Forbidden
	}
	text, err := json.MarshalIndent(all, "", "  ")
	path := filepath.Join(s.dir, rulesFile)
	if err != nil {
		return files.DiskError(path, err)
	}
	if err := s.writeFile(path, append(text, '\n')); err != nil {
		return err
	}
	s.setRules(rules)
	return nil
}

// loadRules reads the rules. Without them nothing may be started, for something may be forbidden.
func (s *Store) loadRules() error {
	path := filepath.Join(s.dir, rulesFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var all []core.Forbidden
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return core.Errorf(core.KindInvalid, core.FaultWorker, "%s has what is forbidden on this worker, and cannot be read: %w; fix or remove it", path, err)
	}
	rules := make([]rule, len(all))
	for i, f := range all {
		covers, err := s.readRule(f.Name, f.Versions)
		if err != nil {
			return err
		}
		rules[i] = rule{f, covers}
	}
	s.setRules(rules)
	return nil
}

// adoptQuarantine makes a rule of what an earlier version has written into an entry of the index.
func (s *Store) adoptQuarantine(path string, entry core.Installed) error {
	f := core.Forbidden{Name: entry.Name, Versions: "==" + entry.Version, Reason: entry.Quarantine, Added: time.Now().UTC()}
	if !slices.ContainsFunc(s.rules, func(r rule) bool { return r.Name == f.Name && r.Versions == f.Versions }) {
		covers, err := s.readRule(f.Name, f.Versions)
		if err != nil {
			return err
		}
		if err := s.writeRules(append(slices.Clone(s.rules), rule{f, covers})); err != nil {
			return err
		}
	}
	entry.Quarantine = ""
	return s.writeIndex(path, entry)
}
