package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TestDeployLeavesSecretsOut says which files with secrets are not deployed.
func TestDeployLeavesSecretsOut(t *testing.T) {
	dir := write(t, "hello", map[string]string{"handler.py": "", ".env": "x", ".env.local": "x"})
	if got := pipsqueak(t, newWorld(), "", "deploy", dir); got.status != 0 || !strings.Contains(got.err, "left out .env, .env.local:") {
		t.Errorf("%+v", got)
	}
	dir = write(t, "hello", map[string]string{"handler.py": "", ".env": "x", ".pipsqueakignore": "!.env\n"})
	if got := pipsqueak(t, newWorld(), "", "deploy", dir); got.status != 0 || strings.Contains(got.err, "left out") || packed(t, dir)[".env"] != "x" {
		t.Errorf("%+v", got)
	}
}

// TestDeployTellsOfPackages says which directories with packages are not deployed, and how they would be.
func TestDeployTellsOfPackages(t *testing.T) {
	files := map[string]string{"index.js": "", "package.json": "{}", "node_modules/p/index.js": "x"}
	dir := write(t, "hello", files)
	if got := pipsqueak(t, newWorld(), "", "deploy", dir); got.status != 0 || !strings.Contains(got.err, "left out node_modules: a deploy makes it again from package.json;") || len(packed(t, dir)) != 2 {
		t.Errorf("%+v", got)
	}
	files[".pipsqueakignore"] = "!node_modules\n"
	dir = write(t, "hello", files)
	if got := pipsqueak(t, newWorld(), "", "deploy", dir); got.status != 0 || strings.Contains(got.err, "left out") || packed(t, dir)["node_modules/p/index.js"] != "x" {
		t.Errorf("%+v", got)
	}
}

func TestDeployNames(t *testing.T) {
	plain := map[string]string{"handler.py": ""}
	for _, test := range []struct {
		path string
		args []string
		name string // that the server is asked for
	}{
		{write(t, "hello", plain), nil, "hello"},
		{write(t, "hello", plain), []string{"--name", "other"}, "other"},
		{write(t, "hello", map[string]string{"pipsqueak.yaml": "memory_mb: 64\n"}), nil, "hello"},
		{write(t, "hello", map[string]string{"pipsqueak.yaml": "# x\nname: given\n"}), nil, ""},
		{write(t, "hello", map[string]string{"pipsqueak.yaml": "{name: given}"}), nil, ""},
		{write(t, "hello", map[string]string{"pipsqueak.yaml": "a: [broken"}), nil, ""},
		{filepath.Join(write(t, "hello", map[string]string{"a.zip": "PK"}), "a.zip"), nil, ""},
		{archive(t, "thumbs.zip", "handler.py", ""), nil, "thumbs"},
		{archive(t, "thumbs.zip", "handler.py", ""), []string{"--name", "other"}, "other"},
		{archive(t, "thumbs.tar.gz", "handler.py", ""), nil, "thumbs"}, // told by its content
		{archive(t, "thumbs.zip", "pipsqueak.yaml", "name: given"), nil, ""},
	} {
		w, asked := newWorld(), "nothing"
		deploy := w.deploy
		w.deploy = func(r core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
			asked = r.Name
			return deploy(r, progress)
		}
		got := pipsqueak(t, w, "", append([]string{"deploy", test.path}, test.args...)...)
		if got.status != 0 || asked != test.name {
			t.Errorf("%s %v: asked for %q, want %q; %+v", test.path, test.args, asked, test.name, got)
		}
	}
}

func TestDeployPrints(t *testing.T) {
	dir := write(t, "hello", map[string]string{"handler.py": "pass"})
	pipsqueak(t, newWorld(), "", "deploy", dir).want(t, 0,
		"deployed hello version 2: python3.11, 0 packages, in 0s\n", "  0.0s  upload\n  0.0s  install numpy\n")
	got := pipsqueak(t, newWorld(), "", "deploy", dir, "-o", "json")
	var f core.Function
	if err := json.Unmarshal([]byte(got.out), &f); err != nil || f.Version != 2 {
		t.Errorf("%+v", got)
	}
}

func TestDeployFails(t *testing.T) {
	w := newWorld()
	deploy := w.deploy
	w.deploy = func(r core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
		_, _ = deploy(r, progress)
		return core.Function{}, core.Errorf(core.KindInstall, core.FaultHandler, "there is no package numpi; did you mean numpy?")
	}
	dir := write(t, "hello", map[string]string{"handler.py": "pass"})
	pipsqueak(t, w, "", "deploy", dir).want(t, 1, "",
		"  0.0s  upload\n  0.0s  install numpy\npipsqueak: there is no package numpi; did you mean numpy?\n")

	got := pipsqueak(t, newWorld(), "", "deploy", filepath.Join(dir, "nothing"))
	if got.status != 1 || !strings.Contains(got.err, "no such file") {
		t.Errorf("%+v", got)
	}
}

