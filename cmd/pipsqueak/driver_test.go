package main

import (
	"fmt"
	gofmt "go/format"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
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
		{"no SDK", []string{"perl", filepath.Join(parent, "a"), "--sdk", "rust"}, exitFailed, `no SDK in "rust" for a driver, only in go and python`},
		{"empty SDK", []string{"perl", filepath.Join(parent, "a"), "--sdk", ""}, exitFailed, "no SDK"},
		{"source for Python", []string{"perl", filepath.Join(parent, "a"), "--sdk", "python", "--source", source}, exitFailed, "--source is for drivers in Go"},
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
	for sdk, made := range map[string]struct {
		flags []string
		files map[string]string // and what each says
	}{
		sdkGo: {[]string{"--source", source}, map[string]string{
			"go.mod":          `replace github.com/pipsqueak-faas/pipsqueak => "` + source + `"`,
			"main.go":         `language    = "perl5"`,
			"Makefile":        "build/pipsqueak-driver-perl5",
			"README.md":       "# pipsqueak-driver-perl5",
			"runtime/loop.py": "be_instance()",
		}},
		sdkPython: {nil, map[string]string{
			"driver.py":                        `LANGUAGE = "perl5"`,
			"Makefile":                         "pipsqueak-driver-perl5",
			"README.md":                        "# pipsqueak-driver-perl5",
			"runtime/loop.py":                  "be_instance()",
			"sdk/pyproject.toml":               `name = "pipsqueak-driver"`,
			"sdk/pipsqueak_driver/__init__.py": "serve",
			"sdk/pipsqueak_driver/wire/driver_pb2.py": "pipsqueak.driver.v1",
		}},
	} {
		t.Run(sdk, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "made")
			got := runAt(t.Context(), &program{}, "", "", append([]string{"driver", "new", "perl5", dir, "--sdk", sdk}, made.flags...)...)
			if got.status != exitOK || !strings.Contains(got.out, "a driver for perl5") {
				t.Fatalf("%+v", got)
			}
			for name, says := range made.files {
				text, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil || !strings.Contains(string(text), says) || strings.Contains(string(text), "[[.") {
					t.Errorf("%s, %v, without %q:\n%s", name, err, says, text)
				}
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("%v, %v", info, err)
			}
			code, err := os.ReadFile(filepath.Join(dir, "main.go"))
			if isThere := err == nil; isThere != (sdk == sdkGo) {
				t.Fatalf("main.go: %v", err)
			}
			if formatted, err := gofmt.Source(code); err != nil || string(formatted) != string(code) {
				t.Errorf("main.go is not as gofmt has it: %v", err)
			}
		})
	}
}

// TestEnvironmentOfPython compares what zygotes get from the SDK in Python with what they get from the one in
// Go.
func TestEnvironmentOfPython(t *testing.T) {
	text, err := newDriverFiles.ReadFile("newdriver/python/sdk/pipsqueak_driver/sandbox.py")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "EVERYWHERE = {\n")
	own, _, _ := strings.Cut(rest, "\n}\n")
	var want []string
	for name, value := range core.Everywhere() {
		want = append(want, fmt.Sprintf("    %q: %q,", name, value))
	}
	got := strings.Split(own, "\n")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("EVERYWHERE is\n%s\nand core.Everywhere\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
