package bundle

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

func TestParseSettings(t *testing.T) {
	limits := func(change func(*core.Limits)) core.Limits {
		l := core.DefaultLimits()
		change(&l)
		return l
	}
	none := Settings{Limits: core.DefaultLimits()}
	tests := map[string]Settings{
		"":                 none,
		"# nothing yet\n":  none,
		"---\n":            none,
		"{}":               none,
		"name: f-1":        {Name: "f-1", Limits: core.DefaultLimits()},
		"\ufeffname: f":    {Name: "f", Limits: core.DefaultLimits()},
		"name: '7'":        {Name: "7", Limits: core.DefaultLimits()},
		"idle_timeout: 5m": {Limits: limits(func(l *core.Limits) { l.IdleTimeout = 5 * time.Minute })},
		"idle_timeout: 1500ms": {Limits: limits(func(l *core.Limits) {
			l.IdleTimeout = 1500 * time.Millisecond
		})},
		"routes: ['GET /orders/{id}', API.example.com/]": {Limits: core.DefaultLimits(), Routes: []string{"GET /orders/{id}", "ANY api.example.com/"}},
		"cors: {origins: ['https://a.example.com:8443', 'http://[::1]'], methods: [GET], headers: [Content-Type], expose: [X-A], credentials: true, max_age: 10m}": {
			Limits: core.DefaultLimits(), CORS: &core.CORS{Origins: []string{"https://a.example.com:8443", "http://[::1]"}, Methods: []string{"GET"},
				Headers: []string{"content-type"}, Expose: []string{"x-a"}, Credentials: true, MaxAge: 10 * time.Minute}},
		"concurrency: 100":             {Limits: limits(func(l *core.Limits) { l.Concurrency = 100 })},
		"reuse: false\nconcurrency: 1": {Limits: limits(func(l *core.Limits) { l.Reuse = false })},
		"stream_mb: 1":                 {Limits: limits(func(l *core.Limits) { l.Stream = 1 << 20 })},
		"memory_mb: 16\ntimeout_ms: 1\nmax_instances: 1": {Limits: limits(func(l *core.Limits) {
			l.Memory, l.Timeout, l.MaxInstances = 16<<20, time.Millisecond, 1
		})},
		"memory_mb: 1048576\ntimeout_ms: 900000\nmax_instances: 10000": {Limits: limits(func(l *core.Limits) {
			l.Memory, l.Timeout, l.MaxInstances = 1<<40, 15*time.Minute, 10000
		})},
		"name: f\nruntime: fake1.1\nhandler: pkg/app.main\nreuse: false\nenv:\n  TEXT: hello\n  NUMBER: 1.10\n  FLAG: yes\n  BOOL: true\n  DAY: 2020-01-01\n  NONE:\n": {
			Name: "f", Runtime: "fake1.1", Handler: "pkg/app.main",
			Env:    map[string]string{"TEXT": "hello", "NUMBER": "1.10", "FLAG": "yes", "BOOL": "true", "DAY": "2020-01-01", "NONE": ""},
			Limits: limits(func(l *core.Limits) { l.Reuse = false }),
		},
		"access: public": {Public: true, Limits: core.DefaultLimits()},
		"access: token":  {Limits: core.DefaultLimits()},
		"storage: {path: /data, size: 1GiB, name: shared}":                      {Limits: core.DefaultLimits(), Storage: &core.Storage{Name: "shared", Path: "/data", Size: 1 << 30}},
		"storage: {path: /function/public/uploads, size: 16MiB}":                {Limits: core.DefaultLimits(), Storage: &core.Storage{Path: "/function/public/uploads", Size: 16 << 20}},
		"secrets:\n- db-url\n- api: API_KEY\n- api: /run/secrets/api.txt":       {Limits: core.DefaultLimits(), Secrets: []core.SecretUse{{Name: "db-url", Env: "DB_URL"}, {Name: "api", Env: "API_KEY"}, {Name: "api", File: "api.txt"}}},
		"handler: shop.pages:site":                                              {Handler: "shop/pages.site", Limits: core.DefaultLimits()},
		"handler: App::Main.run":                                                {Handler: "App::Main.run", Limits: core.DefaultLimits()}, // a program's own
		"network: none":                                                         {Network: core.NetworkNone, Limits: core.DefaultLimits()},
		"egress: ['api.example.com:443', '[2600::/32]:5432']":                   {Egress: []string{"api.example.com:443", "[2600::/32]:5432"}, Limits: core.DefaultLimits()},
		"egress: [10.2.0.0/16:5432]\nnetwork: egress":                           {Network: core.NetworkEgress, Egress: []string{"10.2.0.0/16:5432"}, Limits: core.DefaultLimits()},
		"debian: [libpng16-16, 'libopencv-core406=4.6.0+dfsg-12', libpng16-16]": {Debian: []string{"libpng16-16", "libopencv-core406=4.6.0+dfsg-12"}, Limits: core.DefaultLimits()},
		"functions: {one: }\nname: shop":                                        {Name: "shop", Limits: core.DefaultLimits(), Functions: []Part{{Name: "one", Dir: "one", Settings: []byte("name: one\n")}}},
		"functions:\n  one:\n  two:\n    dir: sub/dir\n    memory_mb: 64\n    env: {A: 010}\n  three: {dir: .}": {Limits: core.DefaultLimits(), Functions: []Part{
			{Name: "one", Dir: "one", Settings: []byte("name: one\n")},
			{Name: "two", Dir: "sub/dir", Settings: []byte("name: two\nmemory_mb: 64\nenv: {A: 010}\n")},
			{Name: "three", Dir: ".", Settings: []byte("name: three\n")},
		}},
	}
	for text, want := range tests {
		if got, err := ParseSettings([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseSettingsRefuses(t *testing.T) {
	bomb := "a: &a [1]\n"
	for _, c := range "bcdefghi" {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+", ", 9) + "1]\n"
	}
	tests := []struct {
		text  string
		words []string
	}{
		{"name: f\nmemory: 5", []string{"line 2", `"memory"`, `did you mean "memory_mb"`, "max_instances"}},
		{"mem: 5", []string{`"memory_mb"`}},
		{"timeout: 5", []string{`"timeout_ms"`}},
		{"idle: 5", []string{`"idle_timeout"`}},
		{"routes: /x", []string{"a list of routes"}},
		{"routes: ['GET /run/x']", []string{"line 1", `"routes"`, "the worker's own"}},
		{"cors: '*'", []string{"keys with values"}},
		{"cors: {}", []string{"no origins"}},
		{"cors: {origins: ['https://a.example.com/x']}", []string{`"cors.origins"`, "no origin"}},
		{"cors: {origins: ['*'], credentials: true}", []string{"name the origins"}},
		{"cors: {origins: ['*'], headers: ['a b']}", []string{"no name"}},
		{"cors: {origin: ['*']}", []string{`"cors.origin"`, "no such key"}},
		{"handlr: 5", []string{`"handler"`}},
		{"Name: 5", []string{`mean "name"`}},
		{"maxInstances: 5", []string{`"max_instances"`}},
		{"environment: 5", []string{`"env"`}},
		{"run-time: 5", []string{`"runtime"`}},
		{strings.Repeat("x", 5000) + ": 5", []string{"the keys are"}},
		{"memory_mb: 1\nname: f", []string{"line 1", "memory_mb", `"1"`, "16 to 1048576"}},
		{"memory_mb: 1048577", []string{"16 to 1048576"}},
		{"memory_mb: -5", []string{"16 to 1048576"}},
		{"memory_mb: 99999999999999999999", []string{"16 to 1048576"}},
		{"memory_mb: 512MB", []string{`the text "512MB"`, "whole number of megabytes"}},
		{"memory_mb: '512'", []string{`the text "512"`}},
		{"memory_mb: 1.5", []string{`the number "1.5"`}},
		{"memory_mb:", []string{"nothing"}},
		{"memory_mb: [512]", []string{"a list"}},
		{"memory_mb: {a: 1}", []string{"a mapping"}},
		{"memory_mb: !size 512", []string{"!size"}},
		{"timeout_ms: 0", []string{"1 to 900000"}},
		{"timeout_ms: 900001", []string{"1 to 900000"}},
		{"max_instances: 0", []string{"1 to 10000"}},
		{"max_instances: 10001", []string{"1 to 10000"}},
		{"idle_timeout: soon", []string{"line 1", "idle_timeout", "5m"}},
		{"concurrency: 0", []string{"line 1", "concurrency", "1 to 100"}},
		{"concurrency: 101", []string{"concurrency", "1 to 100"}},
		{"concurrency: 2\nreuse: false", []string{"line 2", "'concurrency' gives it 2", "remove one"}},
		{"reuse: false\nconcurrency: 2", []string{"line 2", "remove one"}},
		{"idle_timeout: 0", []string{"idle_timeout"}},
		{"idle_timeout: -5m", []string{"idle_timeout"}},
		{"idle_timeout: 99999h", []string{"idle_timeout", "24h"}},
		{"idle_timeout: true", []string{`the boolean "true"`}},
		{"reuse: maybe", []string{"true or false"}},
		{"reuse: 0", []string{"true or false"}},
		{"access: Public", []string{`"Public"`, "nor public"}},
		{"access: true", []string{"token or public"}},
		{"network: all", []string{"line 1", "network", "none, egress or host"}},
		{"network: true", []string{"none, egress or host"}},
		{"egress: []", []string{"0 destinations", "network: none"}},
		{"egress: all", []string{"a list of destinations"}},
		{"egress: [" + destinations(65) + "]", []string{"65 destinations"}},
		{"egress: [api.example.com]", []string{"has no port", "api.example.com:443"}},
		{"egress: ['10.2.0.1/16:5432']", []string{"write 10.2.0.0/16"}},
		{"network: none\negress: ['a.example:1']", []string{"line 2", "narrows", "none"}},
		{"egress: ['a.example:1']\nnetwork: host", []string{"line 2", "narrows", "host"}},
		{"name: ../f", []string{"line 1", "../f", "63"}},
		{"name: 5", []string{`the number "5"`}},
		{"runtime: 3.11", []string{`the number "3.11"`, "quotes"}},
		{"runtime: ''", []string{"runtime"}},
		{"handler: [main]", []string{"file.symbol"}},
		{"handler: \"a\\0b\"", []string{`"handler"`, "NUL"}},
		{"secrets: db-url", []string{`"secrets"`, "a list of names of secrets"}},
		{"secrets: [5]", []string{"one of names of secrets"}},
		{"secrets: [a.team]", []string{`line 1`, `"a.team" cannot be the name of a secret`}},
		{"secrets:\n- a\n- b: A", []string{"line 3", `"A" is there twice`}},
		{"secrets:\n- a: 1A", []string{"no name of an environment variable"}},
		{"secrets:\n- a: /etc/passwd", []string{"/run/secrets/NAME"}},
		{"secrets:\n- a: /run/secrets/../x", []string{"/run/secrets/NAME"}},
		{"secrets:\n- {a: A, b: B}", []string{"a mapping"}},
		{"secrets: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q]", []string{"at most 16 secrets, and this one 17"}},
		{"storage: /data", []string{"keys with values"}},
		{"storage: {path: /data}", []string{"a size from 16 MiB"}},
		{"storage: {path: /data, size: 1}", []string{`"storage.size"`, "a size with its unit"}},
		{"storage: {path: /data, size: 1GB}", []string{"such as 512MiB or 1GiB"}},
		{"storage: {path: /data, size: 8MiB}", []string{"a size from 16 MiB"}},
		{"storage: {path: data, size: 16MiB}", []string{"its path is absolute"}},
		{"storage: {path: /function, size: 16MiB}", []string{"/function, where the code is"}},
		{"storage: {path: /function/../usr, size: 16MiB}", []string{"absolute and plain"}},
		{"storage: {path: /usr/x, size: 16MiB}", []string{"cannot be below /usr"}},
		{"storage: {path: /pipsqueak/python, size: 16MiB}", []string{"cannot be below /pipsqueak"}},
		{"storage: {path: /data, size: 16MiB, name: a.team}", []string{"cannot be the name of a storage"}},
		{"storage: {path: /data, size: 16MiB, mode: 1}", []string{"'path', 'size' and 'name' only"}},
		{"env: 5", []string{`"env"`, `the number "5"`, "names with values"}},
		{"env: [a=1]", []string{"a list"}},
		{"env:\n  A-B: 1", []string{"line 2", `"env.A-B"`}},
		{"env:\n  1A: 1", []string{`"env.1A"`}},
		{"env:\n  '': 1", []string{`"env."`}},
		{"env:\n  A: [1]", []string{`"env.A"`, "a list"}},
		{"env:\n  A: \"\\0\"", []string{`"env.A"`, "NUL"}},
		{"env:\n  A: 1\n  B: 2\n  A: 3", []string{"line 4", `"env.A"`, "line 2"}},
		{"env:\n  A: &x 1\n  B: *x", []string{"line 3", `"env.B"`, "alias"}},
		{"env: &e {A: 1}\nname: *e", []string{"alias"}},
		{"env:\n  <<: {A: 1}", []string{`"env.<<"`}},
		{"name: f\nname: f", []string{"line 2", `"name"`, "twice", "line 1"}},
		{"? [1]\n: 2", []string{"line 1", "a list"}},
		{"- name", []string{"a list", "keys with values"}},
		{"name", []string{`the text "name"`}},
		{"!x {name: f}", []string{"keys with values"}},
		{"name: f\n---\nname: g", []string{"2 documents"}},
		{"name: [", []string{"no YAML"}},
		{"\tname: f", []string{"no YAML"}},
		{"name: \"\xff\"", []string{"no YAML"}},
		{"\x1f\x8b\x08", []string{"pipsqueak.yaml"}},
		{strings.Repeat("[", 30_000), []string{"pipsqueak.yaml"}},
		{bomb, []string{`"a"`}},
		{"name: &n *n", []string{"pipsqueak.yaml"}},
		{"debian: libpng", []string{`"debian"`, "a list of Debian packages"}},
		{"debian:\n  - 5", []string{"line 2", `the number "5"`}},
		{"debian: ['../x']", []string{"../x", "no name of a Debian package"}},
		{"debian: ['-o=x']", []string{"no name of a Debian package"}},
		{"functions: [a]", []string{"a list", "keys with values"}},
		{"functions: {}", []string{"names of functions"}},
		{"functions: {a: 1}", []string{`"functions.a"`, "keys with values"}},
		{"functions:\n  ../a:", []string{"line 2", "../a"}},
		{"functions:\n  a:\n    mem: 1", []string{"line 3", `"memory_mb"`}},
		{"functions:\n  a: {name: b}", []string{"line 2", "the key above"}},
		{"functions:\n  a: {dir: ../b}", []string{"../b", "below"}},
		{"functions:\n  a: {functions: {b: }}", []string{`"functions"`, "no key"}},
		{"functions: {a: }\nmemory_mb: 64", []string{"line 2", "memory_mb", "'name' only"}},
		{"name: ../x\nfunctions: {a: }", []string{"line 1", "../x"}},
		{"idle_timeout: 10", []string{"line 1", "10 has no unit: write 10s for seconds"}},
		{"idle_timeout: 0.5", []string{"0.5 has no unit: write 0.5s"}},
		{"timeout: 10", []string{`"timeout_ms"`}},
		{"memory_mb: 512M", []string{`"512M"`, "a whole number of megabytes"}},
	}
	for _, test := range tests {
		_, err := ParseSettings([]byte(test.text))
		t.Log(err)
		coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, append(test.words, "pipsqueak.yaml")...)
	}
	_, err := ParseSettings([]byte("# " + strings.Repeat("x", maxSettings)))
	coretest.WantError(t, err, core.KindTooLarge, core.FaultCaller, "64 KiB")
}

func TestLoadSettings(t *testing.T) {
	dir := t.TempDir()
	if m, err := LoadSettings(dir); err != nil || m.Limits != core.DefaultLimits() || m.Name != "" {
		t.Errorf("without a settings: %+v %v", m, err)
	}
	filestest.Write(t, dir, map[string]string{"pipsqueak.yml": "name: f"})
	_, err := LoadSettings(dir)
	coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, "rename")
	filestest.Write(t, dir, map[string]string{"pipsqueak.yaml": "name: g"})
	if m, err := LoadSettings(dir); err != nil || m.Name != "g" {
		t.Errorf("with a settings: %+v %v", m, err)
	}
	coretest.Must(t, os.Remove(dir+"/pipsqueak.yaml"))
	filestest.Write(t, dir, map[string]string{"pipsqueak.yaml": "dir"})
	_, err = LoadSettings(dir)
	coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, "directory")
	coretest.Must(t, os.Remove(dir+"/pipsqueak.yaml"))
	filestest.Write(t, dir, map[string]string{"pipsqueak.yaml": strings.Repeat("#", 1<<20)})
	_, err = LoadSettings(dir)
	coretest.WantError(t, err, core.KindTooLarge, core.FaultCaller)
}

