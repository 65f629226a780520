package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestPrepared has handlers that prepare for imports in many ways, and many that do not: what they import
// afterwards is late. A process that has imported packages ahead knows less: there it is the import's own
// name.
func TestPrepared(t *testing.T) {
	const handler = "\ndef handler(event, context): return 1\n"
	h := newHouse(t, map[string]string{
		"cfg.py":       "import logging\ndef setup(): logging.basicConfig(level=logging.INFO)\ndef quiet(): return {}\n",
		"calls.py":     "import below\ndef setup(): below.configure()\n",
		"lib/extra.py": "x = 1\n",
	})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{
		"below/__init__.py": "options, path = {}, []\nclass Base: pass\nclass Tool: pass\ndef configure(): options['x'] = 1\ndef mark(f): return f\ndef lazy(): import other\n",
		"below/part.py":     "from . import options\n",
		"above.py":          "import below\n",
		"other.py":          "import logging\nlog = logging.getLogger(__name__)\nimport other_needs\n",
		"other_needs.py":    "",
		"prepares.py":       "import logging, warnings, sys\nlogging.basicConfig(level=10)\nwarnings.simplefilter('error')\nsys.setrecursionlimit(4000)\ndef patch():\n    import socket\n    socket.socket = int\n",
	})
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, theFiles, "below", "below.part", "above", "other", "sqlite3", "email")
	if err != nil {
		t.Fatal(err)
	}
	const other = "; import other"
	for code, want := range map[string]string{
		"import other":             "",
		"import os, sys, json, re": "",
		// what ordinary files do before
		"import logging\nlogger = logging.getLogger(__name__); logger.setLevel(logging.INFO)" + other:                                                                                  "",
		"import logging\nlogger = logging.getLogger()" + other:                                                                                                                         "",
		"import os, re, json\nA = os.environ.get('A'); R = re.compile('a+'); J = json.loads('{}')\nclass Own(dict): pass\ndef own(): pass\nwith open(__file__) as f: f.read()" + other: "",
		"import datetime, decimal, uuid, random, dataclasses, enum, typing\nNOW = datetime.datetime.strptime('2020', '%Y'); D = decimal.Decimal('1') / 3; U = uuid.uuid4(); random.random()\n@dataclasses.dataclass\nclass B:\n    x: typing.List[int]\nclass C(enum.Enum):\n    X = 1\n" + "import other": "",
		"import sys, os\nsys.path.append(os.path.join(os.path.dirname(__file__), 'lib'))\nimport extra" + other: "",
		"import cfg\ncfg.quiet()" + other: "",
		"try:\n    import nowhere\nexcept ImportError:\n    import email.message, sqlite3\nimport other":                "",
		"import concurrent.futures\npool = concurrent.futures.ThreadPoolExecutor(1); pool.submit(int).result()" + other: "",
		"import other\nimport logging\nlogging.basicConfig(level=10)":                                                   "",
		"import prepares" + other:                                                         "",
		"import other\nimport prepares\nprepares.patch()":                                 "",
		"import other\nimport logging\nlogging.basicConfig(level=10)\nimport other_needs": "",
		"import logging\nlogging.basicConfig(level=10)\ndef f(): import other":            "",
		"import below, logging\nlogging.basicConfig(level=10)\nbelow.lazy()":              "",
		// the interpreter's state
		"import logging\nlogging.basicConfig(level=10)" + other:                                                 "=other =other_needs",
		"import other_needs, logging\nlogging.basicConfig(level=10)" + other:                                    "=other",
		"import logging\nlogging.basicConfig(level=10)\ntry: import other\nfinally: pass\nimport above":         "=above =below =other =other_needs",
		"import cfg\ncfg.setup()" + other:                                                                       "=other =other_needs",
		"import logging\nlogging.setLoggerClass(type('L', (logging.Logger,), {}))" + other:                      "=other =other_needs",
		"import logging.config\nlogging.config.dictConfig({'version': 1})" + other:                              "=other =other_needs",
		"import logging\nlogging.getLogger('other').setLevel(10)" + other:                                       "=other =other_needs",
		"import logging\nlogging.addLevelName(5, 'TRACE')" + other:                                              "=other =other_needs",
		"import warnings\nwarnings.filterwarnings('ignore')" + other:                                            "=other =other_needs",
		"import sys\nsys.setrecursionlimit(5000)" + other:                                                       "=other =other_needs",
		"import sys\nsetattr(sys, 'frozen', True)" + other:                                                      "=other =other_needs",
		"import sys\nsys.meta_path.insert(0, type('F', (), {'find_spec': lambda *_: None})())" + other:          "=other =other_needs",
		"import sys\nsys.modules['fake'] = sys" + other:                                                         "=other =other_needs",
		"import socket\nsocket.setdefaulttimeout(5)" + other:                                                    "=other =other_needs",
		"import decimal\ndecimal.getcontext().prec = 50" + other:                                                "=other =other_needs",
		"import locale\nlocale.setlocale(locale.LC_ALL, 'C')" + other:                                           "=other =other_needs",
		"import multiprocessing\nmultiprocessing.set_start_method('spawn')" + other:                             "=other =other_needs",
		"import builtins\nbuiltins.own = 1" + other:                                                             "=other =other_needs",
		"import json\njson.JSONEncoder.default = lambda self, o: str(o)" + other:                                "=other =other_needs",
		"import codecs\ncodecs.register(lambda name: None)" + other:                                             "=other =other_needs",
		"import mimetypes\nmimetypes.add_type('a/b', '.c')" + other:                                             "=other =other_needs",
		"import random\nrandom.seed(42)" + other:                                                                "=other =other_needs",
		"import gc\ngc.disable()" + other:                                                                       "=other =other_needs",
		"import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)" + other:                                  "=other =other_needs",
		"import prepares, socket\nprepares.patch()" + other:                                                     "=other =other_needs",
		"import importlib, logging\nlogging.basicConfig(level=10)\nimportlib.import_module('other')":            "=other =other_needs",
		"import logging\nlogging.basicConfig(level=10)\nimport sqlite3":                                         "=sqlite3",
		"import logging\nclass A:\n    def load(self): import other\nlogging.basicConfig(level=10)\nA().load()": "=other =other_needs",
		"import logging\nlogging.basicConfig(level=10)\nexec('import other')":                                   "=other =other_needs",
		// calls into packages
		"import below\nbelow.configure()\nimport above":                                     "=above",
		"import below\nbelow.configure()" + other:                                           "",
		"import below, above\nbelow.configure()":                                            "",
		"from below import configure as c\nc()\nimport above":                               "=above",
		"import below\nbelow.options['x'] = 2\nimport above":                                "=above",
		"import below\nbelow.flag = True\nimport above":                                     "=above",
		"import below\nbelow.path.append('x')\nimport above":                                "=above",
		"import below\nclass A(below.Base): pass\nimport above":                             "=above",
		"import below\n@below.mark\ndef f(): pass\nimport above":                            "=above",
		"import below\nbelow.configure()\nimport below.part":                                "=below",
		"import calls\ncalls.setup()\nimport above":                                         "=above",
		"import below\ndef own(): below.configure()\nimport above":                          "",
		"import below\ndef own(): below.configure()\nown()\nimport above":                   "=above",
		"import below\nif __name__ == '__main__': below.configure()\nimport above":          "",
		"import below\nbelow.configure()\nimport other\nimport os\nfrom above import below": "=above",
	} {
		drivertest.Write(t, h.Code, map[string]string{"handler.py": code + handler})
		if got := strings.Join(h.Sets(t, root, theFiles), " "); got != want {
			t.Errorf("cold, %q: late are %q, want %q", code, got, want)
		}
		got, unsure := h.Sets(t, zygote, theFiles), strings.Contains(code, "below.configure()") || strings.Contains(code, "other_needs")
		if want != "" && len(got) == 0 || want == "" && len(got) > 0 && !unsure || slices.Contains(got, core.AllVariables) {
			t.Errorf("forked, %q: late are %q, want %q", code, got, want)
		}
	}
}
