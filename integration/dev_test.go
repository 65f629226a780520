package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Can one write a function with what the command line offers for that?

// TestInit writes a function in each language, runs its test, and an event of it without a server.
func TestInit(t *testing.T) {
	system(t)
	coretest.Requires(t, Runtime("node"), Runtime("ruby"), Runtime("c++"))
	home := t.TempDir()
	for language, test := range map[string]string{
		"python": "python3 -m unittest discover tests", "node": "node --test tests/", "ruby": "ruby tests/test_handler.rb", "c": "make -C tests", "c++": "make -C tests",
	} {
		t.Run(language, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			stdout, stderr, err := by(t, nil, "init", language, dir)
			if err != nil || !strings.Contains(stdout, test) {
				t.Fatalf("%v\n%s%s", err, stdout, stderr)
			}
			words := strings.Fields(test)
			run := exec.Command(words[0], words[1:]...)
			run.Dir = dir
			if said, err := run.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", test, err, said)
			}
			event := "@" + filepath.Join(dir, "event.json")
			stdout, stderr, err = by(t, []string{"HOME=" + home}, "invoke", "--local", dir, "-d", event)
			if err != nil || !strings.Contains(stdout, "world") {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
			if _, stderr, err := by(t, nil, "init", language, dir); err == nil || !strings.Contains(stderr, "exists; name another directory") {
				t.Errorf("a second time: %v, %s", err, stderr)
			}
		})
	}
	if _, stderr, err := by(t, nil, "init", "cobol", filepath.Join(home, "x")); err == nil || !strings.Contains(stderr, `"cobol", only in python, node, ruby, c, c++`) {
		t.Errorf("%v, %s", err, stderr)
	}
	for _, name := range []string{"my function", "x_", "grüße"} {
		dir := filepath.Join(home, name)
		if _, stderr, err := by(t, nil, "init", "python", dir); err == nil || !strings.Contains(stderr, "cannot be the name of a function") {
			t.Errorf("%s: %v, %s", name, err, stderr)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s was made", dir)
		}
	}
}

// TestInvokeLocal has what a function prints and raises, and leaves nothing that runs.
func TestInvokeLocal(t *testing.T) {
	system(t)
	home, dir := t.TempDir(), filepath.Join(t.TempDir(), "local")
	writeFile(t, filepath.Join(dir, "handler.py"), "def handler(event, context):\n    print('it prints', event)\n    return 1 / event\n")
	local := func(event string) (stdout, stderr string, err error) {
		return by(t, []string{"HOME=" + home}, "invoke", "--local", dir, event)
	}
	if stdout, stderr, err := local("2"); err != nil || stdout != "0.5\n" || !strings.Contains(stderr, "it prints 2\n") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	if stdout, stderr, err := local("0"); err == nil || stdout != "" || !strings.Contains(stderr, "it prints 0\n") || !strings.Contains(stderr, "ZeroDivisionError") || !strings.Contains(stderr, "handler.py:3") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	if _, stderr, err := local("{"); err == nil || !strings.Contains(stderr, "the event is no JSON value") {
		t.Errorf("%v, %s", err, stderr)
	}
	groups, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range groups {
		if text, _ := os.ReadFile(path); strings.Contains(string(text), home) {
			t.Errorf("%s is left: %q", path, text)
		}
	}
	writeFile(t, filepath.Join(dir, "pipsqueak.yaml"), "secrets: [db-url]\n")
	if _, stderr, err := local("1"); err == nil || !strings.Contains(stderr, "uses the secret db-url, and --local has none: 'pipsqueak dev "+dir+"'") {
		t.Errorf("with a secret: %v, %s", err, stderr)
	}
}

// development is a running `pipsqueak dev`.
type development struct {
	dir string
	cmd *exec.Cmd
	out *tail
}

// dev starts `pipsqueak dev` on a directory.
func (w *worker) dev(t testing.TB, dir string) development {
	t.Helper()
	d := development{dir, exec.Command(filepath.Join(programs(t), "pipsqueak"), "dev", dir, "--server", w.url), &tail{}}
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.cmd.Process.Kill(); _ = d.cmd.Wait() })
	return d
}

func (d development) waitFor(t testing.TB, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(d.out.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("dev does not say %q:\n%s", text, d.out)
		}
	}
}

func (d development) write(t testing.TB, name, text string) {
	t.Helper()
	writeFile(t, filepath.Join(d.dir, name), text)
}

func TestDev(t *testing.T) {
	system(t)
	w := shared(t)
	dir := filepath.Join(t.TempDir(), "developed")
	writeFile(t, filepath.Join(dir, "handler.py"), "def handler(event, context):\n    print('hears', event)\n    return ['one', event]\n")
	writeFile(t, filepath.Join(dir, "event.json"), `"first"`)
	writeFile(t, filepath.Join(dir, "events/more.json"), `"second"`)
	d := w.dev(t, dir)
	d.waitFor(t, `event.json: ["one","first"]`)
	d.waitFor(t, `more.json: ["one","second"]`)
	d.waitFor(t, "hears first")
	d.write(t, "handler.py", "import helper\ndef handler(event, context):\n    return helper.answer(event)\n")
	d.waitFor(t, "No module named 'helper'")
	d.write(t, "helper.py", "def answer(event):\n    return ['two', event]\n")
	d.waitFor(t, `event.json: ["two","first"]`)
	d.write(t, "helper/__init__.py", "def answer(event):\n    raise ValueError(event)\n") // comes before the file
	d.waitFor(t, "ValueError: second")
	d.write(t, "helper/__init__.py", "from helper.below import answer\n")
	d.write(t, "helper/below.py", "def answer(event):\n    return ['three', event]\n")
	d.waitFor(t, `event.json: ["three","first"]`)
	before := strings.Count(d.out.String(), "developed version")
	for _, name := range []string{".git/HEAD", "__pycache__/x.pyc", "handler.py~"} {
		d.write(t, name, "x")
	}
	d.write(t, "event.json", `"last"`)
	d.waitFor(t, `event.json: ["three","last"]`)
	if after := strings.Count(d.out.String(), "developed version"); after > before+1 {
		t.Errorf("files that are no part of the function deploy it: %d and then %d times\n%s", before, after, d.out)
	}
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v\n%s", err, d.out)
	}
	if got := result[[]string](t, w, "developed", `"x"`); got[0] != "three" {
		t.Errorf("the function that stays answers %v", got)
	}
}

// BenchmarkDev is how long it takes from a change of a file until the function that is deployed has answered
// a saved event.
func BenchmarkDev(b *testing.B) {
	system(b)
	w := shared(b)
	for language, source := range map[string][2]string{
		"python": {"handler.py", "def handler(event, context):\n    return 'answer %d'\n"},
		"node":   {"index.js", "exports.handler = async () => 'answer %d';\n"},
		"ruby":   {"handler.rb", "def handler(event:, context:) = 'answer %d'\n"},
	} {
		b.Run(language, func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "dev-"+language)
			writeFile(b, filepath.Join(dir, source[0]), fmt.Sprintf(source[1], -1))
			writeFile(b, filepath.Join(dir, "event.json"), "{}")
			d := w.dev(b, dir)
			d.waitFor(b, `event.json: "answer -1"`)
			n := 0
			for b.Loop() {
				d.write(b, source[0], fmt.Sprintf(source[1], n))
				d.waitFor(b, fmt.Sprintf(`event.json: "answer %d"`, n))
				n++
			}
		})
	}
}
