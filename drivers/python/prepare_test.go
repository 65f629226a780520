package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestSets looks at what a function's files are found to set before they import packages: variables, and ALL
// for what else decides about imports.
func TestSets(t *testing.T) {
	const then = "import numpy\n"
	for text, want := range map[string]string{
		"import os\nos.environ['A'] = '1'\n" + then:                                                            "A",
		"import os\n" + then + "os.environ['A'] = '1'\n":                                                       "",
		"import os\nos.environ['A'] = '1'\nimport json\n":                                                      "",
		"import os as o\no.environ.setdefault('A', '1'); o.putenv('B', '1'); o.environ.pop('C')\n" + then:      "A B C",
		"from os import environ, environb\nenviron.update({'A': 1, 'B': 2}, C=3)\ndel environb[b'D']\n" + then: "A B C D",
		"import os\nenv = os.environ\nenv['A'] = env['B'] = '1'\nos.environ |= {'C': '1'}\n" + then:            "A B C",
		"import os\nfor name in ('A', 'B'):\n    os.environ[name] = '1'\n" + then:                              "*",
		"import os\nos.environ.update(**more)\n" + then:                                                        "*",
		"import os\nif os.environ.get('X') == '1':\n    os.environ['A'] = '1'\n" + then:                        "A",
		"import os\ndef set():\n    os.environ['A'] = '1'\nset()\n" + then:                                     "A",
		"import os\ndef set():\n    os.environ['A'] = '1'\n" + then:                                            "",
		"import os\nif __name__ == '__main__':\n    os.environ['A'] = '1'\n" + then:                            "",
		"import os\ntry:\n    os.environ['A'] = '1'\nfinally:\n    import numpy\n":                             "A",
		"import os\nwith x:\n    os.environ['A'] = '1'\nfrom numpy import linalg\n":                            "A",
		"import own\n" + then:              "OWN",
		"import late\n":                    "OWN",
		then + "import own\n":              "",
		"from inside import deep\n" + then: "OWN",
		"from gevent import monkey\nmonkey.patch_all()\n" + then:                                         "*",
		"from gevent.monkey import patch_all\n" + then + "patch_all()\n":                                 "",
		"import dotenv\ndotenv.load_dotenv()\n" + then:                                                   "*",
		"import sys\nsys.path.insert(0, 'lib')\n" + then:                                                 "*",
		"import sys\nsys.path.append('lib')\n" + then:                                                    "",
		"import sys\nsys.path = ['lib'] + sys.path\n" + then:                                             "*",
		"import sys, pysqlite3\nsys.modules['sqlite3'] = sys.modules.pop('pysqlite3')\n" + then:          "*",
		"import sys\nsys.argv += ['x']\n" + then:                                                         "",
		"import socket\nsocket.socket = int\n" + then:                                                    "*",
		"import numpy\nnumpy.x = 1\nimport pandas\n":                                                     "",
		"import logging\nlogger = logging.getLogger()\nlogger.level = 3\nlogging.basicConfig()\n" + then: "",
		"this is no Python\n": "",
		"import os\nos.environ['A'] = '1'" + strings.Repeat("+x", 3000) + "\n" + then: "*",
	} {
		dir := t.TempDir()
		drivertest.Write(t, dir, map[string]string{"handler.py": text, "own.py": "import os\nos.environ['OWN'] = '1'\n", "late.py": "import own\nfrom numpy import linalg\n",
			"inside/__init__.py": "", "inside/deep.py": "from . import deeper\n", "inside/deeper.py": "import own\n"})
		var got []string
		ask(t, "import _pipsqueak.order as p; c = sys.argv[1]; print(json.dumps(p.sets_of(c, 'handler', lambda name: p.own_files(c, name), [])))", nil, &got, dir)
		if strings.Join(got, " ") != want {
			t.Errorf("of %.200q: %v, want %s", text, got, want)
		}
	}
}

// TestShadows looks at which of a function's own modules take names of others.
func TestShadows(t *testing.T) {
	dir := t.TempDir()
	drivertest.Write(t, dir, map[string]string{"handler.py": "", "calendar.py": "", "email/__init__.py": "", "json/data.py": "", "test/__init__.py": "", "py_yaml.py": "", "helpers.py": "", "queue.txt": ""})
	var got []string
	ask(t, "import imports as i; print(json.dumps(i.shadows(sys.argv[1], {'py-yaml', 'six'})))", nil, &got, dir)
	if want := []string{"calendar", "email", "py_yaml"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestPerhaps looks at which names a function's files import that may be modules: what is imported from
// packages, and modules of the language.
func TestPerhaps(t *testing.T) {
	for text, want := range map[string]string{
		"from numpy import linalg, array as a\n":                         "numpy.linalg numpy.array",
		"from scipy.stats import norm\n":                                 "scipy.stats.norm",
		"import sqlite3, os, sys, json\nfrom email import message\n":     "sqlite3 email email.message",
		"from concurrent.futures import ThreadPoolExecutor\n":            "concurrent.futures",
		"async def handler(event, context): pass\n":                      "asyncio",
		"def f():\n    import sqlite3\n":                                 "",
		"from own import x\nimport this, antigravity\n":                  "",
		"try:\n    from yaml import CLoader\nexcept ImportError: pass\n": "",
	} {
		dir := t.TempDir()
		drivertest.Write(t, dir, map[string]string{"handler.py": text, "own.py": ""})
		var got []string
		ask(t, "import imports as i; print(json.dumps(i.imports_of(sys.argv[1], 'handler', {'numpy'})[1]))", nil, &got, dir)
		if strings.Join(got, " ") != want {
			t.Errorf("of %q: %v, want %s", text, got, want)
		}
	}
}
