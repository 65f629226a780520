package main

import (
	"bytes"
	gofmt "go/format"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// That what is made can be built and works is seen in integration (TestDriverNew).

func TestDriverNewRefuses(t *testing.T) {
	parent := t.TempDir()
	taken := filepath.Join(parent, "taken")
	if err := os.WriteFile(taken, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"no language", nil, exitUsage, "arg(s)"},
		{"capital", []string{"Perl", filepath.Join(parent, "a")}, exitFailed, `"Perl" is no name for a language`},
		{"digit first", []string{"4th", filepath.Join(parent, "a")}, exitFailed, "no name"},
		{"path", []string{"../x", filepath.Join(parent, "a")}, exitFailed, "no name"},
		{"empty", []string{"", filepath.Join(parent, "a")}, exitFailed, "no name"},
		{"dash", []string{"c-sharp", filepath.Join(parent, "a")}, exitFailed, "no name"},
		{"taken", []string{"perl", taken, "--source", source}, exitFailed, "it exists"},
		{"no parent", []string{"perl", filepath.Join(parent, "none", "a"), "--source", source}, exitFailed, "no such file"},
		{"no checkout", []string{"perl", filepath.Join(parent, "a"), "--source", parent}, exitFailed, "no checkout of Pipsqueak"},
		{"no version", []string{"perl", filepath.Join(parent, "a")}, exitFailed, "--source"}, // a test has none
	} {
		t.Run(c.name, func(t *testing.T) {
			got := runAt(t.Context(), &program{}, "", "", append([]string{"driver", "new"}, c.args...)...)
			if got.status != c.status || !strings.Contains(got.err, c.says) || got.out != "" {
				t.Errorf("%+v, want %q", got, c.says)
			}
			left, err := os.ReadDir(parent)
			if err != nil || len(left) != 1 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if text, err := os.ReadFile(taken); string(text) != "mine" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}

func TestDriverNewIsFilled(t *testing.T) {
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "made")
	got := runAt(t.Context(), &program{}, "", "", "driver", "new", "perl5", dir, "--source", source)
	if got.status != exitOK || !strings.Contains(got.out, "a driver for perl5") {
		t.Fatalf("%+v", got)
	}
	for name, says := range map[string]string{
		"go.mod":          `replace github.com/pipsqueak-faas/pipsqueak => "` + source + `"`,
		"main.go":         `language    = "perl5"`,
		"Makefile":        "build/pipsqueak-driver-perl5",
		"README.md":       "# pipsqueak-driver-perl5",
		"runtime/loop.py": "be_instance()",
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(text), says) || strings.Contains(string(text), "[[") {
			t.Errorf("%s, %v, without %q:\n%s", name, err, says, text)
		}
	}
	code, err := os.ReadFile(filepath.Join(dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if formatted, err := gofmt.Source(code); err != nil || string(formatted) != string(code) {
		t.Errorf("main.go is not as gofmt has it: %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
}

// The driver in Python runs the same loop: what is learned of one is true of the other.
func TestLoopsAreTheSame(t *testing.T) {
	ours, err := newDriverFiles.ReadFile("newdriver/runtime/loop.py")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../examples/driver-in-python/loop.py")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours, example) {
		t.Error("cmd/pipsqueak/newdriver/runtime/loop.py and examples/driver-in-python/loop.py differ: change both")
	}
}
