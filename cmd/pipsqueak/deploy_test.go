package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// write makes files under a new directory called name.
func write(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// packed returns what is in an archive of a directory: a file's content, "dir", or "-> target".
func packed(t *testing.T, dir string) map[string]string {
	t.Helper()
	var out bytes.Buffer
	if err := pack(&out, dir, nil); err != nil {
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Uname != "" {
			t.Errorf("%+v", header)
		}
		switch header.Typeflag {
		case tar.TypeDir:
			found[header.Name] = "dir"
		case tar.TypeSymlink:
			found[header.Name] = "-> " + header.Linkname
		default:
			found[header.Name] = string(content)
		}
	}
}

func TestPack(t *testing.T) {
	dir := write(t, "f", map[string]string{
		"handler.py": "pass\n", "lib/a.py": "a", "lib/__pycache__/a.pyc": "x", ".git/config": "x", "node_modules/m/index.js": "m", ".env": "e", ".venv/bin/x": "x", "a.log": "x", ".pipsqueakignore": "*.log\n",
	})
	for name, target := range map[string]string{"link.py": "handler.py", ".venv/bin/python": "/usr/bin/python3", "later": "built/file"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{".pipsqueakignore": "*.log\n", "handler.py": "pass\n", "lib/": "dir", "lib/a.py": "a", "link.py": "-> handler.py", "later": "-> built/file",
		"node_modules/": "dir", "node_modules/m/": "dir", "node_modules/m/index.js": "m"}
	if got := packed(t, dir); !maps.Equal(got, want) {
		t.Errorf("packed %q\nwant %q", got, want)
	}
}

// TestPackLinks follows links to shared code of the same repository, and refuses all others that lead out of the directory.
func TestPackLinks(t *testing.T) {
	repository := write(t, "repository", map[string]string{
		".git/HEAD": "x", "functions/f/handler.py": "h", "shared/a.py": "a", "shared/inner/b.py": "b", "shared/.env": "x", "other/c.py": "c", "functions/f/.pipsqueakignore": "shared/inner\n",
	})
	dir := filepath.Join(repository, "functions/f")
	link := func(name, target string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(repository, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("functions/f/shared", "../../shared")
	link("functions/f/one.py", filepath.Join(repository, "other/c.py"))
	link("shared/here.py", "a.py")
	link("shared/there", "../other")
	want := map[string]string{".pipsqueakignore": "shared/inner\n", "handler.py": "h", "one.py": "c", "shared/": "dir", "shared/a.py": "a", "shared/here.py": "-> a.py", "shared/there/": "dir", "shared/there/c.py": "c"}
	if got := packed(t, dir); !maps.Equal(got, want) {
		t.Errorf("packed %q\nwant %q", got, want)
	}
	for target, says := range map[string]string{"/etc/hostname": "only links to files of the same git repository", "../../functions": "has it inside", "../../absent": "no such file", "itself": "too many links"} {
		link("functions/f/itself", target)
		err := pack(io.Discard, dir, nil)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "f/itself") {
			t.Errorf("a link to %s: %v, want %q", target, err, says)
		}
		if err := os.Remove(filepath.Join(dir, "itself")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(repository, ".git")); err != nil {
		t.Fatal(err)
	}
	if err := pack(io.Discard, dir, nil); err == nil || !strings.Contains(err.Error(), "only links to files of the same git repository") {
		t.Errorf("without a repository: %v", err)
	}
}

func TestPackRefusesASocket(t *testing.T) {
	dir := write(t, "f", map[string]string{"handler.py": ""})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := pipsqueak(t, newWorld(), "", "deploy", dir)
	if got.status != 1 || !strings.Contains(got.err, "pipe is a p") {
		t.Errorf("%+v", got)
	}
}

// archive makes a zip of one file.
func archive(t *testing.T, name, file, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	entry, err := w.Create(file)
	if err == nil {
		_, err = entry.Write([]byte(content))
	}
	if err := errors.Join(err, w.Close(), os.WriteFile(path, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

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
	if got := pipsqueak(t, newWorld(), "", "deploy", dir); got.status != 0 || !strings.Contains(got.err, "left out node_modules: a deploy makes it anew of package.json;") || len(packed(t, dir)) != 2 {
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

// unpacked returns what is in a tar.gz: "name: content".
func unpacked(archive io.Reader) (found []string, err error) {
	unzipped, err := gzip.NewReader(archive)
	if err != nil {
		return nil, err
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(files)
		if err != nil {
			return nil, err
		}
		found = append(found, header.Name+": "+string(content))
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

// A deploy waits until the function is ready, unless it is not to, and tells why it is not.
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

func TestProgress(t *testing.T) {
	tell := func(terminal bool) string {
		var out bytes.Buffer
		now := noon
		show := (&program{err: &out, terminal: terminal, now: func() time.Time { return now }}).progress()
		show.step(core.Progress{Verb: "install", Item: "numpy==1", Done: 1, Total: 4})
		show.step(core.Progress{Verb: "install", Item: "numpy==1", Done: 2, Total: 4}) // too soon
		now = now.Add(1500 * time.Millisecond)
		show.step(core.Progress{Verb: "install", Item: "numpy==1", Done: 3, Total: 4, Detail: strings.Repeat("é", 100)})
		show.step(core.Progress{Verb: "install", Item: "six==1\x1b[2J", Detail: "fetched", Bytes: 3 << 10, Took: 1234567 * time.Nanosecond, Ended: true})
		show.step(core.Progress{Verb: "install", Item: "f", Detail: "2 packages, all in the store", Ended: true})
		show.step(core.Progress{Verb: core.VerbWarn, Item: "f", Detail: strings.Repeat("long ", 20) + "end", Ended: true})
		show.step(core.Progress{Verb: "build", Item: "f"})
		now = now.Add(time.Minute)
		show.tick()
		show.clear()
		show.tick()
		return out.String()
	}
	const clear = "\r\x1b[K"
	warning := "warn f: " + strings.Repeat("long ", 20) + "end\n"
	want := clear + "install numpy==1 25 %  0.0s" + clear + "install numpy==1 75 % (" + strings.Repeat("é", 73-len("install numpy==1 75 % (")) + "  1.5s" +
		clear + "install six==1 [2J (fetched)  1.5s" + clear + "install f                                2 packages, all in the store\n" + clear + warning +
		clear + "build f  1.5s" + clear + "build f  1m01s" + clear
	if got := tell(true); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	want = "  0.0s  install numpy==1\n  1.5s  install six==1 [2J                       fetched, 3.0 KiB, 1ms\n" +
		"  1.5s  install f                                2 packages, all in the store\n  1.5s  " + warning + "  1.5s  build f\n"
	if got := tell(false); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestInvoke(t *testing.T) {
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte(`{"from":"file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(file))
	for _, test := range []struct {
		piped bool
		args  []string
		out   string
	}{
		{false, nil, "{}\n"},
		{false, []string{"-d", `[1, 2]`}, "[1, 2]\n"},
		{false, []string{`[1, 2]`}, "[1, 2]\n"},
		{false, []string{"-d", "@" + file}, `{"from":"file"}` + "\n"},
		{false, []string{"@event.json"}, `{"from":"file"}` + "\n"},
		{false, []string{"-d", "-"}, `"typed"` + "\n"},
		{false, []string{"-"}, `"typed"` + "\n"},
		{true, nil, `"typed"` + "\n"},
		{true, []string{"1"}, "1\n"},
		{true, []string{"-d", ""}, "{}\n"},
	} {
		server := serving(newWorld().service())
		runAt(t.Context(), &program{piped: test.piped}, server.URL, `"typed"`+"\n", append([]string{"invoke", "hello"}, test.args...)...).want(t, 0, test.out, "")
		server.Close()
	}
	if got := pipsqueak(t, newWorld(), "", "invoke", "hello", "event.json"); got.status != 1 || !strings.Contains(got.err, "@event.json sends what is in it") {
		t.Errorf("%+v", got)
	}
	if got := pipsqueak(t, newWorld(), "", "invoke", "hello", "1", "-d", "2"); got.status != 2 || !strings.Contains(got.err, "leave one out") {
		t.Errorf("%+v", got)
	}
}

// slow is an input that nobody types into for a while.
type slow struct{ text io.Reader }

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(1100 * time.Millisecond)
	return s.text.Read(p)
}

// TestInvokeWaits says that it waits for an event, so that nobody waits for it.
func TestInvokeWaits(t *testing.T) {
	var said bytes.Buffer
	p := program{in: slow{strings.NewReader("7")}, err: &said}
	if event, err := p.event("-"); err != nil || string(event) != "7" || !strings.Contains(said.String(), "waiting for the event") {
		t.Errorf("%q, %v, said %q", event, err, said.String())
	}
}

func TestInvokeShowsPhases(t *testing.T) {
	got := pipsqueak(t, newWorld(), "", "invoke", "hello", "-v")
	request, rest, _ := strings.Cut(got.err, "\n")
	if !strings.HasPrefix(request, "request  ") {
		t.Errorf("%q", request)
	}
	got.err = rest
	got.want(t, 0, "{}\n", `start    fork
fork     1.234 ms
handler  0.076 ms
total    1.500 ms
`)
	got = pipsqueak(t, newWorld(), "", "invoke", "hello", "-o", "json")
	var i client.Answer
	if err := json.Unmarshal([]byte(got.out), &i); err != nil || i.Start != core.StartFork || string(i.Result) != "{}" ||
		len(i.Phases) != 3 || i.Phases[0] != (client.Phase{Name: "fork", Ms: 1.234}) {
		t.Errorf("%+v", got)
	}
}

func TestInvokeFails(t *testing.T) {
	w := newWorld()
	w.invoke = func(core.Invocation) (core.Result, error) {
		e := core.Errorf(core.KindException, core.FaultHandler, "the handler of hello raised")
		e.Exception = &core.Exception{Type: "ValueError", Message: "no", Stack: []string{"handler.py:3 in handler", "  raise ValueError('no')\n"},
			Notes: []string{"look there"}, Causes: []core.Cause{{Relation: core.RelationCause, Exception: core.Exception{Type: "KeyError", Message: "'x'", Stack: []string{"handler.py:1"}}}}}
		return core.Result{}, e
	}
	pipsqueak(t, w, "", "invoke", "hello").want(t, 1, "", `pipsqueak: the handler of hello raised
  handler.py:3 in handler
    raise ValueError('no')
ValueError: no
  note: look there
  caused by KeyError: 'x'
      handler.py:1
`)
	got := pipsqueak(t, newWorld(), "", "invoke", "hello", "-d", "{")
	if got.status != 1 || !strings.Contains(got.err, "the event is not JSON") {
		t.Errorf("%+v", got)
	}
	got = pipsqueak(t, newWorld(), strings.Repeat("1", core.MaxEvent+5), "invoke", "hello", "-d", "-", "-v")
	if got.status != 1 || !strings.Contains(got.err, "the event is over") {
		t.Errorf("%+v", got)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]size{
		"1b": 1, "1048576B": 1 << 20, "512M": 512 << 20, "2G": 2 << 30, "2GiB": 2 << 30, "2gb": 2 << 30, "1.5k": 1536, " 1T ": 1 << 40,
		"": 0, "0": 0, "-1G": 0, "512": 0, "1048576": 0, "1.5": 0, "G": 0, "1X": 0, "1MM": 0, "nan": 0, "inf": 0, "1e30": 0, "1P P": 0,
	} {
		var s size
		if err := s.Set(text); (err != nil) != (want == 0) || s != want {
			t.Errorf("%q: %d, %v", text, s, err)
		}
	}
	if err := new(size).Set("512"); err == nil || !strings.Contains(err.Error(), "write 512M for megabytes") {
		t.Error(err)
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 1536 << 20: "1.5 GiB", 1 << 62: "4096.0 PiB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Hour: "1h", 90 * time.Minute: "1h30m", 5 * time.Minute: "5m", 10 * time.Second: "10s"} {
		if got := humanDuration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestServe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	var opened workerConfig
	closed := 0
	p := &program{open: func(_ context.Context, c workerConfig) (core.Service, func(context.Context) error, error) {
		opened = c
		return newWorld().service(), func(ctx context.Context) error { closed++; return ctx.Err() }, nil
	}}
	if got := runAt(t.Context(), p, "", "", "serve", "--listen", address); got.status != 1 || !strings.Contains(got.err, "cannot listen at "+address) {
		t.Errorf("on a taken address: %+v", got)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done, listening := make(chan ran, 1), make(chan string, 1)
	go func() {
		done <- runTelling(ctx, p, func(out string) { listening <- out }, "", "", "serve", "--listen", "127.0.0.1:0", "--data", "/d", "--drivers", "/r", "--memory", "1G")
	}()
	var line string
	select {
	case line = <-listening:
	case got := <-done:
		t.Fatalf("it ended: %+v", got)
	}
	served := strings.TrimSuffix(strings.TrimPrefix(line, "listening on http://"), "\n")
	runAt(t.Context(), &program{}, served, "", "invoke", "hello").want(t, 0, "{}\n", "")
	cancel()
	if got := <-done; got.status != 0 || got.out != "listening on http://"+served+"\n" || closed != 1 || opened.Data != "/d" || opened.Drivers != "/r" || opened.Memory != 1<<30 {
		t.Errorf("%+v, closed %d times, opened %+v", got, closed, opened)
	}

	p.open = func(_ context.Context, c workerConfig) (core.Service, func(context.Context) error, error) {
		c.Log.Log(t.Context(), slog.LevelInfo, "open")
		return core.Service{}, nil, errors.New("no cgroups here")
	}
	if got := runAt(t.Context(), p, "", "", "serve", "--listen", "127.0.0.1:0"); got.status != 1 || !strings.Contains(got.err, "pipsqueak: no cgroups here") {
		t.Errorf("%+v", got)
	}
}

// A worker that was killed may still have its address for a moment when the next one starts.
func TestServeWaitsForAddress(t *testing.T) {
	killed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { killed.Close() })
	listener, err := listen(t.Context(), killed.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := listen(ctx, "127.0.0.1:0:0"); err == nil {
		t.Error("an address that is none is listened at")
	}
}
