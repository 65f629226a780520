package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestFind looks at which binaries are used, and what is said of the others.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	fake := func(name, script string) string {
		path := filepath.Join(dir, name, "bin", "node")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	says := func(name, version string) string {
		return fake(name, fmt.Sprintf(`echo '{"executable":"%s/%s/bin/node","version":"%s"}'`, dir, name, version))
	}
	named := []string{says("new", "97.1.0"), says("old", "18.20.0"), says("second", "97.2.0"), fake("broken", "echo what is this; exit 3"), fake("other", "echo hello"), dir + "/none"}
	npm := filepath.Join(dir, "second/lib/node_modules/npm")
	if err := os.MkdirAll(npm+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(npm+"/bin/npm-cli.js", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(binariesVariable, strings.Join(named, ":"))
	found, problems := find(t.Context())
	i := slices.IndexFunc(found, func(b nodejs) bool { return b.Major == 97 })
	if i != 0 || found[0].Executable != named[0] || found[0].npm != npm {
		t.Errorf("found %+v", found)
	}
	said := strings.Join(problems, "\n")
	for _, want := range []string{"old/bin/node: it is Node.js 18.20.0; 20 or later is needed", "second node97", "broken/bin/node: exit status 3", "other/bin/node: it is not Node.js", dir + "/none, named in PIPSQUEAK_NODE"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing says %q:\n%s", want, said)
		}
	}
}

// TestNoCertificates names a file of certificates that does not exist.
func TestNoCertificates(t *testing.T) {
	t.Setenv("PIPSQUEAK_LIBEXEC", drivertest.Libexec(t))
	t.Setenv("NPM_CONFIG_CAFILE", "/nonexistent/ca.pem")
	d, err := newDriver(slog.New(slog.DiscardHandler)).Describe(t.Context())
	if err != nil || len(d.Runtimes) == 0 || !strings.Contains(strings.Join(d.Problems, " "), "/nonexistent/ca.pem") {
		t.Fatalf("%+v, %v", d, err)
	}
	for _, mount := range d.Runtimes[0].Tools {
		if mount.Source == "/nonexistent/ca.pem" {
			t.Errorf("%+v", mount)
		}
	}
}

func TestWithoutNPM(t *testing.T) {
	for manifest, say := range map[string]string{`{"version":"6.14.18"}`: "has npm 6.14.18 beside it, which is older than npm 8", `{"version":"8.0.0"}`: "", `{"version":"12.2.2"}`: "", `{}`: "", "no": ""} {
		npm := t.TempDir()
		if err := os.WriteFile(filepath.Join(npm, "package.json"), []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := (nodejs{npm: npm}).withoutNPM(); strings.TrimSpace(got) != say {
			t.Errorf("%s: %q, want %q", manifest, got, say)
		}
	}
	if got := (nodejs{}).withoutNPM(); got != " has no npm beside it" {
		t.Errorf("%q", got)
	}
}
