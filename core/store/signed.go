package store

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// signedSuffix is of the file that has when the newest signature was made that was accepted for the name of a
// function. It stays when the function is removed.
const signedSuffix = ".signed"

func (s *Store) signedPath(name string) string {
	return filepath.Join(s.dir, "functions", name+signedSuffix)
}

// Signed returns when the newest signature was made that was accepted for a function of that name, whether
// there is one or not: the zero time when there was none.
func (s *Store) Signed(name string) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.signed[name]
}

// NoteSigned notes when the signature of a function was made that is about to be deployed.
func (s *Store) NoteSigned(name string, at time.Time) error {
	if err := s.writeFile(s.signedPath(name), []byte(at.Format(time.RFC3339Nano)+"\n")); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signed[name] = at
	return nil
}

// loadSigned reads the file of a name. Nothing that was signed before now counts when it cannot be read.
func (s *Store) loadSigned(name string) (warnings []error) {
	path := s.signedPath(name)
	text, why := os.ReadFile(path)
	at, malformed := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(text)))
	if why == nil {
		why = malformed
	}
	if why == nil {
		s.signed[name] = at
		return nil
	}
	return []error{core.Errorf(core.KindInternal, core.FaultWorker, "%s cannot be read (%w): what is deployed as %s has to be signed from now on", path, why, name),
		s.NoteSigned(name, time.Now().UTC())}
}
