package store

import (
	"os"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// When a function was signed is known after its removal, and after a restart. A file that cannot be read lets
// nothing in that was signed before.
func TestSigned(t *testing.T) {
	s := openTest(t)
	reopen := func() (warnings []error) {
		t.Helper()
		coretest.Must(t, s.Close())
		var err error
		s, warnings, err = Open(s.dir)
		coretest.Must(t, err)
		return warnings
	}
	defer func() { s.Close() }()
	at := time.Date(2026, 11, 29, 1, 2, 3, 456789, time.UTC)
	deploy(t, s, "f", "1")
	if got := s.Signed("f"); !got.IsZero() {
		t.Errorf("before the first signature: %s", got)
	}
	coretest.Must(t, s.NoteSigned("f", at.Add(-time.Hour)))
	coretest.Must(t, s.NoteSigned("f", at))
	for _, when := range []string{"at once", "after a restart", "after a removal", "after both"} {
		if got := s.Signed("f"); !got.Equal(at) || !s.Signed("g").IsZero() {
			t.Errorf("%s: %s", when, got)
		}
		switch when {
		case "after a restart":
			coretest.Must(t, s.Delete("f"))
		default:
			if warnings := reopen(); len(warnings) > 0 {
				t.Errorf("%s: %v", when, warnings)
			}
		}
	}
	began := time.Now()
	coretest.Must(t, os.WriteFile(s.signedPath("f"), []byte("torn"), 0o600))
	if warnings := reopen(); len(warnings) != 1 || s.Signed("f").Before(began) {
		t.Errorf("after its file was torn: %s, %v", s.Signed("f"), warnings)
	}
	if warnings := reopen(); len(warnings) != 0 || s.Signed("f").Before(began) {
		t.Errorf("at the next start: %s, %v", s.Signed("f"), warnings)
	}
}
