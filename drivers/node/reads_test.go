package main

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

const locale = "LANG LC_ALL LC_MESSAGES"

// TestReads has packages read variables through functions of Node.js and of the language, and not through
// process.env alone.
func TestReads(t *testing.T) {
	cases := map[string]struct{ source, reads string }{
		"home":       {"exports.home = require('os').homedir();", "HOME"},
		"user":       {"exports.user = require('os').userInfo().username;", ""},
		"temporary":  {"exports.dir = require('node:os').tmpdir();", "TMPDIR"},
		"colours":    {"exports.depth = require('tty').WriteStream.prototype.getColorDepth();", "CI COLORTERM FORCE_COLOR NODE_DISABLE_COLORS NO_COLOR TEAMCITY_VERSION TERM TERM_PROGRAM TF_BUILD TMUX"}, //nolint:misspell // the names of the variables
		"given":      {"exports.depth = require('tty').WriteStream.prototype.getColorDepth({ TERM: 'dumb' });", ""},
		"resolves":   {"new (require('dns').Resolver)();", "LOCALDOMAIN RES_OPTIONS"},
		"starts":     {"require('child_process').spawnSync('true');", "*"},
		"module":     {"exports.imported = import('esm-env').catch(() => {});", "BY_IMPORT"},
		"lists":      {"exports.imported = import('esm-lists').catch(() => {});", "*"},
		"sets":       {"process.env.MINE = '1'; delete process.env.MINE; Object.assign(process.env, { MINE: '1' }); Object.getPrototypeOf(process.env);", ""},
		"loads":      {"exports.all = ['fs', 'http', 'https', 'dns', 'tls', 'os', 'util', 'worker_threads', 'readline', 'repl', 'v8', 'vm', 'zlib', 'http2', 'net'].map((name) => require('node:' + name)); require('util').inspect({}); console.log; new Error('x').stack; require('crypto').createHash('sha1');", ""},
		"zone":       {"exports.zone = new Date(0).getTimezoneOffset();", "TZ"},
		"zone-text":  {"exports.text = `${new Date(0)}`;", locale + " TZ"},
		"zone-parts": {"exports.time = new Date(2020, 1, 1).getTime();", "TZ"},
		"zone-parse": {"exports.time = Date.parse('2020-01-01T00:00');", "TZ"},
		"zone-call":  {"exports.text = Date();", locale + " TZ"},
		"zone-heir":  {"class Mine extends Date {}; exports.hours = new Mine('1/1/2020').constructor === Mine && new Mine(0) instanceof Date;", "TZ"},
		"zone-guess": {"exports.zone = Intl.DateTimeFormat('en').resolvedOptions().timeZone;", "TZ"},
		"zone-given": {"const d = new Date(0); new Intl.DateTimeFormat('en', { timeZone: 'UTC' }).format(d); d.toLocaleString('de', { timeZone: 'UTC' }); Date.UTC(2020, 1); new Date('2020-01-01'); new Date('2020-01-01T00:00Z'); new Date('Wed Jan 01 2020 00:00:00 GMT+0100 (CET)'); d.toISOString(); d.getUTCHours(); JSON.stringify(d); +d; d.toUTCString(); new Date(d); Date.now(); exports.same = d.constructor === Date;", ""},
		"zone-later": {"exports.zone = () => new Date().getHours();", ""},
		"locale":     {"exports.text = (1.5).toLocaleString();", locale},
		"locale-of":  {"exports.locale = new Intl.NumberFormat().resolvedOptions().locale;", locale},
		"locale-cmp": {"exports.order = ['a', 'b'].sort((a, b) => a.localeCompare(b));", locale},
		"locale-up":  {"exports.upper = 'i'.toLocaleUpperCase();", locale},
		"locale-xx":  {"exports.text = (1.5).toLocaleString('xx');", locale},
		"given-de":   {"(1.5).toLocaleString('de'); 'a'.localeCompare('b', 'de'); 'i'.toLocaleUpperCase('tr'); new Intl.Locale('de'); new Intl.PluralRules(['xx', 'de']);", ""},
	}
	files := map[string]string{"node_modules/esm-env/package.json": `{"type":"module","exports":"./x.js"}`, "node_modules/esm-env/x.js": "import { env } from 'process'; env.BY_IMPORT;",
		"node_modules/esm-lists/package.json": `{"type":"module","exports":"./x.js"}`, "node_modules/esm-lists/x.js": "import { env } from 'process'; Object.keys(env);"}
	var packages []drivertest.Probed
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		files["node_modules/"+name+"/index.js"] = cases[name].source
		packages = append(packages, drivertest.Probed{Name: name, Source: cases[name].source})
	}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		found := h.Probe(t, packages)
		for name, c := range cases {
			if h.Runtime.ID == "node20" {
				c.reads = strings.Replace(c.reads, " TF_BUILD", "", 1)
			}
			if got := strings.Join(found[name].Reads, " "); got != c.reads {
				t.Errorf("%s reads %q, want %q", name, got, c.reads)
			}
		}
	})
}

