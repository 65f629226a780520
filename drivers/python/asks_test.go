package main

import (
	"slices"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestAsks has packages look for others in every way, there or not, and finds for which.
func TestAsks(t *testing.T) {
	packages := []drivertest.Probed{
		{Name: "there", Source: "x = 1\n"},
		{Name: "cached", Source: "import there\n"}, // there has been imported
		{Name: "caught", Source: "try: import missing.part\nexcept ImportError: pass\ntry: from gone import x\nexcept ImportError: pass\n"},
		{Name: "dynamic", Source: "import importlib.util\nimportlib.import_module('there')\nimportlib.util.find_spec('nowhere')\n"},
		{Name: "dist", Source: "import importlib.metadata as m\ntry: m.version('Some_Dist')\nexcept m.PackageNotFoundError: pass\n"},
		{Name: "everything", Source: "import importlib.metadata as m\nlist(m.entry_points())\n"},
		{Name: "standard", Source: "import json, xml.dom\nfrom collections import abc\n"},
		{Name: "space", Source: "from ns import part\n"},
		{Name: "opens", Source: "try: open('config/default.json')\nexcept OSError: pass\nopen(__file__).close()\n"},
		{Name: "stats", Source: "import os.path\nfrom pathlib import Path\nos.path.exists('/function/one')\nPath('sub', '..', 'two').exists()\nos.path.isdir('/function/../tmp')\n"},
		{Name: "roots", Source: "import os\nHERE = os.path.abspath(os.path.join(os.getcwd()))\nos.path.isdir(HERE)\nos.path.realpath('.')\n"},
		{Name: "lists", Source: "import os\nos.listdir('.')\n"},
		{Name: "walks", Source: "import glob\nglob.glob('*.toml')\n"},
		{Name: "native", Source: "import ctypes\nctypes.CDLL(None).access(b'native.cfg', 0)\n"},
		{Name: "moves", Source: "import os\nos.chdir('/tmp')\nos.path.exists('elsewhere')\nos.chdir('/function')\nos.path.exists('here')\n"},
		{Name: "base", Source: "import sqlite3\ntry: sqlite3.connect('data.db').execute('select 1 from x')\nexcept sqlite3.Error: pass\n"},
		{Name: "pid", Source: "import os\nID = os.getpid()\n"},
		{Name: "pid_text", Source: "import os\nname = f'/tmp/{os.getpid()}.lock'\ndef lock(): return name\n"},
		{Name: "pid_constant", Source: "import os\nNAME = f'/tmp/{os.getpid()}.lock'\n"},
		{Name: "pid_left", Source: "import os\nname = f'/tmp/{os.getpid()}.lock'\ndef lock(): return 'another'\n"},
		{Name: "pid_object", Source: "import os\nclass Keeper:\n    def __init__(self): self.pid = os.getpid()\nkeeper = Keeper()\n"},
		{Name: "pid_used", Source: "import os\nHAS = os.path.exists(f'/proc/{os.getpid()}/maps')\n"},
		{Name: "pid_notices", Source: "from os import getpid\nclass Keeper:\n    pid = getpid()\n    def forked(self): return self.pid != getpid()\n"},
		{Name: "pid_in_call", Source: "import os\ndef ask(): return os.getpid()\n"},
		{Name: "pid_standard", Source: "import tempfile\ntempfile.mkdtemp()\n"},
		{Name: "argues", Source: "import sys\nfrom sys import argv\nDEBUG = '--debug' in argv\n"},
		{Name: "argues_standard", Source: "import argparse\nargparse.ArgumentParser(prog='x').parse_known_args()\n"},
		{Name: "programs", Source: "import __main__\nINTERACTIVE = not hasattr(__main__, '__file__')\n"},
		{Name: "programs_standard", Source: "import __main__, inspect, sys\ninspect.getmodule(sys._getframe())\nNAMES = __main__.__dict__\n"},
		{Name: "odd", Source: "import sys\nclass Odd:\n    def __getattr__(self, name): raise OSError(name)\nsys.modules['odd_one'] = Odd()\nimport odd_one\n"},
	}
	files := map[string]string{"ns/part.py": ""}
	for _, p := range packages {
		files[p.Name+".py"] = p.Source
	}
	found := newHouse(t, files).Probe(t, packages)
	for name, want := range map[string][]string{"there": {"there"}, "cached": {"cached", "there"}, "caught": {"caught", "gone", "missing"}, "dynamic": {"dynamic", "nowhere", "there"},
		"opens": {"./config", "opens"}, "stats": {"./one", "./two", "stats"}, "roots": {".", "roots"}, "lists": {"./", "lists"},
		"walks": {"./", "walks"}, "native": {"./native.cfg", "native"}, "moves": {"./here", "moves"},
		"base": {"./data.db", "base"}, "pid": {"@pid", "pid"}, "pid_in_call": {"pid_in_call"},
		"pid_text": {"@pid", "pid_text"}, "pid_constant": {"@pid", "pid_constant"}, "pid_left": {"pid_left"}, "pid_object": {"@pid", "pid_object"}, "pid_used": {"pid_used"}, "pid_notices": {"pid_notices"},
		"pid_standard": {".", "pid_standard"}, "argues": {"@argv", "argues"}, "argues_standard": {"argues_standard"}, "programs": {"@program", "programs"}, "programs_standard": {"programs_standard"},
		"dist": {"dist", "some-dist"}, "everything": {"*"}, "standard": {"standard"}, "space": {"ns.part", "space"}, "odd": {"odd", "odd_one"}} {
		if got := found[name].Asks; !slices.Equal(got, want) {
			t.Errorf("%s asks for %v, want %v", name, got, want)
		}
	}
}
