package worker

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// raised returns an error of a function after what is hidden in it was taken out.
func (s *secrets) raised(text string) string {
	err := core.Errorf(core.KindException, core.FaultHandler, "%s", text)
	err.Exception = &core.Exception{Message: text}
	var hidden *core.Error
	if !errors.As(s.hide(&core.Function{Name: "f"}, err), &hidden) || hidden.Exception.Message != hidden.Message {
		return "another error"
	}
	return hidden.Message
}

// One secret may be the beginning of another: of both nothing is told.
func TestSecretsWithOneBeginning(t *testing.T) {
	s := &secrets{hiders: map[string]*hider{}}
	texts := map[string]string{}
	hidden(texts, "short", core.Secret("password1"))
	hidden(texts, "long", core.Secret("password1-and-more"))
	s.remember("f", texts)
	if got := s.raised("password1-and-more, password1"); got != "[secret long], [secret short]" {
		t.Error(got)
	}
}

// What a function had is taken out as long as an event can run that has it, however often it was changed
// since, and also when the function was removed.
func TestSecretsOfEarlierVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &secrets{hiders: map[string]*hider{}}
		for _, value := range []string{"value-1-secret", "value-2-secret", "value-3-secret"} {
			texts := map[string]string{}
			hidden(texts, "a", core.Secret(value))
			s.remember("f", texts)
			time.Sleep(5 * time.Minute)
		}
		s.remember("f", nil) // it was removed
		time.Sleep(time.Minute)
		for _, value := range []string{"value-1-secret", "value-2-secret", "value-3-secret"} {
			if got := s.raised(value); got != "[secret a]" {
				t.Errorf("told of: %s", got)
			}
		}
		time.Sleep(hiddenFor)
		s.remember("f", nil)
		if len(s.hiders) > 0 {
			t.Errorf("%d are kept for good", len(s.hiders))
		}
	})
}

// A line that is split is not split in a secret, wherever that is in it, and however the line comes.
func TestSplitLinesHideSecrets(t *testing.T) {
	l := openTestLogs(t, t.TempDir())
	const secret = "a secret that nobody is told"
	texts := map[string]string{}
	hidden(texts, "a", core.Secret(secret))
	hidden(texts, "b", core.Secret(strings.Repeat("long", maxLine/2)))
	h := &secrets{hiders: map[string]*hider{}}
	h.remember("f", texts)
	l.hider = h.hider
	version := 0
	for _, before := range []int{0, maxLine - len(secret), maxLine - len(secret) + 1, maxLine - 5, maxLine - 1, maxLine, 2*maxLine - 3} {
		for _, after := range []string{"", "x", strings.Repeat("x", maxLine)} {
			for _, what := range []string{secret, strings.Repeat("long", maxLine/2)} {
				version++
				whole := strings.Repeat("x", before) + what + after
				for _, parts := range []script{{{"r", whole + "\n"}}, {{"r", whole[:before+4]}, {"r", whole[before+4:]}, {"r", ""}}} {
					l.collect(core.SandboxConfig{Function: "f", Version: version}, "stdout", &parts)
				}
				fn, line := &core.Function{Name: "f", Version: version}, core.LogLine{Request: "r", Stream: "stdout"}
				kept := l.printed(fn, line, []byte(whole[:before+4]), false) // of one of several events
				l.printed(fn, line, []byte(whole[kept:]), true)
			}
		}
	}
	var all strings.Builder
	for _, line := range l.lines(t, version) {
		all.WriteString(line.Text)
		if line.Text == "" {
			t.Error("there is an empty line")
		}
	}
	told := all.String()
	if n := strings.Count(told, "[secret a]") + strings.Count(told, "[secret b]"); n != 3*version || strings.Contains(told, "told") || strings.Contains(told, "long") {
		t.Errorf("of %d secrets %d were taken out", 3*version, n)
	}
}
