package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// ask has the interpreter evaluate an expression in which the modules of runtime can be imported, with argv,
// and decodes what it says.
func ask(t *testing.T, program string, env []string, result any, argv ...string) {
	t.Helper()
	coretest.Requires(t, coretest.File(defaultInterpreter))
	begin := fmt.Sprintf("import json, sys; sys.path[:0] = [%q + each for each in ('install', 'scan', 'loop')]\n", filepath.Join(drivertest.Libexec(t), "python")+"/")
	cmd := exec.CommandContext(t.Context(), defaultInterpreter, append([]string{"-I", "-S", "-B", "-c", begin + program}, argv...)...)
	cmd.Env, cmd.Stderr = env, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, result); err != nil {
		t.Fatal(err)
	}
}

// TestImports looks at what a handler is found to import: what is imported whenever it is, and is of a
// package.
func TestImports(t *testing.T) {
	for text, want := range map[string][]string{
		"import os, numpy.linalg as l, numpy\n":                                         {"numpy.linalg", "numpy"},
		"from pandas import DataFrame\n":                                                {"pandas"},
		"from google.cloud import storage\n":                                            {"google.cloud", "google.cloud.storage"},
		"def f():\n    import numpy\n":                                                  nil,
		"if True:\n    import numpy\n":                                                  nil,
		"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy\n":       nil,
		"import typing\nif typing.TYPE_CHECKING:\n    pass\nelse:\n    import numpy\n":  {"numpy"},
		"try:\n    import orjson as json\nexcept ImportError:\n    import json\n":       {"orjson"},
		"try:\n    import ujson as json\nexcept ImportError:\n    import json\n":        nil,
		"try:\n    import tomllib\nexcept ImportError:\n    import orjson\n":            nil,
		"try:\n    import ujson\nexcept ImportError:\n    import orjson as ujson\n":     {"orjson"},
		"try:\n    import missing\nfinally:\n    import numpy\n":                        {"missing", "numpy"},
		"import contextlib\nwith contextlib.suppress(ImportError):\n    import ujson\n": nil,
		"with open('/dev/null'):\n    import numpy\n":                                   {"numpy"},
		"class A:\n    import numpy\n":                                                  {"numpy"},
		"import own\n":                                                                  {"numpy"},
		"from own_package import part\n":                                                {"pandas"},
		"from own_package.part import x\n":                                              {"pandas"},
		"import own_package.part\n":                                                     {"pandas"},
		"from . import own\n":                                                           {"numpy"},
		"import handler\n":                                                              nil,
		"this is no Python\n":                                                           nil,
		"with a" + strings.Repeat("+a", 2000) + ": pass\n":                              nil,
	} {
		dir := t.TempDir()
		drivertest.Write(t, dir, map[string]string{"handler.py": text, "own.py": "import numpy\n", "own_package/__init__.py": "", "own_package/part.py": "from . import other\n",
			"own_package/other.py": "import pandas\n"})
		var got []string
		ask(t, "import imports as i; print(json.dumps(i.imports_of(sys.argv[1], 'handler', {'numpy', 'pandas', 'orjson', 'google-cloud-storage'})[0]))", nil, &got, dir)
		if !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("of %q: %v, want %v", text, got, want)
		}
	}
}

// TestModules looks at which names a package is found to be imported by.
func TestModules(t *testing.T) {
	for _, c := range []struct{ files, want []string }{
		{[]string{"six.py", "six-1.dist-info/RECORD"}, []string{"six"}},
		{[]string{"yaml/__init__.py", "yaml/nodes.py", "_yaml/__init__.py"}, []string{"yaml"}},
		{[]string{"_cffi_backend.cpython-311-x86_64-linux-gnu.so"}, []string{"_cffi_backend"}},
		{[]string{"google/cloud/storage/__init__.py", "google/cloud/storage/blob.py"}, []string{"google.cloud.storage"}},
		{[]string{"ns/a.py", "ns/b/__init__.py", "ns/_c.py"}, []string{"ns.a", "ns.b"}},
		{[]string{"a/__init__.py", "tests/__init__.py", "a.libs/x.so", "../../bin/a"}, []string{"a"}},
		{[]string{"a-1.data/scripts/x.py", "a-1.dist-info/METADATA"}, nil},
	} {
		var got []string
		paths, err := json.Marshal(c.files)
		if err != nil {
			t.Fatal(err)
		}
		ask(t, "import metadata as m; m.EXTENSION_SUFFIXES[:] = ['.cpython-311-x86_64-linux-gnu.so', '.so']; print(json.dumps(m.modules('/nonexistent', json.loads(sys.argv[1]))))", nil, &got, string(paths))
		if !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("of %v: %v, want %v", c.files, got, c.want)
		}
	}
}