// TestZone compares what functions of the language give in two time zones, and two locales: those with
// differences are those that count as reading the variables.
func TestZone(t *testing.T) {
	runtime, err := filepath.Abs("runtime/loop")
	if err != nil {
		t.Fatal(err)
	}
	// Each function is called without arguments, but for those that need some.
	const script = `
globalThis.main = globalThis;
process.chdir(process.argv[1]);
const { noteZone } = require(process.argv[1] + '/zone.js');
const noted = new Set();
noteZone((name) => noted.add(name === 'TZ' ? name : 'LANG'));
const results = {}, date = () => new Date(1577934245678);
const tried = (name, run) => {
  noted.clear();
  let result;
  try { result = run(); } catch (error) { result = String(error); }
  results[name] = [String(result?.resolvedOptions ? JSON.stringify(result.resolvedOptions()) : result?.getTime ? result.getTime() : result), [...noted].sort().join()];
};
for (const name of Object.getOwnPropertyNames(Date.prototype)) {
  if (!/constructor|^set/.test(name)) tried('date.' + name, () => date()[name]());
  if (/^set/.test(name)) tried('date.' + name, () => { const d = date(); d[name](70); return d.getTime(); });
}
tried('date', () => date() + '');
tried('Date', () => Date().replace(/.*:../, ''));
for (const text of ['2020', '2020-01', '2020-01-01', '2020-01-01T00:00', '2020-01-01T00:00Z', '2020-01-01T00:00-05:00', '1/1/2020', '1-1-2020', 'Jan 1 2020', 'Wed, 01 Jan 2020 00:00:00 GMT', 'Wed Jan 01 2020 00:00:00 GMT+0100 (CET)', '+012020-01-01'])
  for (const [how, make] of [['new Date', (x) => new Date(x)], ['Date.parse', Date.parse]]) tried(how + ' ' + text, () => make(text));
tried('parts', () => new Date(2020, 0));
tried('UTC', () => Date.UTC(2020, 0));
for (const name of Object.getOwnPropertyNames(Intl)) if (/^[A-Z]/.test(name)) tried('Intl.' + name, () => new Intl[name](undefined, { type: 'region' }));
for (const [name, value] of Object.entries({ Number: 1234.5, BigInt: 12345n, Array: [1234.5], Float64Array: new Float64Array([1234.5]), Object: {} })) tried(name + '.toLocaleString', () => value.toLocaleString());
for (const name of Object.getOwnPropertyNames(String.prototype)) if (/[lL]ocale/.test(name)) tried('string.' + name, () => 'i'[name]('\u0131'));
tried('compare', () => ['z', '\u00e4'].sort((a, b) => a.localeCompare(b)));
tried('language', () => globalThis.navigator?.language);
console.log(JSON.stringify(results));`
	eachVersion(t, nil, func(t *testing.T, h *drivertest.House) {
		run := func(env ...string) map[string][2]string {
			cmd := exec.CommandContext(t.Context(), h.Runtime.Path, "-e", script, runtime)
			cmd.Env = append(os.Environ(), env...)
			out, err := cmd.Output()
			var found map[string][2]string
			if json.Unmarshal(out, &found) != nil {
				t.Fatal(err, string(out))
			}
			return found
		}
		base := run("TZ=UTC", "LC_ALL=C")
		for name, others := range map[string][]map[string][2]string{
			"TZ":   {run("TZ=Asia/Tokyo", "LC_ALL=C"), run("TZ=America/New_York", "LC_ALL=C")},
			"LANG": {run("TZ=UTC", "LC_ALL=tr_TR.UTF-8"), run("TZ=UTC", "LC_ALL=sv_SE.UTF-8")},
		} {
			for call, one := range base {
				differs := slices.ContainsFunc(others, func(other map[string][2]string) bool { return other[call][0] != one[0] })
				if noted := slices.Contains(strings.Split(one[1], ","), name); differs && !noted {
					t.Errorf("%s depends on %s, and is not noted", call, name)
				}
			}
		}
		for call, noted := range map[string]string{"date.toISOString": "", "date.getHours": "TZ", "Intl.NumberFormat": "LANG", "Intl.DateTimeFormat": "LANG,TZ", "new Date 2020-01-01": "", "UTC": ""} {
			if base[call][1] != noted {
				t.Errorf("%s reads %q, want %q", call, base[call][1], noted)
			}
		}
	})
}

