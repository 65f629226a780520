// Package coretest helps tests of every room: with errors, with connections, and with what the machine lacks.
package coretest

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Must ends the test unless err is nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WantError checks that err is an error of that kind and fault, with all the words in its message.
func WantError(t testing.TB, err error, kind core.Kind, fault core.Fault, words ...string) {
	t.Helper()
	var e *core.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want a *core.Error of kind %s", err, err, kind)
	}
	if e.Kind != kind || e.Fault != fault {
		t.Errorf("got %s of the %s, want %s of the %s: %v", e.Kind, e.Fault, kind, fault, e)
	}
	for _, word := range words {
		if !strings.Contains(e.Message, word) {
			t.Errorf("the message has no %q: %s", word, e.Message)
		}
	}
}

// Need is something of the machine that a test cannot do without.
type Need struct {
	Name string
	Met  func() error
}

// Root is the need of every test that makes sandboxes.
func Root() Need {
	return Need{"root", func() error {
		if os.Geteuid() != 0 {
			return errors.New("sandboxes are made by root")
		}
		return nil
	}}
}

// File is the need of a file at its usual place: not in PATH, where version managers put others in front.
func File(path string) Need {
	return Need{path, func() error {
		_, err := os.Stat(path)
		return err
	}}
}

// Found is the need of something that the test has looked for itself.
func Found(name string, found bool) Need {
	return Need{name, func() error {
		if !found {
			return errors.New("it was not found")
		}
		return nil
	}}
}

// Requires skips the test when the machine lacks something, and names it. With CI set it fails, because
// nothing may be left out there.
func Requires(t testing.TB, needs ...Need) {
	t.Helper()
	for _, need := range needs {
		err := need.Met()
		if err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("this test needs %s, and CI must have it: %v", need.Name, err)
		}
		t.Skipf("needs %s: %v", need.Name, err)
	}
}
