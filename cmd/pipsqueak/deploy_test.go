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
		"deployed hello version 2: python3.11, 0 packages, in 0s\n", "upload\ninstall numpy\n")
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
		"upload\ninstall numpy\npipsqueak: there is no package numpi; did you mean numpy?\n")

	got := pipsqueak(t, newWorld(), "", "deploy", filepath.Join(dir, "nothing"))
	if got.status != 1 || !strings.Contains(got.err, "no such file") {
		t.Errorf("%+v", got)
	}
}

func TestDeployApplication(t *testing.T) {
	const manifest = "functions:\n  first:\n    dir: one\n    memory_mb: 64\n  second:\n    dir: two\n"
	dir := write(t, "app", map[string]string{"pipsqueak.yaml": manifest, "one/handler.py": "1", "two/handler.py": "2", "notes.txt": ""})
	w, packed := newWorld(), map[string][]string{}
	w.deploy = func(r core.DeployRequest, progress func(core.Progress)) (core.Function, error) {
		unzipped, err := gzip.NewReader(r.Archive)
		if err != nil {
			return core.Function{}, err
		}
		for archive := tar.NewReader(unzipped); ; {
			header, err := archive.Next()
			if err != nil {
				break
			}
			content, _ := io.ReadAll(archive)
			packed[r.Name] = append(packed[r.Name], header.Name+": "+string(content))
		}
		if r.Name == "fails" {
			return core.Function{}, core.Errorf(core.KindBuild, core.FaultHandler, "the compiler said no")
		}
		return core.Function{Name: r.Name, Version: 1, Runtime: "x1"}, nil
	}
	pipsqueak(t, w, "", "deploy", dir).want(t, 0,
		"deployed first version 1: x1, 0 packages, in 0s\ndeployed second version 1: x1, 0 packages, in 0s\n", "upload\nupload\n")
	want := map[string][]string{
		"first":  {"pipsqueak.yaml: name: first\nmemory_mb: 64\n", "handler.py: 1"},
		"second": {"pipsqueak.yaml: name: second\n", "handler.py: 2"},
	}
	if !reflect.DeepEqual(packed, want) {
		t.Errorf("packed %q\nwant %q", packed, want)
	}
	got := pipsqueak(t, w, "", "deploy", dir, "-o", "json")
	var all []core.Function
	if err := json.Unmarshal([]byte(got.out), &all); err != nil || len(all) != 2 || all[1].Name != "second" {
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
	if got := pipsqueak(t, w, "", "deploy", dir, "--name", "x"); got.status != 1 || !strings.Contains(got.err, "leave --name out") {
		t.Errorf("%+v", got)
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
	pipsqueak(t, w, "", "deploy", file, "--name", "big").want(t, 1, "", "upload\npipsqueak: it is too large\n")
}

func TestProgressOnATerminal(t *testing.T) {
	var out bytes.Buffer
	now := noon
	show := &progress{out: &out, terminal: true, now: func() time.Time { return now }}
	show.step(core.Progress{Verb: "install", Item: "numpy", Done: 1, Total: 4})
	show.step(core.Progress{Verb: "install", Item: "numpy", Done: 2, Total: 4}) // too soon
	now = now.Add(time.Second)
	show.step(core.Progress{Verb: "install", Item: "numpy", Done: 3, Total: 4, Detail: strings.Repeat("é", 100)})
	show.step(core.Progress{Verb: "install", Item: "six\x1b[2J", Detail: "fetched", Bytes: 3 << 10, Took: 1234567 * time.Nanosecond, Ended: true})
	show.step(core.Progress{Verb: "build", Item: "f"})
	show.clear()
	want := "\r\x1b[Kinstall numpy 25 %\r\x1b[Kinstall numpy 75 % (" + strings.Repeat("é", 79-len("install numpy 75 % (")) +
		"\r\x1b[Kinstall six [2J                          fetched, 3.0 KiB, 1ms\n\r\x1b[Kbuild f\r\x1b[K"
	if out.String() != want {
		t.Errorf("%q\nwant %q", out.String(), want)
	}
}

func TestInvoke(t *testing.T) {
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte(`{"from":"file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		out  string
	}{
		{nil, "{}\n"},
		{[]string{"-d", `[1, 2]`}, "[1, 2]\n"},
		{[]string{"-d", "@" + file}, `{"from":"file"}` + "\n"},
		{[]string{"-d", "-"}, `"typed"` + "\n"},
	} {
		pipsqueak(t, newWorld(), `"typed"`+"\n", append([]string{"invoke", "hello"}, test.args...)...).want(t, 0, test.out, "")
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
	var i invocation
	if err := json.Unmarshal([]byte(got.out), &i); err != nil || i.Start != core.StartFork || string(i.Result) != "{}" ||
		len(i.Phases) != 3 || i.Phases[0] != (phase{"fork", 1.234}) {
		t.Errorf("%+v", got)
	}
}

func TestInvokeFails(t *testing.T) {
	w := newWorld()
	w.invoke = func(core.Invocation) (core.Result, error) {
		e := core.Errorf(core.KindException, core.FaultHandler, "the handler of hello raised")
		e.Exception = &core.Exception{Type: "ValueError", Message: "no", Stack: []string{"handler.py:3 in handler", "  raise ValueError('no')\n"}}
		return core.Result{}, e
	}
	pipsqueak(t, w, "", "invoke", "hello").want(t, 1, "", `pipsqueak: the handler of hello raised
  handler.py:3 in handler
    raise ValueError('no')
ValueError: no
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
		"1": 1, "1048576": 1 << 20, "512M": 512 << 20, "2G": 2 << 30, "2GiB": 2 << 30, "2gb": 2 << 30, "1.5k": 1536, " 1T ": 1 << 40,
		"": 0, "0": 0, "-1G": 0, "G": 0, "1X": 0, "1MM": 0, "nan": 0, "inf": 0, "1e30": 0, "1P P": 0,
	} {
		var s size
		if err := s.Set(text); (err != nil) != (want == 0) || s != want {
			t.Errorf("%q: %d, %v", text, s, err)
		}
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
		return newWorld(), func(ctx context.Context) error { closed++; return ctx.Err() }, nil
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
		return nil, nil, errors.New("no cgroups here")
	}
	if got := runAt(t.Context(), p, "", "", "serve", "--listen", "127.0.0.1:0"); got.status != 1 || !strings.Contains(got.err, "pipsqueak: no cgroups here") {
		t.Errorf("%+v", got)
	}
}
