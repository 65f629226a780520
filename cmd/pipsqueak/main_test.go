package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"lst"}, {"describe"}, {"list", "much"}, {"list", "-o", "yaml"}, {"list", "--nope"}, {"serve", "--memory", "lots"}, {"serve", "--memory", "512"}, {"serve", "--package-age", "30"}, {"invoke", "a", "b", "c"},
	} {
		got := pipsqueak(t, newWorld(), "", args...)
		if got.status != 2 || got.out != "" || !strings.HasPrefix(got.err, "pipsqueak: ") || !strings.Contains(got.err, "--help' for how it is used.") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := pipsqueak(t, newWorld(), "", "deploy", "--nam", "x"); !strings.Contains(got.err, "did you mean --name?") {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, newWorld(), "", "lst"); !strings.Contains(got.err, "Did you mean this?\n\tlist") {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, newWorld(), "", "describe", "helo"); !strings.Contains(got.err, `did you mean "hello"?`) {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, newWorld(), "", "list", "--help"); got.status != 0 || !strings.Contains(got.out, "Examples:") {
		t.Errorf("%+v", got)
	}
}

func TestNoServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	got := runAt(t.Context(), &program{}, server.URL, "", "list")
	if got.status != 1 || !strings.Contains(got.err, "is it the right --server?") {
		t.Errorf("%+v", got)
	}
	server.Close()
	got = runAt(t.Context(), &program{}, server.URL, "", "list")
	if got.status != 1 || !strings.Contains(got.err, "start one with 'sudo pipsqueak serve'") {
		t.Errorf("%+v", got)
	}
	got = runAt(t.Context(), &program{}, "http://bad host", "", "list")
	if got.status != 1 || !strings.Contains(got.err, "is not the URL of a server") {
		t.Errorf("%+v", got)
	}
}

func TestCompletion(t *testing.T) {
	got := pipsqueak(t, newWorld(), "", "__complete", "describe", "")
	if got.status != 0 || !strings.HasPrefix(got.out, "hello\tpython3.11\nreport\tpython3.11\n:4\n") {
		t.Errorf("%+v", got)
	}
	got = pipsqueak(t, newWorld(), "", "__complete", "list", "-o", "")
	if !strings.HasPrefix(got.out, "table\njson\n:4\n") {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, newWorld(), "", "completion", "bash"); got.status != 0 || !strings.Contains(got.out, "bash completion") {
		t.Errorf("%+v", clipped(got))
	}
}

func clipped(r ran) ran {
	r.out = r.out[:min(len(r.out), 200)]
	return r
}

func TestDoctor(t *testing.T) {
	found := []core.Finding{{Name: "cgroup", Status: core.StatusOK, Detail: "v2"}, {Name: "python", Status: core.StatusWarn, Detail: "no pip", Fix: "apt install python3-pip"}}
	p := &program{checks: func(context.Context, workerConfig) []core.Finding { return found }}
	runAt(t.Context(), p, "", "", "doctor").want(t, 0, `ok    cgroup  v2
warn  python  no pip
              → apt install python3-pip
`, "")
	found = append(found, core.Finding{Name: "user namespaces", Status: core.StatusFail, Detail: "switched off", Fix: "sysctl -w x=1"})
	got := runAt(t.Context(), p, "", "", "doctor", "-o", "json")
	if got.status != 1 || !strings.Contains(got.out, `"mend": "sysctl -w x=1"`) || !strings.Contains(got.err, "1 of 3 checks failed") {
		t.Errorf("%+v", got)
	}
}

func TestVersion(t *testing.T) {
	for _, word := range []string{"version", "--version"} {
		if got := runAt(t.Context(), &program{}, "", "", word); got.status != 0 || !strings.HasPrefix(got.out, "pipsqueak ") {
			t.Errorf("%s: %+v", word, got)
		}
	}
}

// TestNeedsRoot says so before anything else happens.
func TestNeedsRoot(t *testing.T) {
	for _, args := range [][]string{{"serve", "--data", "/nowhere"}, {"scan", "/nowhere"}} {
		got := runAt(t.Context(), &program{user: 1000}, "", "", args...)
		if got.status == 0 || !strings.Contains(got.err, "needs root, and you are user 1000: run it with sudo") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
