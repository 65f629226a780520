package main

import (
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestWatchedSets has handlers that set variables in every way, and packages that do when they are imported
// and when they are called: what counts is what the function's own code does, wherever the instance was
// forked from.
func TestWatchedSets(t *testing.T) {
	const handler = "\ndef handler(event, context): return 1\n"
	h := newHouse(t, map[string]string{
		"cfg.py": "import os\ndef setup(): os.environ['OF_SETUP'] = '1'\nclass Base:\n    def __init_subclass__(cls): os.environ['OF_CLASS'] = '1'\ndef named(name):\n    os.environ[name] = '1'\n    return lambda f: f\n",
	})
	h.Packages = t.TempDir()
	drivertest.Write(t, h.Packages, map[string]string{
		"own_mind.py":       "import os\nos.environ['BY_PACKAGE'] = '1'\nos.environ.setdefault('KEPT', 'x')\nfrom own_mind_part import *\ndef load(name): os.environ[name] = '1'\ndef lazy(): import own_mind_lazy\n",
		"own_mind_moves.py": "import os\nos.chdir('/tmp')\n",
		"own_mind_part.py":  "import os, own_mind_deep\nos.putenv('BY_PART', '1')\n",
		"own_mind_deep.py":  "import os\ndef run(): os.environ['BY_DEEP'] = '1'\nrun()\nexec('os.environ[\"BY_EXEC\"] = \"1\"')\n",
		"own_mind_lazy.py":  "import os\nos.environ['BY_LAZY'] = '1'\n",
	})
	root := h.Root(t)
	zygote, _, err := h.Zygote(t, root, theFiles, "own_mind")
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]string{
		"":                                    "",
		"from cfg import setup\nsetup()":      "OF_SETUP",
		"import cfg\nclass A(cfg.Base): pass": "OF_CLASS",
		"import cfg\n@cfg.named('OF_DECORATOR')\ndef f(): pass":                                              "OF_DECORATOR",
		"import os\nexec('os.environ[\"OF_EXEC\"] = \"1\"')":                                                 "OF_EXEC",
		"import os\nsetattr(os, 'x', 1)\nos.putenv('OF_PUTENV', '1'); os.unsetenv('OF_UNSETENV')":            "OF_PUTENV",
		"import os\nos.environb[b'BYTES'] = b'1'; os.environ.update(B='2'); os.environ |= {'C': '3'}":        "B BYTES C",
		"import os\nos.environ['A'] = 'b'; os.environ.setdefault('A', 'c'); os.environ.pop('NONE', None)":    "",
		"import os\ndel os.environ['A']":                                                                     "A",
		"import os\nfrom unittest import mock\nwith mock.patch.dict(os.environ, {'FOR_A_WHILE': '1'}): pass": "A FOR_A_WHILE PIPSQUEAK_PACKAGES PYTHONPATH",
		"import os\nos.environ = dict(os.environ, NEW='1')":                                                  "*",
		"import threading, cfg\nt = threading.Thread(target=cfg.setup); t.start(); t.join()":                 "OF_SETUP",
		"import os\nos.chdir('/tmp')":                                                                        "./",
		"import os\nos.fchdir(os.open('/tmp', os.O_RDONLY))":                                                 "./",
		"import os\nfrom contextlib import chdir\nwith chdir('/tmp'): pass":                                  "./",
		"import sys\nsys.argv += ['--fast']":                                                                 "@argv",
		"import sys\nsys.argv = ['x']":                                                                       "@argv",
		"import own_mind_moves":                                                                              "",
		"import own_mind":                                                                                    "",
		"import own_mind\nown_mind.lazy()":                                                                   "",
		"import own_mind\nown_mind.load('BY_CALL')":                                                          "BY_CALL",
		"import cfg, own_mind\ncfg.setup(); own_mind.load('OF_SETUP')":                                       "OF_SETUP",
		"import importlib.util, os\nspec = importlib.util.spec_from_file_location('x', '/packages/files-1/own_mind_deep.py')\nspec.loader.exec_module(importlib.util.module_from_spec(spec))": "",
		"import os\nos.environ[1] if False else None\ntry: os.environ[1] = 2\nexcept TypeError: pass":                                                                                         "",
	} {
		drivertest.Write(t, h.Code, map[string]string{"handler.py": code + handler})
		if got := strings.Join(h.Sets(t, root, theFiles), " "); got != want {
			t.Errorf("cold, %q sets %q, want %q", code, got, want)
		}
		if got := strings.Join(h.Sets(t, zygote, theFiles), " "); got != want && !strings.Contains(code, "mock") {
			t.Errorf("forked, %q sets %q, want %q", code, got, want)
		}
	}
}
