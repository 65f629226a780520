package scan

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var day = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const policy = `default: allow
rules:
  network: refuse
  process: warn
exceptions:
  - package: old
    rule: network
    reason: until it is fixed
    until: 2026-11-22
  - package: today
    reason: until it is fixed
    until: 2026-11-23
  - package: "@scope/one"
    version: "2.0"
    rule: network
    decision: warn
    reason: it asks for its own version
  - package: worse
    decision: refuse
    reason: nobody wants it
`

func TestPolicyDecides(t *testing.T) {
	p, err := parse("p.yaml", []byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		pkg, rule string
		verdict   Verdict
		by        string
	}{
		{"a==1", "network", Refuse, "p.yaml:3"},
		{"a==1", "process", Warn, "p.yaml:4"},
		{"a==1", "binary", Allow, "p.yaml:1"},
		{"a==1", "of a later driver", Allow, "p.yaml:1"},
		{"old==1", "network", Refuse, "p.yaml:3"},
		{"today==1", "network", Allow, "p.yaml:10"},
		{"@scope/one==2.0", "network", Warn, "p.yaml:13"},
		{"@scope/one==2.1", "network", Refuse, "p.yaml:3"},
		{"@scope/one==2.0+3f00", "network", Warn, "p.yaml:13"},
		{"worse==1", "name", Refuse, "p.yaml:18"},
	} {
		d := p.Decide(day, []core.Suspicion{{Package: test.pkg, Rule: test.rule}})[0]
		if d.Verdict != test.verdict || d.By != test.by {
			t.Errorf("%s of %s: %s by %s, want %s by %s", test.rule, test.pkg, d.Verdict, d.By, test.verdict, test.by)
		}
	}
	d := new(Policy).Decide(day, []core.Suspicion{{Package: "a==1", Rule: "network"}})[0]
	if d.Verdict != Warn || d.By != "default" {
		t.Errorf("without a policy: %+v", d)
	}
}

func TestPolicyMistakes(t *testing.T) {
	for _, test := range []struct{ text, said string }{
		{"rules:\n  programs: warn\n", `line 2: there is no rule "programs"`},
		{"rules:\n  process: deny\n", `line 2: a decision is allow, warn or refuse, not "deny"`},
		{"rules:\n  process:\n", "rule process"},
		{"rules:\n  process: [warn]\n", "line 2"},
		{"default: perhaps\n", "line 1"},
		{"exception: []\n", "exception"},
		{"exceptions:\n  - rule: process\n    reason: x\n", "exception 1: it names no package"},
		{"exceptions:\n  - package: a\n", "line 2: the exception for a gives no reason"},
		{"exceptions:\n  - package: a\n    reason: x\n    rule: all\n", "line 4"},
		{"exceptions:\n  - package: a\n    reason: x\n    until: tomorrow\n", "line 4: until is a day"},
		{"- a\n", "line 1"},
		{"\x00", "cannot be used"},
	} {
		file := filepath.Join(t.TempDir(), "p.yaml")
		if err := os.WriteFile(file, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file)
		if e := core.AsError(err); err == nil || e.Kind != core.KindInvalid || e.Fault != core.FaultCaller || !strings.Contains(err.Error(), test.said) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v, want %q", test.text, err, test.said)
		}
	}
	if _, err := parse("p.yaml", nil); err != nil {
		t.Errorf("an empty policy: %v", err)
	}
}

func TestResultsGoOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.jsonl")
	r, err := OpenResults(file, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenResults(file, true); core.AsError(err).Kind != core.KindConflict {
		t.Errorf("two scans write to one file: %v", err)
	}
	for _, one := range []Result{{Digest: "sha256:a", Scanner: "s 1"}, {Digest: "sha256:b", Scanner: "s 1", Error: "broken"}} {
		if err := r.Add(one); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(whole, `{"digest":"sha256:c"`...), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenResults(file, false); core.AsError(err).Kind != core.KindConflict {
		t.Errorf("results are overwritten: %v", err)
	}
	if r, err = OpenResults(file, true); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, test := range []struct {
		digest, scanner string
		known           bool
	}{{"sha256:a", "s 1", true}, {"sha256:a", "s 2", false}, {"sha256:b", "s 1", false}, {"sha256:c", "", false}} {
		if _, known := r.Known(test.digest, test.scanner); known != test.known {
			t.Errorf("%s by %q: known is %v", test.digest, test.scanner, known)
		}
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != string(whole) {
		t.Errorf("half a line is left: %q, %v", now, err)
	}
}

func TestResultsOfOthersAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.jsonl")
	const text = "something else\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenResults(file, true); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a file of something else: %v", err)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != text {
		t.Errorf("it was changed: %q, %v", now, err)
	}
}

func TestArchives(t *testing.T) {
	runtimes := []core.Runtime{{ID: "one", Archives: []string{"*.deb"}}, {ID: "two", Archives: []string{"*.gem", "two-*.deb"}}, {ID: "three"}}
	dir := t.TempDir()
	for _, name := range []string{"packages/a/b/x.gem", "two-x.deb", "y.deb", "readme.txt", "z.gem/inside.txt"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("y.deb\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	found, err := Archives(dir, runtimes)
	var got []string
	for _, path := range found {
		r, _ := RuntimeOf(path, runtimes)
		name, _ := filepath.Rel(dir, path)
		got = append(got, name+" "+string(r.ID))
	}
	if want := "packages/a/b/x.gem two,two-x.deb two,y.deb one"; err != nil || strings.Join(got, ",") != want {
		t.Errorf("found %s, %v, want %s", got, err, want)
	}
	if list, err := Archives(filepath.Join(dir, "readme.txt"), runtimes); err != nil || len(list) != 1 || list[0] != filepath.Join(dir, "y.deb") {
		t.Errorf("a list gives %v, %v", list, err)
	}
	if _, err := Archives(filepath.Join(dir, "nothing"), runtimes); core.AsError(err).Fault != core.FaultCaller {
		t.Errorf("what is not there: %v", err)
	}
}
