package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does an import find the variables that the function's own code has set before, in every kind of start?

// setting is functions of one language. Each has a package that reads MODE when it is imported, and one that
// sets OWN for itself.
type setting struct {
	worker func(t *testing.T) *worker
	more   files             // of each function
	sets   map[string]string // code that sets MODE to "x" in a way that cannot be read from it, before the packages are imported, by what it does
	// with returns a function with code before its imports, and after them. Learned is whether its imports
	// cannot be read from it either.
	with    func(before, after string, learned bool) files
	demands string // code that raises unless the package has found MODE
	refuses string // code that raises if it has
}

var settings = map[string]setting{
	"python": {
		worker: func(t *testing.T) *worker {
			index := newPythonIndex(t, "")
			index.addWheel(t, "py-mode", "1.0", "", files{"py_mode.py": "import os, time\ntime.sleep(0.06)\nmode = os.environ.get('MODE')\n"})
			index.addWheel(t, "py-own", "1.0", "", files{"py_own.py": "import os\nos.environ.setdefault('OWN', 'own')\nown = os.environ['OWN']\n"})
			return startWorker(t, t.TempDir())
		},
		more: files{"requirements.txt": "py-mode\npy-own\n", "cfg.py": "import os\ndef setup(): os.environ['MODE'] = 'x'\nclass Base:\n    def __init_subclass__(cls): setup()\n"},
		sets: map[string]string{
			"nothing":   "",
			"function":  "from cfg import setup\nsetup()\n",
			"class":     "import cfg\nclass Mine(cfg.Base): pass\n",
			"decorator": "import cfg\n@lambda f: cfg.setup()\ndef nothing(): pass\n",
			"exec":      "exec(\"import os; os.environ['MO' + 'DE'] = 'x'\")\n",
		},
		demands: "if py_mode.mode is None: raise KeyError('MODE')\n",
		refuses: "if py_mode.mode is not None: raise KeyError('MODE')\n",
		with: func(before, after string, learned bool) files {
			imports := "import py_mode, py_own\n"
			if learned {
				imports = "import importlib\npy_mode, py_own = map(importlib.import_module, ['py_' + 'mode', 'py_' + 'own'])\n"
			}
			return handlerFile(before + imports + after + "def handler(event, context): return [py_mode.mode, py_own.own]\n")
		},
	},
	"node": {
		worker: func(t *testing.T) *worker {
			coretest.Requires(t, Node)
			r := newNPMIndex(t)
			r.add("mode", "1.0.0", nil, files{"index.js": "for (const end = Date.now() + 60; Date.now() < end;);\nexports.mode = process.env.MODE ?? null;"})
			r.add("own", "1.0.0", nil, files{"index.js": "process.env.OWN ??= 'own'; exports.own = process.env.OWN;"})
			return r.worker(t)
		},
		more: files{"package.json": `{"dependencies":{"mode":"1.0.0","own":"1.0.0"}}`, "cfg.js": "exports.setup = () => { process.env['MO' + 'DE'] = 'x'; };", "own.env": "MODE=x\n"},
		sets: map[string]string{
			"nothing":  "",
			"function": "function setup(file) { process.loadEnvFile(file); }\nsetup('/function/own.env');\n",
			"file":     "require('./cfg').setup();\n",
			"class":    "class Mine { static { process.env.MODE = 'x'; } }\n",
			"loads":    "process.loadEnvFile('/function/own.env');\n",
		},
		demands: "if (mode === null) throw new Error('MODE');\n",
		refuses: "if (mode !== null) throw new Error('MODE');\n",
		with: func(before, after string, learned bool) files {
			imports := "const { mode } = require('mode'), { own } = require('own');\n"
			if learned {
				imports = "let mode, own;\nif (process.env.HOME) [mode, own] = [require('mode').mode, require('own').own];\n"
			}
			return files{"index.js": before + imports + after + "exports.handler = async () => [mode, own];\n"}
		},
	},
	"ruby": {
		worker: func(t *testing.T) *worker {
			coretest.Requires(t, Runtime("ruby"))
			t.Setenv("PIPSQUEAK_GEM_SOURCE", gemIndex(t, []gem{{"mode", "1.0.0", "", files{"lib/mode.rb": "sleep 0.06\nMODE = ENV['MODE']\n"}}, {"own", "1.0.0", "", files{"lib/own.rb": "ENV['OWN'] ||= 'own'\nOWN = ENV['OWN']\n"}}}))
			return startWorker(t, t.TempDir())
		},
		more: files{"cfg.rb": "module Cfg\n  def self.setup\n    environment = ENV\n    environment['MODE'] = 'x'\n  end\nend\nclass Base\n  def self.inherited(_) = Cfg.setup\nend\n"},
		sets: map[string]string{
			"nothing":  "",
			"function": "require 'cfg'\nCfg.setup\n",
			"class":    "require_relative 'cfg'\nclass Mine < Base; end\n",
			"block":    "require 'cfg'\n1.times { Cfg.setup }\n",
			"another":  "environment = ENV\nenvironment['MO' + 'DE'] = 'x'\n",
		},
		demands: "raise KeyError, 'MODE' unless MODE\n",
		refuses: "raise KeyError, 'MODE' if MODE\n",
		with: func(before, after string, learned bool) files {
			imports := "require 'mode'\nrequire 'own'\n"
			if learned {
				imports = "%w[mode own].each { |name| require name }\n"
			}
			return rubyFile(before+imports+after+"def handler(event:, context:) = [MODE, OWN]\n").with("Gemfile", fmt.Sprintf("source %q\ngem 'mode'\ngem 'own'\n", os.Getenv("PIPSQUEAK_GEM_SOURCE")))
		},
	},
}