func TestDeployApplication(t *testing.T) {
	const manifest = "functions:\n  first:\n    dir: one\n    memory_mb: 64\n  second:\n    dir: two\n"
	dir := write(t, "app", map[string]string{"pipsqueak.yaml": manifest, "one/handler.py": "1", "two/handler.py": "2", "notes.txt": ""})
	w, packed, asked := newWorld(), map[string][]string{}, ""
	w.application = func(r core.ApplicationRequest, progress func(core.Progress)) (deployed core.Application, err error) {
		asked, deployed.Name = r.Name, r.Name
		for f, err := range r.Functions {
			if err != nil {
				return core.Application{}, err
			}
			if packed[f.Name], err = unpacked(f.Archive); err != nil {
				return core.Application{}, err
			}
			if f.Name == "fails" {
				return core.Application{}, core.Errorf(core.KindBuild, core.FaultHandler, "the compiler said no")
			}
			deployed.Functions = append(deployed.Functions, core.Function{Name: f.Name, Version: 1, Runtime: "x1"})
		}
		progress(core.Progress{Verb: "resolve", Item: "first"})
		deployed.Removed = []string{"third"}
		return deployed, nil
	}
	pipsqueak(t, w, "", "deploy", dir).want(t, 0, `deployed the application app: 2 functions, in 0s
  first   version 1  x1  0 packages
  second  version 1  x1  0 packages
removed third of the application app, not listed any more
`, "  0.0s  upload\n  0.0s  resolve first\n")
	want := map[string][]string{
		"first":  {"pipsqueak.yaml: name: first\nmemory_mb: 64\n", "handler.py: 1"},
		"second": {"pipsqueak.yaml: name: second\n", "handler.py: 2"},
	}
	if !reflect.DeepEqual(packed, want) || asked != "app" {
		t.Errorf("%s: packed %q\nwant %q", asked, packed, want)
	}
	got := pipsqueak(t, w, "", "deploy", dir, "--name", "shop", "-o", "json")
	var deployed core.Application
	if err := json.Unmarshal([]byte(got.out), &deployed); err != nil || len(deployed.Functions) != 2 || deployed.Name != "shop" {
		t.Errorf("%+v", got)
	}
	for text, words := range map[string][]string{
		manifest + "  third:\n":                                  {"directory of third", "'dir'"},
		manifest + "  third: {dir: notes.txt}\n":                 {"directory of third", "not a directory"},
		manifest + "  third: {dir: settled}\n":                   {"settled/pipsqueak.yaml", "would not be read"},
		"functions: {fails: {dir: one}, none: }\n":               {"directory of none"},
		"functions:\n  fails: {dir: one}\n  first: {dir: one}\n": {"the compiler said no"},
	} {
		dir := write(t, "app", map[string]string{"pipsqueak.yaml": text, "one/handler.py": "1", "two/handler.py": "2", "notes.txt": "", "settled/pipsqueak.yaml": ""})
		clear(packed)
		got := pipsqueak(t, w, "", "deploy", dir)
		for _, word := range words {
			if got.status != 1 || !strings.Contains(got.err, word) || len(packed["first"]) > 0 {
				t.Errorf("%q: %+v, want %q", text, got, word)
			}
		}
	}
	dir = write(t, "app", map[string]string{"pipsqueak.yaml": "name: shop\n" + manifest, "one/handler.py": "1", "two/handler.py": "2"})
	if got := pipsqueak(t, w, "", "deploy", dir); got.status != 0 || asked != "shop" {
		t.Errorf("%s: %+v", asked, got)
	}
}

// TestDeployHere deploys the current directory without being told.
func TestDeployHere(t *testing.T) {
	t.Chdir(write(t, "here", map[string]string{"handler.py": "pass"}))
	if got := pipsqueak(t, newWorld(), "", "deploy"); got.status != 0 || !strings.HasPrefix(got.out, "deployed here version 2:") {
		t.Errorf("%+v", got)
	}
}

// A deploy waits until the function is ready, unless it is not to, and reports why it is not.
func TestDeployWaits(t *testing.T) {
	dir := write(t, "f", map[string]string{"handler.py": ""})
	w := newWorld()
	var got core.DeployRequest
	w.deploy = func(r core.DeployRequest, _ func(core.Progress)) (core.Function, error) {
		got = r
		return core.Function{Name: r.Name, Version: 1, Runtime: "x1", Unready: "memory is full"}, nil
	}
	for command, told := range map[string]bool{"deploy": true, "deploy --wait ready": true, "deploy --wait deployed --force": false} {
		answer := pipsqueak(t, w, "", append(strings.Fields(command), dir)...)
		if answer.status != 0 || got.Ready != told || got.Force == told || strings.Contains(answer.err, "is not going to be a fork: memory is full") != told {
			t.Errorf("%s: %+v, asked for %+v", command, answer, got)
		}
	}
	if answer := pipsqueak(t, w, "", "deploy", "--wait", "long", dir); answer.status != 1 || !strings.Contains(answer.err, "deployed or ready") {
		t.Errorf("%+v", answer)
	}
}

// An archive that is refused at once is told so, and the packing of the rest ends.
func TestDeployRefusedEarly(t *testing.T) {
	w := newWorld()
	w.deploy = func(core.DeployRequest, func(core.Progress)) (core.Function, error) {
		return core.Function{}, core.Errorf(core.KindTooLarge, core.FaultCaller, "it is too large")
	}
	file := filepath.Join(t.TempDir(), "big.zip")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 300<<20); err != nil {
		t.Fatal(err)
	}
	pipsqueak(t, w, "", "deploy", file, "--name", "big").want(t, 1, "", "  0.0s  upload\npipsqueak: it is too large\n")
}
