package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packArchive is a program for ask that scans an archive of the kind that its name says; a text that begins
// with "->" is a link. It prints what was found, and the name that the package has, or why it is none.
const packArchive = `
import io, tarfile, zipfile, scan
from answer import Refused
path, content = sys.argv[1], json.loads(sys.argv[2])
if path.endswith(".tar.gz"):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in content.items():
            member = tarfile.TarInfo(name)
            if text.startswith("->"):
                member.type, member.linkname = tarfile.SYMTYPE, text[2:]
                archive.addfile(member)
            else:
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
else:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
scan.MAX_FILE = 4096
try:
    result = scan.of_archive(path)
    print(json.dumps([result["packages"][0]["name"]] + [f"{s['rule']} {s['file']}:{s['line']}" for s in result["suspicions"]]))
except Refused as refused:
    print(json.dumps([refused.reply["message"]]))
`

// TestScanArchives scans archives that would hide from the scanner what an installation finds.
func TestScanArchives(t *testing.T) {
	const runs = "import os\nos.system('id')\n"
	wheel := func(more map[string]string) map[string]string {
		more["p-1.dist-info/METADATA"], more["p-1.dist-info/WHEEL"] = "Name: p\nVersion: 1\n", "Tag: py3-none-any\n"
		return more
	}
	binary := "\x7fELF" + strings.Repeat("x", 100)
	for name, c := range map[string]struct {
		file    string
		content map[string]string
		want    []string
	}{
		"sources in a zip":          {"p-1.zip", map[string]string{"p-1/setup.py": runs, "p-1/PKG-INFO": "Name: p\nVersion: 1\n", "p-1/pyproject.toml": "backend-path = ['.']\n"}, []string{"p", "install-hook pyproject.toml:1", "process setup.py:2"}},
		"sources below a dot":       {"p-1.tar.gz", map[string]string{"./p-1/setup.py": runs, "./p-1/PKG-INFO": "Name: p\nVersion: 1\n"}, []string{"p", "process setup.py:2"}},
		"another's metadata first":  {"p-1.tar.gz", map[string]string{"p-1/a.egg-info/PKG-INFO": "Name: requests\nVersion: 9\n", "p-1/PKG-INFO": "Name: p\nVersion: 1\n"}, []string{"p"}},
		"only metadata of its own":  {"p-1.tar.gz", map[string]string{"p-1/src/p.egg-info/PKG-INFO": "Name: p\nVersion: 1\n"}, []string{"p"}},
		"another's metadata within": {"p-1.whl", wheel(map[string]string{"a/b.dist-info/METADATA": "Name: requests\nVersion: 9\n", "a/b.dist-info/WHEEL": "Tag: cp311-cp311-linux_x86_64\n", "p.bin": binary}), []string{"p", "stray-binary p.bin:0"}},
		"code by another name":      {"p-1.tar.gz", map[string]string{"p-1/code.txt": runs, "p-1/setup.py": "->code.txt", "p-1/same.py": "->other.py", "p-1/p.py": "->data", "p-1/PKG-INFO": "Name: p\nVersion: 1\n"}, []string{"p", "hidden-code p.py:0", "hidden-code setup.py:0"}},
		"start of an interpreter":   {"p-1.whl", wheel(map[string]string{"p-1.data/purelib/p.pth": "a\rimport os\n", "b.pth": "\ufeffimport os\n", "below/c.pth": "import os\n", "p-1.data/platlib/sitecustomize.py": ""}), []string{"p", "install-hook b.pth:1", "install-hook p-1.data/platlib/sitecustomize.py:0", "install-hook p-1.data/purelib/p.pth:2"}},
		"a file that is too large":  {"p-1.whl", wheel(map[string]string{"p.py": strings.Repeat("#\n", 4096) + runs}), []string{"p", "hidden-code p.py:0"}},
		"no package":                {"p-1.zip", map[string]string{"a/b": ""}, []string{"p-1.zip is no package: it has no metadata with a name and a version"}},
	} {
		text, err := json.Marshal(c.content)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		ask(t, packArchive, nil, &got, filepath.Join(t.TempDir(), c.file), string(text))
		slices.Sort(got[1:])
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestScanReads has code written in ways that Python reads as any other.
func TestScanReads(t *testing.T) {
	const post = "import os, requests\ndef f():\n    requests.post('x', data="
	for text, want := range map[string]string{
		"𝘦𝘷𝘢𝘭(bytes.fromhex('31'))\n":                                                "hidden-code",
		"# coding: utf-7\nimport +AG8Acw-\n+AG8AcwAuAHMAeQBzAHQAZQBt-('id')\n":       "process",
		"# -*- coding: utf-8 -*-\nx = 1\n":                                           "",
		"# coding: latin-1\nx = 1\n":                                                 "",
		"# coding: none-such\nimport os; os.system('id')\n":                          "",
		post + "{k: v for k in os.environ})\n":                                       "secrets",
		post + "{**os.environ})\n":                                                   "secrets",
		post + "dict(**os.environ))\n":                                               "secrets",
		post + "{k: v for k in os.environ['A']})\n":                                  "",
		strings.Repeat("# coding ", 100_000) + "\n" + strings.Repeat("x", 1000) + "": "",
	} {
		file := filepath.Join(t.TempDir(), "x.py")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var got []string
		ask(t, "import suspicions as c; print(json.dumps([rule for rule, _, _ in c.suspicions(open(sys.argv[1], 'rb').read())]))", nil, &got, file)
		if strings.Join(got, " ") != want {
			t.Errorf("%.60q: %v, want %s", text, got, want)
		}
	}
}

// TestScanEnds has a scanner of several packages end in the middle of one.
func TestScanEnds(t *testing.T) {
	var got refusal
	ask(t, "import os, scan\nscan.scan = lambda files: os.kill(os.getpid(), 9)\n"+refuse("scan.scan_packages([{'name': 'p', 'version': '1'}])"), nil, &got)
	if got.Kind != "invalid" || got.Fault != "handler" || !strings.Contains(got.Message, "signal 9: p==1") {
		t.Errorf("by a signal: %+v", got)
	}
	ask(t, "import os, scan\nscan.scan = lambda files: 1 / 0\nsys.stderr.close()\n"+refuse("scan.scan_packages([{'name': 'p', 'version': '1'}])"), nil, &got)
	if got.Kind != "internal" || got.Fault != "driver" {
		t.Errorf("by a fault of its own: %+v", got)
	}
}