// TestSets deploys functions that set a variable in ways that only an import of their handler shows, beside
// one that does not and whose zygote has the packages: deployed as usual, again, by force, with a wait for
// the zygote, and by a worker that did not look.
func TestSets(t *testing.T) {
	system(t)
	for language, s := range settings {
		t.Run(language, func(t *testing.T) {
			w := s.worker(t)
			made := func(f files) files {
				maps.Copy(f, s.more)
				return f.with("pipsqueak.yaml", "reuse: false\n")
			}
			fn := func(sets string) files { return made(s.with(s.sets[sets], "", false)) }
			answers := func(name, sets string, starts int) {
				t.Helper()
				want := `["x","own"]`
				if sets == "nothing" {
					want = `[null,"own"]`
				}
				for n := range starts {
					if a := w.run(t, name, `{}`); string(a.body) != want {
						t.Errorf("%s, which sets by %s: start %d finds %v, want %s", name, sets, n, a, want)
					}
				}
			}
			w.ready(t, "nothing", fn("nothing"))
			answers("nothing", "nothing", 3)
			for sets := range s.sets {
				w.deploy(t, sets, fn(sets))
				answers(sets, sets, 2)
				w.probed(t, sets)
				answers(sets, sets, 3)
				w.deploy(t, sets, fn(sets).with("more", ""))
				answers(sets, sets, 2)
				w.apart(t, sets, sets)
			}
			// What a zygote has imported has not found it, and the trial is the first to see that.
			w.deploy(t, "demands", made(s.with(s.sets["function"], s.demands, false)))
			answers("demands", "function", 3)
			w.put(t, "demands", made(s.with(s.sets["function"], s.refuses, false))).expectError(t, core.KindImport, core.FaultHandler, http.StatusUnprocessableEntity)
			answers("demands", "function", 1)
			w.deploy(t, "learned", made(s.with(s.sets["function"], "", true)))
			answers("learned", "function", 2)
			eventually(t, patience, "what it imports has been learned", func() bool { return len(w.function(t, "learned").Loaded) > 0 })
			answers("learned", "function", 4)
			if fn := w.function(t, "learned"); len(fn.Loaded) != 1 || !strings.Contains(fn.Loaded[0], "own") {
				t.Errorf("ahead are %v", fn.Loaded)
			}
			w.ready(t, "waits", fn("function"))
			answers("waits", "function", 3)
			w.apart(t, "waits", "function")
			w.force(t, "forced", fn("function"))
			answers("forced", "function", 3)
			eventually(t, patience, "it is known what the forced one sets", func() bool { return strings.Contains(fmt.Sprint(w.function(t, "forced").Apart), "MODE") })
			answers("forced", "function", 3)
			w.apart(t, "forced", "function")

			// The records as they were when nobody looked. What was started then ends when it is known.
			w.deploy(t, "keeps", fn("function").with("pipsqueak.yaml", ""))
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"waits", "keeps"} {
				unwatch(t, filepath.Join(w.data, "functions", name+"@1.json"))
			}
			w = startWorker(t, w.data)
			eventually(t, patience, "it is known what it sets", func() bool {
				a := w.run(t, "keeps", `{}`)
				return len(w.function(t, "waits").Apart) > 0 && len(w.function(t, "keeps").Apart) > 0 && string(a.body) == `["x","own"]`
			})
			answers("keeps", "function", 3)
			answers("waits", "function", 3)
			w.apart(t, "waits", "function")
		})
	}
}

// unwatch makes the record of a function one that an older worker has left.
func unwatch(t *testing.T, path string) {
	t.Helper()
	var record map[string]any
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	for _, key := range []string{"watched", "sets", "changes", "apart", "aside"} {
		delete(record, key)
	}
	if err == nil {
		text, err = json.Marshal(record)
	}
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// apart checks that the module that reads the variable is apart, and no other.
func (w *worker) apart(t *testing.T, name, sets string) core.Function {
	t.Helper()
	fn := w.probed(t, name)
	if told := fmt.Sprint(fn.Apart); len(fn.Apart) > 1 || strings.Contains(told, "reads MODE when it is imported, which is set for this function") != (sets != "nothing") {
		t.Errorf("%s, which sets by %s: apart are %v", name, sets, fn.Apart)
	}
	return fn
}
