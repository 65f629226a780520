package integration

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Is a function's first event a fork?

// startedAs invokes a function and checks how it started.
func startedAs(t testing.TB, w *worker, name string, want core.Start) {
	t.Helper()
	if a := w.run(t, name, `1`); a.status != http.StatusOK || a.header.Get("Pipsqueak-Start") != string(want) {
		t.Errorf("%s: %s, want a %s: %v, %s", name, a.header.Get("Pipsqueak-Start"), want, a, w.function(t, name).Unready)
	}
}

// readied waits until the next start of each function is a fork, which no event makes it.
func readied(t testing.TB, w *worker, names ...string) {
	t.Helper()
	for _, name := range names {
		eventually(t, patience, name+" is ready to fork", func() bool { return w.function(t, name).Unready == "" })
	}
}

// ready deploys a function over HTTP, and waits until it is ready.
func (w *worker) ready(t testing.TB, name string, f files) core.Function {
	t.Helper()
	a := w.ask(t, http.MethodPut, "/v1/functions/"+name+"?wait=ready", f.archive(t))
	if a.status/100 != 2 {
		t.Fatalf("deploy %s: %v", name, a)
	}
	return decode[core.Function](t, a)
}

// firsts are functions with packages and without, in each language. One imports what only its own start
// shows.
func firsts(t *testing.T) map[string]files {
	coretest.Requires(t, Node, Runtime("ruby"), Runtime("c++"))
	index := newPythonIndex(t, "")
	index.addWheel(t, "pyslow", "1.0", "", files{"pyslow.py": "import time\nuntil = time.monotonic() + 0.2\nwhile time.monotonic() < until:\n    pass\n"})
	index.addWheel(t, "pylazy", "1.0", "", files{"pylazy.py": ""})
	python := "import pyslow, importlib\nimportlib.import_module('py' + 'lazy')\n\ndef handler(event, context):\n    return event\n"
	return map[string]files{
		"first-bare":     handlerFile(echo),
		"first-packages": handlerFile(python).with("requirements.txt", "pyslow\npylazy\n"),
		"first-node":     {"index.js": "exports.handler = async (event) => event;\n"},
		"first-ruby":     {"handler.rb": "def handler(event:, context:) = event\n"},
		"first-native":   {"handler.c": echoC},
	}
}

// TestFirstEventIsAFork deploys functions in each way, deploys them again, and starts the worker again after
// a stop and after kill -9: each time the first event is a fork.
func TestFirstEventIsAFork(t *testing.T) {
	system(t)
	all := firsts(t)
	data := t.TempDir()
	w := startWorker(t, data)
	var names []string
	for name, f := range all {
		names = append(names, name)
		dir := filepath.Join(t.TempDir(), name)
		f.write(t, dir)
		if out, errs, err := w.command(t, "", "deploy", dir); err != nil || strings.Contains(errs, "not going to be a fork") || !strings.Contains(errs, "preload "+name) {
			t.Fatalf("deploy %s: %s%s", name, out, errs)
		}
		startedAs(t, w, name, core.StartFork)
		if fn := w.ready(t, name, f.with("more", "")); fn.Version != 2 || fn.Unready != "" {
			t.Errorf("deployed again: %+v", fn)
		}
		startedAs(t, w, name, core.StartFork)
	}
	// Who does not wait for it gets it soon.
	w.deploy(t, "first-later", all["first-packages"].with("more", "later"))
	names = append(names, "first-later")
	readied(t, w, "first-later")
	startedAs(t, w, "first-later", core.StartFork)
	// What a start has shown of the imports costs no cold one.
	eventually(t, patience, "the worker has learned what the code imports", func() bool { return len(w.function(t, "first-packages").Loaded) > 0 })
	out, _, err := w.command(t, "", "describe", "first-packages")
	if err != nil || !strings.Contains(out, "ready         to fork\n") {
		t.Errorf("describe: %v\n%s", err, out)
	}
	w.ready(t, "first-packages", all["first-packages"].with("more", "again"))
	startedAs(t, w, "first-packages", core.StartFork)
	for _, end := range []string{"stop", "kill -9"} {
		if end == "stop" {
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
		} else {
			w.kill()
		}
		w = startWorker(t, data)
		if a := w.run(t, "first-bare", `1`); a.status != http.StatusOK { // at once, whatever is being made
			t.Errorf("%v", a)
		}
		readied(t, w, names...)
		for _, name := range names {
			if name != "first-bare" {
				startedAs(t, w, name, core.StartFork)
			}
		}
	}
}

// TestReadyWithinMemory deploys functions with memory for the zygotes of a third of them. Each deploy gets
// its zygote. Afterwards, and after a restart, those have one that are worth most, and the others report why
// not; memory stays within its budget.
func TestReadyWithinMemory(t *testing.T) {
	system(t)
	readyWithinMemory(t, 18, 6)
}

// readyWithinMemory does that with n functions, and returns how many are ready after the deploys and after
// the restart.
func readyWithinMemory(t testing.TB, n, third int) (readies [2]int) {
	budget := int64(third*25+40) << 20 // the zygotes, and the roots and instances besides
	index := newPythonIndex(t, "")
	data := t.TempDir()
	w := startWorker(t, data, "--memory", fmt.Sprintf("%dM", budget>>20))
	name := func(i int) string { return fmt.Sprint("many-", i) }
	for i := range n {
		module := fmt.Sprint("pyheld", i)
		index.addWheel(t, module, "1.0", "", files{module + ".py": "import time\nheld = bytearray(b'x') * (20 << 20)\ntime.sleep(0.1)\n"})
		f := handlerFile("import "+module+"\ndef handler(event, context):\n    return len("+module+".held)\n").with("requirements.txt", module+"\n").with("pipsqueak.yaml", "reuse: false\n")
		if fn := w.ready(t, name(i), f); fn.Unready != "" {
			t.Errorf("%s is not ready: %s", fn.Name, fn.Unready)
		}
		startedAs(t, w, name(i), core.StartFork)
	}
	for range 8 {
		for i := range third - 2 {
			w.run(t, name(i), `1`)
		}
	}
	check := func(when string) (ready int) {
		t.Helper()
		for i := range third - 2 {
			readied(t, w, name(i))
		}
		time.Sleep(3 * time.Second) // until the planner has nothing more to make, and what it has made was measured
		for i := range n {
			switch fn := w.function(t, name(i)); {
			case fn.Unready == "":
				ready++
			case i < third-2 || !strings.Contains(fn.Unready, "worth more"):
				t.Errorf("%s, %s: %q", when, fn.Name, fn.Unready)
			}
		}
		if s := w.snapshot(t); ready > n/2 || s.Memory > budget*11/10 {
			t.Errorf("%s, %d are ready, with %d MiB of %d", when, ready, s.Memory>>20, s.Budget>>20)
		}
		for i := range third - 2 {
			startedAs(t, w, name(i), core.StartFork)
		}
		return ready
	}
	readies[0] = check("after the deploys")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, data, "--memory", fmt.Sprintf("%dM", budget>>20))
	readies[1] = check("after a restart")
	return readies
}