// TestRegistries looks at where packages come from, by what the operator has told pip and uv.
func TestRegistries(t *testing.T) {
	dir := t.TempDir()
	pip, uv, explicit := filepath.Join(dir, "pip.conf"), filepath.Join(dir, "uv.toml"), filepath.Join(dir, "explicit.toml")
	for file, text := range map[string]string{
		pip:      "[global]\nindex-url = https://u:p@pip.example/simple\nextra-index-url =\n  https://one.example/simple\n  https://two.example/simple\nfind-links = /opt/wheels\ncert = /etc/own.pem\n",
		explicit: "[[index]]\nname = \"torch\"\nurl = \"https://torch.example/\"\nexplicit = true\n",
		uv:       "[[index]]\nname = \"corp\"\nurl = \"https://uv.example/simple\"\ndefault = true\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	none := []string{"PIP_CONFIG_FILE=/dev/null", "UV_CONFIG_FILE=/nonexistent"}
	for name, c := range map[string]struct {
		env        []string
		index      string
		extra      string
		registries []string
	}{
		"nothing":     {none, "https://pypi.org/simple", "", []string{"https://files.pythonhosted.org", "https://pypi.org/simple"}},
		"pip's":       {append([]string{"PIP_INDEX_URL=https://a:b@mirror.example/x"}, none...), "https://a:b@mirror.example/x", "", []string{"https://mirror.example/x"}},
		"uv's":        {append([]string{"UV_INDEX=corp=https://c.example/s", "UV_INDEX_CORP_USERNAME=me", "UV_INDEX_CORP_PASSWORD=p@ss"}, none...), "https://pypi.org/simple", "https://me:p%40ss@c.example/s", []string{"https://c.example/s", "https://files.pythonhosted.org", "https://pypi.org/simple"}},
		"paths":       {append([]string{"PIP_FIND_LINKS=/opt/wheels https://l.example/w"}, none...), "https://pypi.org/simple", "", []string{"https://files.pythonhosted.org", "https://l.example/w", "https://pypi.org/simple"}},
		"pip's file":  {[]string{"PIP_CONFIG_FILE=" + pip, "UV_CONFIG_FILE=/nonexistent"}, "https://u:p@pip.example/simple", "https://one.example/simple https://two.example/simple", []string{"https://one.example/simple", "https://pip.example/simple", "https://two.example/simple"}},
		"uv's file":   {[]string{"PIP_CONFIG_FILE=/dev/null", "UV_CONFIG_FILE=" + uv}, "https://uv.example/simple", "", []string{"https://uv.example/simple"}},
		"explicit":    {[]string{"PIP_CONFIG_FILE=/dev/null", "UV_CONFIG_FILE=" + explicit}, "https://pypi.org/simple", "", []string{"https://files.pythonhosted.org", "https://pypi.org/simple"}},
		"environment": {[]string{"PIP_CONFIG_FILE=" + pip, "UV_CONFIG_FILE=" + uv, "UV_DEFAULT_INDEX=https://e.example/"}, "https://e.example/", "https://one.example/simple https://two.example/simple", []string{"https://e.example/", "https://one.example/simple", "https://two.example/simple"}},
	} {
		var got struct {
			Env        map[string]string
			Registries []string
			Problems   []string
		}
		ask(t, "import os, registries as r; print(json.dumps(r.main(os.environ)))", c.env, &got)
		if got.Env["UV_DEFAULT_INDEX"] != c.index || got.Env["UV_INDEX"] != c.extra || !slices.Equal(got.Registries, c.registries) || len(got.Problems) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestPipFiles has pip configured in two files, of which the last counts, and in each the section of its
// command.
func TestPipFiles(t *testing.T) {
	dir := t.TempDir()
	first, last := filepath.Join(dir, "first"), filepath.Join(dir, "last")
	for file, text := range map[string]string{
		first: "[global]\nindex-url = https://first.example/\n[install]\nextra-index-url = https://install.example/\n",
		last:  "[global]\nindex-url = https://last.example/\nextra-index-url = https://global.example/\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	ask(t, "import registries as r; r.PIP_FILES = sys.argv[1:]; print(json.dumps([r.pip_option(o, [], {}) for o in ('index-url', 'extra-index-url')]))", nil, &got, first, last)
	if want := []string{"https://last.example/", "https://install.example/"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestBadRegistry names an index that is no address: the driver says so, and serves functions that need none.
func TestBadRegistry(t *testing.T) {
	var got struct{ Problems, Registries []string }
	ask(t, "import os, registries as r; print(json.dumps(r.main(os.environ)))", []string{"UV_INDEX=http://me:sekret@[::1", "UV_CONFIG_FILE=/nonexistent", "PIP_CONFIG_FILE=/dev/null"}, &got)
	if len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "[::1") || strings.Contains(got.Problems[0], "sekret") || len(got.Registries) != 2 {
		t.Errorf("%+v", got)
	}
}
