package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Can code that does not work take the place of code that does?

// broken are functions whose handler cannot be imported, for each language, and what a person who deploys
// them has to be told: above all where.
var broken = []struct {
	language string
	needs    []coretest.Need
	works    files // answers 1
	cases    map[string]brokenCode
}{
	{"python", nil, handlerFile("def handler(event, context):\n    return 1\n"), map[string]brokenCode{
		"syntax":            {handlerFile("# a comment\ndef handler(event, context:\n    return 2\n"), []string{"SyntaxError", "handler.py, line 2"}},
		"syntax in another": {handlerFile("import helper\n").with("helper.py", "\nx = = 1\n"), []string{"SyntaxError", "helper.py, line 2"}},
		"no handler":        {handlerFile("def handle(event, context):\n    return 2\n"), []string{"handler", "handler.py"}},
		"no function":       {handlerFile("handler = 2\n"), []string{"handler"}},
		"not listed":        {handlerFile("\nimport nowhere_to_be_found\n"), []string{"nowhere_to_be_found", "handler.py:2"}},
		"raises":            {handlerFile("print('before it fell')\n\n\ndef fall():\n    raise LookupError('no key')\n\n\nfall()\n"), []string{"LookupError: no key", "handler.py:5", "before it fell"}},
		"exits":             {handlerFile("import os\nos._exit(3)\n"), []string{"code 3"}},
		"sees its own":      {handlerFile("import os\nraise Exception(os.environ['COLOUR'])\n").with("pipsqueak.yaml", "env:\n  COLOUR: mouse grey\n"), []string{"mouse grey"}},
		"network":           {handlerFile("import socket\nsocket.create_connection(('192.0.2.1', 80), 5)\n"), []string{"unreachable", "handler.py:2", "--force"}},
		"memory":            {handlerFile("held = b'x' * (200 << 20)\n").with("pipsqueak.yaml", "memory_mb: 64\n"), []string{"memory limit", "64 MiB"}},
		"hangs":             {handlerFile("import time\ntime.sleep(600)\n").with("pipsqueak.yaml", "timeout_ms: 500\n"), []string{"longer than 10s"}},
	}},
	{"node", []coretest.Need{Node}, files{"index.js": "exports.handler = async () => 1;\n"}, map[string]brokenCode{
		"syntax":         {files{"index.js": "// a comment\nconst x = ;\n"}, []string{"SyntaxError", "index.js:2"}},
		"syntax esm":     {files{"index.mjs": "// a comment\nconst x = ;\n"}, []string{"SyntaxError", "index.mjs:2"}},
		"no handler":     {files{"index.js": "exports.handle = async () => 2;\n"}, []string{`"handler"`, "index"}},
		"not listed":     {files{"index.js": "\nrequire('nowhere-to-be-found');\n"}, []string{"nowhere-to-be-found", "index.js:2"}},
		"not listed esm": {files{"index.mjs": "\nimport 'nowhere-to-be-found';\n"}, []string{"nowhere-to-be-found", "index.mjs"}},
		"raises":         {files{"index.js": "console.log('before it fell');\nnull.x;\n"}, []string{"TypeError", "index.js:2", "before it fell"}},
	}},
	{"ruby", []coretest.Need{Runtime("ruby")}, files{"handler.rb": "def handler(event:, context:) = 1\n"}, map[string]brokenCode{
		"syntax":     {files{"handler.rb": "# a comment\ndef handler(event:, context:)\n  1 +\nend\n"}, []string{"SyntaxError", "handler.rb:4"}},
		"no handler": {files{"handler.rb": "def handle(event:, context:) = 2\n"}, []string{"handler", "handler.rb"}},
		"not listed": {files{"handler.rb": "\nrequire 'nowhere_to_be_found'\n"}, []string{"nowhere_to_be_found", "handler.rb:2"}},
		"raises":     {files{"handler.rb": "puts 'before it fell'\nraise KeyError, 'no key'\n"}, []string{"KeyError: no key", "handler.rb:2", "before it fell"}},
	}},
	{"native", []coretest.Need{Runtime("c++")}, files{"handler.c": echoC}, map[string]brokenCode{
		"crashes":         {files{"handler.cc": "#include <pipsqueak.hpp>\n" + strings.TrimPrefix(echoC, "#include <pipsqueak.h>\n") + "int *volatile nothing = nullptr; int n = *nothing;\n"}, []string{"SIGSEGV"}},
		"bootstrap exits": {files{"bootstrap*": "#!/bin/sh\necho before it fell\nexit 3\n"}, []string{"code 3", "before it fell"}},
	}},
}