// TestLocale has functions with a locale and a time zone of their own, as a plain node has them, whatever an
// instance was forked from.
func TestLocale(t *testing.T) {
	const source = "[Intl.NumberFormat().resolvedOptions().locale, (1234.5).toLocaleString(), 'i'.toLocaleUpperCase(), Intl.DateTimeFormat().resolvedOptions().timeZone, new Date(0).getHours(), globalThis.navigator?.language]"
	files := map[string]string{"handler.js": "exports.handler = async () => " + source + ";"}
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		zygotes := generations(t, h)
		for _, own := range []map[string]string{
			nil, {"LC_ALL": "tr_TR.UTF-8"}, {"LANG": "de_DE", "TZ": "Asia/Tokyo"}, {"LC_MESSAGES": "fr_FR.UTF-8", "LANG": "de_DE"}, {"LC_ALL": ""}, {"LANG": "sr_RS@latin"}, {"LANG": "POSIX"}, {"LC_ALL": "C.UTF-8", "LANG": "de_DE"},
			{"LANG": "nonsense.x"}, {"LANG": "no_NO.UTF-8@nynorsk"}, {"LANG": "de@euro"}, {"LANG": "zh_TW.Big5"},
		} {
			env := core.Everywhere()
			maps.Copy(env, own)
			plain := exec.CommandContext(t.Context(), h.Runtime.Path, "-p", "JSON.stringify("+source+")")
			plain.Env = []string{}
			for name, value := range env {
				plain.Env = append(plain.Env, name+"="+value)
			}
			out, err := plain.Output()
			if err != nil {
				t.Fatal(err)
			}
			for i, zygote := range zygotes {
				got := drivertest.Ask(t, h.Instance(t, zygote, nil, func(load *core.HandlerLoad) { load.Env = env }), "1")
				if want := "R" + strings.TrimSpace(string(out)); got != want {
					t.Errorf("generation %d, %v: %s, want %s", i, own, got, want)
				}
			}
		}
	})
}

// TestEnvironment has packages change variables when they are imported: an instance has them as its own
// import of the packages would have left them, whatever imports them.
func TestEnvironment(t *testing.T) {
	files := map[string]string{
		"handler.js":                 "require('/packages/sets-1/node_modules/sets');\nconst { MINE, USER, SHELL, A, NODE_PATH, toString } = process.env;\nexports.handler = async () => [MINE, USER, SHELL, A, NODE_PATH, toString, require('child_process').execSync('echo $MINE-$SHELL-$A').toString()];",
		"node_modules/sets/index.js": "process.env.MINE = 'mine'; process.env.USER = 'other'; delete process.env.SHELL; process.env.GONE = '1'; delete process.env.GONE;",
	}
	set := core.NewSet(core.Package{Name: "sets", Version: "1", Digest: "any"})
	eachVersion(t, files, func(t *testing.T, h *drivertest.House) {
		h.Packages = t.TempDir()
		drivertest.Write(t, h.Packages, files)
		root := h.Root(t)
		zygote, _, err := h.Zygote(t, root, set, "sets")
		if err != nil {
			t.Fatal(err)
		}
		env := core.Everywhere()
		maps.Copy(env, map[string]string{"A": "a", "GONE": "x", "toString": "text", "MINE": "before"})
		for start, parent := range map[string]*sandbox.Sandbox{"cold": root, "forked": zygote} {
			got := drivertest.Ask(t, h.Instance(t, parent, set, func(load *core.HandlerLoad) { load.Env = env }), "1")
			if want := `R["mine","other",null,"a","/function/node_modules","text","mine--a\n"]`; got != want {
				t.Errorf("%s: %s, want %s", start, got, want)
			}
		}
	})
}
