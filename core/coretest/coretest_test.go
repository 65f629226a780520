package coretest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestRequires checks that a missing need skips on a developer's machine and fails in CI.
func TestRequires(t *testing.T) {
	for _, ci := range []string{"", "true"} {
		t.Setenv("CI", ci)
		probe := &verdict{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			Requires(probe, Need{"nothing", func() error { return nil }}, Need{"a unicorn", func() error { return errors.New("none here") }})
		}()
		<-done
		if probe.failed != (ci != "") || probe.skipped != (ci == "") || !strings.Contains(probe.text, "a unicorn") {
			t.Errorf("CI=%q: failed %v, skipped %v, text %q", ci, probe.failed, probe.skipped, probe.text)
		}
	}
}

// verdict records how a test would have ended.
type verdict struct {
	testing.TB
	failed, skipped bool
	text            string
}

func (v *verdict) Helper() {}
func (v *verdict) Fatalf(format string, args ...any) {
	v.failed, v.text = true, fmt.Sprintf(format, args...)
	runtime.Goexit()
}
func (v *verdict) Skipf(format string, args ...any) {
	v.skipped, v.text = true, fmt.Sprintf(format, args...)
	runtime.Goexit()
}