type brokenCode struct {
	files files
	says  []string // in the message or the exception
}

// TestBrokenCodeReplacesNothing deploys broken code over code that works, in each language, while that is
// sent events.
func TestBrokenCodeReplacesNothing(t *testing.T) {
	system(t)
	for _, l := range broken {
		t.Run(l.language, func(t *testing.T) {
			coretest.Requires(t, l.needs...)
			w := shared(t)
			name := "broken-" + l.language
			before := w.deploy(t, name, l.works)
			one := func() {
				t.Helper()
				if got := result[int](t, w, name, `1`); got != 1 {
					t.Errorf("the code before answers %d", got)
				}
			}
			one()
			for what, c := range l.cases {
				t.Run(what, func(t *testing.T) {
					f := w.put(t, name, c.files).expectError(t, core.KindImport, core.FaultHandler, http.StatusUnprocessableEntity)
					told := f.Message
					if f.Exception != nil {
						told += "\n" + strings.Join(append(f.Exception.Stack, f.Exception.Type+": "+f.Exception.Message), "\n")
					}
					for _, says := range c.says {
						if !strings.Contains(told, says) {
							t.Errorf("it does not say %q: %s", says, told)
						}
					}
					if now := w.function(t, name); now.Version != before.Version || now.Code != before.Code {
						t.Errorf("version %d is deployed, not %d", now.Version, before.Version)
					}
					one()
				})
			}
			for _, line := range w.logLines(t, name, "") {
				if line.Stream != "worker" && strings.Contains(line.Text, "before it fell") { // the worker says why a deploy failed
					t.Errorf("the log of the code before has what the broken one printed: %+v", line)
				}
			}
		})
	}
}

// TestForce deploys a function that cannot be imported all the same, and one that is broken where there is no
// function of its name.
func TestForce(t *testing.T) {
	system(t)
	w := shared(t)
	f := handlerFile("raise LookupError('never')\n")
	w.put(t, "forced", f).expectError(t, core.KindImport, core.FaultHandler, http.StatusUnprocessableEntity)
	w.run(t, "forced", `{}`).expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
	w.force(t, "forced", f)
	w.run(t, "forced", `{}`).expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
	if got := w.deploy(t, "forced", handlerFile(echo)); got.Version != 2 {
		t.Errorf("the versions in between have been counted: %d", got.Version)
	}
	dir := t.TempDir()
	f.write(t, dir)
	if _, errs, err := w.command(t, "", "deploy", dir, "--name", "forced"); err == nil || !strings.Contains(errs, "handler.py:1") || !strings.Contains(errs, "--force") {
		t.Errorf("deploy: %v %s", err, errs)
	}
	if _, errs, err := w.command(t, "", "deploy", dir, "--name", "forced", "--force"); err != nil {
		t.Errorf("deploy --force: %v %s", err, errs)
	}
}

// TestTrialLeavesNothing: no process of a trial is left, whether it succeeds or not, and what it has imported
// besides is known from it.
func TestTrialLeavesNothing(t *testing.T) {
	system(t)
	w := shared(t)
	w.deploy(t, "on-trial", handlerFile(echo))
	w.put(t, "on-trial", handlerFile("raise Exception\n"))
	if left := w.leaves(t, "on-trial"); len(left) > 0 {
		t.Errorf("%v", left)
	}
	learns := "import importlib\nsix = importlib.import_module('si' + 'x')\ndef handler(event, context):\n    return six.__version__\n"
	w.deploy(t, "on-trial", handlerFile(learns).with("requirements.txt", "six==1.17.0\n"))
	eventually(t, patience, "the worker knows what the trial imported", func() bool { return slices.Equal(w.function(t, "on-trial").Loaded, []string{"six"}) })
	if n := len(w.leaves(t, "on-trial")); n > 0 {
		t.Errorf("%d instances before the first event", n)
	}
}