func TestDetect(t *testing.T) {
	runtimes := []core.Runtime{
		{ID: "snake3.11", Extensions: []string{".sn"}, Handlers: []core.HandlerFile{{File: "Buildfile", Handler: "handler.handler"}, {File: "handler.sn", Handler: "handler.handler"}, {File: "f.sn", Handler: "f.f"}}},
		{ID: "snake3.9", Extensions: []string{".sn"}, Handlers: []core.HandlerFile{{File: "handler.sn", Handler: "handler.handler"}, {File: "f.sn", Handler: "f.f"}}},
		{ID: "snakebite2", Extensions: []string{".sb"}, Handlers: []core.HandlerFile{{File: "index.sb", Handler: "index.handler"}}},
		{ID: "program", Handlers: []core.HandlerFile{{File: "run", Handler: "run"}}},
		{ID: "bin", Extensions: []string{""}, Handlers: []core.HandlerFile{{File: "bootstrap", Handler: "bootstrap.main"}}},
	}
	type test struct {
		files    string
		settings Settings
		id       core.RuntimeID
		handler  string
		doubt    string // what it begins with
		words    []string
	}
	tests := []test{
		{files: "handler.sn", id: "snake3.11", handler: "handler.handler"},
		{files: "f.sn handler.sn index.sb", id: "snake3.11", handler: "handler.handler", doubt: "there are handler.sn and index.sb: it is deployed for snake3.11; write 'runtime: snakebite'"},
		{files: "f.sn index.sb", id: "snake3.11", handler: "f.f", doubt: "there are f.sn and index.sb"},
		{files: "Buildfile index.sb", id: "snakebite2", handler: "index.handler"}, // whatever comes first
		{files: "Buildfile", id: "snake3.11", handler: "handler.handler"},
		{files: "Buildfile handler.sn", id: "snake3.11", handler: "handler.handler"},
		{files: "index.sb bootstrap", id: "snakebite2", handler: "index.handler", doubt: "there are index.sb and bootstrap"},
		{files: "index.sb f.sn", settings: Settings{Runtime: "snakebite"}, id: "snakebite2", handler: "index.handler"},
		{files: "f.sn", settings: Settings{Runtime: "snake"}, id: "snake3.11", handler: "f.f"},
		{files: "f.sn", settings: Settings{Runtime: "snake3.9"}, id: "snake3.9", handler: "f.f"},
		{files: "bootstrap", settings: Settings{Runtime: "bin"}, id: "bin", handler: "bootstrap.main"},
		{files: "app.sb f.sn", settings: Settings{Handler: "app.main"}, id: "snakebite2", handler: "app.main"},
		{files: "pkg/app.sn", settings: Settings{Handler: "pkg/app.main"}, id: "snake3.11", handler: "pkg/app.main"},
		{files: "pkg/app.sn", settings: Settings{Handler: "pkg.app.main"}, id: "snake3.11", handler: "pkg.app.main"},
		{files: "pkg/sub/app.sn", settings: Settings{Handler: "pkg/sub.app.main"}, id: "snake3.11", handler: "pkg/sub.app.main"},
		{files: "f.sn", settings: Settings{Handler: "pkg.app.main"}, words: []string{"pkg.sn or pkg.sb or pkg or run or pkg.app.sn or pkg/app.sn or … and 4 more;"}},
		{files: "f.sn", settings: Settings{Handler: "pkg..app.main"}, words: []string{"pkg.sn"}},
		{files: "pkg/app.v2.sn", settings: Settings{Handler: "pkg/app.v2.main", Runtime: "snake3.9"}, id: "snake3.9", handler: "pkg/app.v2.main"},
		{files: "f.sn", settings: Settings{Runtime: "snake3"}, words: []string{`"snake3"`, "snake3.11, snake3.9, snakebite2, program, bin"}},
		{files: "f.sn", settings: Settings{Runtime: "snake3.1"}, words: []string{`"snake3.1"`}},
		{files: "f.sn", settings: Settings{Runtime: "sna"}, words: []string{`"sna"`}},
		{files: "f.sn", settings: Settings{Runtime: "snakebite"}, words: []string{"no file index.sb;"}},
		{files: "other.txt", words: []string{"handler.sn or index.sb or run or bootstrap or f.sn or Buildfile;"}},
		{files: "handler.sn/x", words: []string{"no handler"}},
		{files: "f.sn", settings: Settings{Handler: "app.main"}, words: []string{`"app.main"`, "app.sn or app.sb or app"}},
		{files: "app.sb", settings: Settings{Handler: "app.main", Runtime: "snake"}, words: []string{"no file app.sn;"}},
	}
	for _, handler := range []string{"main", "../app.main", "/app.main", "app.", ".main", "a.b/c", "a::b"} {
		tests = append(tests,
			test{files: "f.sn main app.sn", settings: Settings{Handler: handler}, words: []string{files.Quote(handler), "file.symbol", "fix 'handler' in pipsqueak.yaml"}},
			test{files: "main run", settings: Settings{Handler: handler}, id: "program", handler: handler}) // the program gets the text, and knows its meaning
	}
	for _, test := range tests {
		dir := t.TempDir()
		for _, file := range strings.Fields(test.files) {
			filestest.Write(t, dir, map[string]string{file: ""})
		}
		choice, err := Detect(dir, test.settings, runtimes)
		if len(test.words) > 0 {
			coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, test.words...)
		} else if err != nil || choice.Runtime.ID != test.id || choice.Handler != test.handler || !strings.HasPrefix(choice.Doubt, test.doubt) || (test.doubt == "") != (choice.Doubt == "") {
			t.Errorf("%s with %+v: got %+v %v, want %s %s and %q", test.files, test.settings, choice, err, test.id, test.handler, test.doubt)
		}
	}
	_, err := Detect(t.TempDir(), Settings{}, nil)
	coretest.WantError(t, err, core.KindUnsupported, core.FaultWorker, "doctor")
}

// destinations returns so many different ones, as a list of YAML has them.
func destinations(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("'%d.example:443'", i))
	}
	return strings.Join(all, ", ")
}
