package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/core/signing"
)

func TestDeploySigned(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	made := pipsqueak(t, &world{}, "", "keygen", key)
	if made.status != 0 {
		t.Fatal(made.err)
	}
	id := strings.TrimSpace(made.out)
	keys, err := signing.LoadKeys(key + signing.PublicSuffix)
	if err != nil {
		t.Fatal(err)
	}
	// The server sees what it unpacks, and by which name.
	w := newWorld()
	w.deploy = func(r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
		code, err := bundle.Read(t.Context(), r.Archive)
		if err != nil {
			return core.Function{}, err
		}
		name := r.Name
		if name == "" {
			name = code.Name
		}
		signers, signed, err := keys.Verify(r.Signature, name, code.Digest)
		if age := time.Since(signed); err == nil && (age < 0 || age > time.Minute) {
			t.Errorf("%s was signed at %s", name, signed)
		}
		return core.Function{Name: name, Version: 1, Signers: signers}, err
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"one/handler.py": "x = 1", "one/.git/config": "left out", "one/__pycache__/x.pyc": "left out",
		"named/handler.py": "x = 2", "named/pipsqueak.yaml": "name: called\n",
		"app/pipsqueak.yaml": "functions:\n  first:\n    memory_mb: 64\n  second:\n    dir: first\n", "app/first/handler.py": "x = 3",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var archive bytes.Buffer
	if err := pack(&archive, filepath.Join(dir, "one"), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "one.tar.gz"), archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args  string
		names []string
		fails string
	}{
		{"one", []string{"one"}, ""},
		{"one --name other", []string{"other"}, ""},
		{"named", []string{"called"}, ""},
		{"app", []string{"first", "second"}, ""},
		{"one.tar.gz --name one", []string{"one"}, ""},
		{"one.tar.gz", []string{"one"}, ""},
		{"nowhere", nil, "cannot deploy"},
	} {
		args := strings.Fields(test.args)
		args[0] = filepath.Join(dir, args[0])
		got := pipsqueak(t, w, "", append([]string{"deploy", "-o", "json", "--sign", key}, args...)...)
		if test.fails != "" {
			if got.status != 1 || !strings.Contains(got.err, test.fails) {
				t.Errorf("%s: %+v", test.args, got)
			}
			continue
		}
		if got.status != 0 || strings.Count(got.out, id) != len(test.names) {
			t.Errorf("%s: %+v", test.args, got)
		}
		for _, name := range test.names {
			if !strings.Contains(got.out, `"name": "`+name+`"`) {
				t.Errorf("%s: no %s: %s", test.args, name, got.out)
			}
		}
	}
	if got := pipsqueak(t, w, "", "deploy", filepath.Join(dir, "one")); got.status != 1 || !strings.Contains(got.err, "one is not signed") {
		t.Errorf("unsigned: %+v", got)
	}
	if got := pipsqueak(t, w, "", "deploy", dir, "--sign", key+signing.PublicSuffix); got.status != 1 || !strings.Contains(got.err, "cannot be signed with") {
		t.Errorf("with a public key: %+v", got)
	}
}

func TestSBOM(t *testing.T) {
	pipsqueak(t, newWorld(), "", "sbom", "hello").want(t, 0, "hello as cyclonedx-json\n", "")
	pipsqueak(t, newWorld(), "", "sbom", "hello", "--format", "cyclonedx-xml").want(t, 0, "hello as cyclonedx-xml\n", "")
	if got := pipsqueak(t, newWorld(), "", "sbom", "hello", "--format", "spdx"); got.status != 2 {
		t.Errorf("%+v", got)
	}
}

func TestVulnerabilityFlags(t *testing.T) {
	database := filepath.Join("osv", "testdata", "database")
	for _, test := range []struct {
		args   string
		refuse core.Severity
		opens  bool
		status int
		says   string
	}{
		{"", "", false, 0, ""},
		{"--vulnerabilities " + database, "", true, 0, ""},
		{"--vulnerabilities " + database + " --vulnerability-policy refuse", core.SeverityHigh, true, 0, ""},
		{"--vulnerabilities " + database + " --vulnerability-policy refuse --refuse-severity low", core.SeverityLow, true, 0, ""},
		{"--vulnerabilities " + database + " --refuse-severity low", "", false, 1, "--refuse-severity is only for --vulnerability-policy refuse"},
		{"--vulnerability-policy refuse", "", false, 1, "name a database with --vulnerabilities"},
		{"--vulnerabilities /nowhere", "", false, 1, "cannot be read"},
		{"--vulnerability-policy panic", "", false, 2, "it is one of warn, refuse"},
		{"--refuse-severity bad", "", false, 2, "it is one of unknown, low, medium, high, critical"},
	} {
		t.Run(test.args, func(t *testing.T) {
			var got workerConfig
			ctx, cancel := context.WithCancel(t.Context())
			p := &program{open: func(_ context.Context, config workerConfig) (core.Service, func(context.Context) error, error) {
				got = config
				got.Log = slog.New(slog.DiscardHandler)
				cancel()
				return newWorld().service(), func(context.Context) error { return nil }, nil
			}}
			ran := runAt(ctx, p, "http://127.0.0.1:1", "", append([]string{"serve", "--listen", "127.0.0.1:0", "--require-signed", "k"}, strings.Fields(test.args)...)...)
			if ran.status != test.status || !strings.Contains(ran.err, test.says) {
				t.Fatalf("%+v", ran)
			}
			if test.status == 0 && (got.Refuse != test.refuse || (got.Vulnerabilities != nil) != test.opens || got.RequireSigned != "k") {
				t.Errorf("%+v", got)
			}
		})
	}
}
