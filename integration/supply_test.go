package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Do signatures, bills of materials, vulnerabilities and locks protect a deploy?

// What a function is made of, and who says so.

// TestRequireSigned: a worker that asks for signatures deploys what one of its keys has signed, under the
// name and with the code that were signed, and nothing else.
func TestRequireSigned(t *testing.T) {
	system(t)
	dir := t.TempDir()
	keys := func(name string) (private string) {
		private = filepath.Join(dir, name)
		if _, stderr, err := (&worker{}).command(t, "", "keygen", private); err != nil {
			t.Fatal(stderr)
		}
		return private
	}
	ours, theirs := keys("ours"), keys("theirs")
	w := startWorker(t, filepath.Join(dir, "data"), "--require-signed", ours+".pub")
	code := filepath.Join(dir, "signed")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(code, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(code, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("handler.py", echo)

	a := w.put(t, "signed", handlerFile(echo))
	if f := a.expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest); !strings.Contains(f.Message, "signed is not signed") {
		t.Errorf("unsigned: %s", f.Message)
	}
	if _, stderr, err := w.command(t, "", "deploy", code, "--sign", theirs); err == nil || !strings.Contains(stderr, "none of the keys") {
		t.Errorf("another key: %v %s", err, stderr)
	}
	if left, err := os.ReadDir(filepath.Join(w.data, "staging")); err != nil || len(left) > 0 {
		t.Errorf("left of what was refused: %v %v", left, err)
	}
	if _, stderr, err := w.command(t, "", "deploy", code, "--sign", theirs, "--sign", ours); err != nil {
		t.Fatalf("signed: %s", stderr)
	}
	if got := result[string](t, w, "signed", `"x"`); got != "x" {
		t.Errorf("the signed function answers %q", got)
	}
	signed := decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/signed", nil))
	if len(signed.Signers) != 1 {
		t.Errorf("signers: %q, want the one that the worker knows", signed.Signers)
	}
	// An unsigned replacement changes nothing, nor does a restart.
	w.put(t, "signed", handlerFile("def handler(event, context):\n    return 'not signed'\n")).expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest)
	if got := result[string](t, w, "signed", `"x"`); got != "x" {
		t.Errorf("after a refused deploy it answers %q", got)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, w.data)
	if again := decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/signed", nil)); len(again.Signers) != 1 || again.Signers[0] != signed.Signers[0] {
		t.Errorf("after a restart it was signed by %q", again.Signers)
	}
	// A worker without keys says that it did not look.
	if _, stderr, err := w.command(t, "", "deploy", code, "--sign", theirs); err != nil || !strings.Contains(stderr, "its signature is not checked") {
		t.Errorf("without keys: %v %s", err, stderr)
	}
}

// TestBill: the bill of materials of a function is there, and is the same after a restart.
func TestBill(t *testing.T) {
	system(t)
	data := t.TempDir()
	w := startWorker(t, data)
	w.deploy(t, "billed", handlerFile(echo))
	bill, stderr, err := w.command(t, "", "sbom", "billed")
	if err != nil || !strings.Contains(bill, `"bomFormat": "CycloneDX"`) || !strings.Contains(bill, `"name": "billed"`) {
		t.Fatalf("%v %s %s", err, stderr, bill)
	}
	if xml, stderr, err := w.command(t, "", "sbom", "billed", "--format", "cyclonedx-xml"); err != nil || !strings.Contains(xml, `<bom xmlns="http://cyclonedx.org/schema/bom/1.6"`) {
		t.Errorf("%v %s %s", err, stderr, xml)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if again, stderr, err := startWorker(t, data).command(t, "", "sbom", "billed"); err != nil || again != bill {
		t.Errorf("after a restart: %v %s %s", err, stderr, again)
	}
}

// TestVulnerabilities: a deploy warns of a known vulnerability, and is refused when the operator wants that;
// what is deployed stays.
func TestVulnerabilities(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	dir := t.TempDir()
	database := filepath.Join(dir, "one.json")
	if err := os.WriteFile(database, []byte(`{"id":"GHSA-test","aliases":["CVE-2099-1"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"affected":[{"package":{"ecosystem":"npm","name":"isarray"},"ranges":[{"type":"SEMVER","events":[{"introduced":"2.0.0"},{"fixed":"2.0.5"}]}]}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	w := startWorker(t, filepath.Join(dir, "data"), "--vulnerabilities", database)
	f := files{"index.js": nodeEcho, "package.json": `{"dependencies":{"isarray":"2.0.4"}}`}
	w.deploy(t, "vulnerable", f)
	fixed := files{"index.js": nodeEcho, "package.json": `{"dependencies":{"isarray":"2.0.5"}}`}
	w.deploy(t, "repaired", fixed)
	const want = "isarray==2.0.4: CVE-2099-1 (GHSA-test), critical 9.8, fixed in 2.0.5"
	if out, stderr, err := w.command(t, "", "describe", "vulnerable"); err != nil || !strings.Contains(out, want) {
		t.Errorf("describe: %v %s %s", err, stderr, out)
	}
	all := decode[[]core.Function](t, w.ask(t, http.MethodGet, "/v1/functions", nil))
	if len(all) != 2 || all[0].Vulnerable != "" || all[1].Vulnerable != core.SeverityCritical {
		t.Errorf("the list: %+v", all)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, w.data, "--vulnerabilities", database, "--vulnerability-policy", "refuse")
	refused := w.put(t, "vulnerable", f).expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
	if !strings.Contains(refused.Message, "isarray==2.0.4 has CVE-2099-1 (GHSA-test), critical 9.8, fixed in 2.0.5") {
		t.Errorf("refused: %s", refused.Message)
	}
	if got := result[string](t, w, "vulnerable", `"x"`); got != "x" {
		t.Errorf("what was deployed before answers %q", got)
	}
	w.deploy(t, "vulnerable", fixed)
}

// TestFalseLock brings locks that know a package with a vulnerability by the name of another, in each
// language. They are refused, also when the package is in the store already, and nobody who shares it gets to
// hear the false name.
func TestFalseLock(t *testing.T) {
	system(t)
	dir := t.TempDir()
	database := filepath.Join(dir, "one.json")
	var affected []string
	for _, ecosystem := range []string{"PyPI", "npm", "RubyGems", "Debian", "Ubuntu"} {
		for _, name := range []string{"bad", "libbad1"} {
			affected = append(affected, fmt.Sprintf(`{"package":{"ecosystem":%q,"name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}`, ecosystem, name))
		}
	}
	if err := os.WriteFile(database, []byte(`{"id":"CVE-2099-7","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"affected":[`+strings.Join(affected, ",")+`]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	serve := []string{"serve", "--listen", "127.0.0.1:0"}
	refusing := []string{"--vulnerabilities", database, "--vulnerability-policy", "refuse"}
	for _, test := range []struct {
		language, program string
		function          files
		publish           func(t *testing.T, f files) (changed files, command []string) // a package, and the beginning of a command that starts a worker which finds it
		own               string                                                        // what its package URL has
		false             []string                                                      // instead
		unseen            bool                                                          // nothing says that it is false when the package is in the store: but the store does
	}{
		{"python", "python3", handlerFile(echo).with("requirements.txt", "bad\n"), func(t *testing.T, f files) (files, []string) {
			newPythonIndex(t, "").addWheel(t, "bad", "1.0", "", files{"bad.py": ""})
			return f, nil
		}, "pypi/bad@1.0", []string{"pypi/good@1.0", "pypi/bad@2.0", "gem/bad@1.0", "pypi/bad@1.0#of", "pypi/%62ad@1.0"}, false},
		{"node", "node", files{"index.js": nodeEcho, "package.json": `{"dependencies":{"bad":"1.0.0"}}`}, func(t *testing.T, f files) (files, []string) {
			r := newNPMIndex(t)
			r.add("bad", "1.0.0", nil, files{"index.js": ""})
			t.Setenv("NPM_CONFIG_REGISTRY", r.URL+"/")
			return f, nil
		}, "npm/bad@1.0.0", []string{"npm/good@1.0.0", "pypi/bad@1.0.0"}, false},
		{"ruby", "ruby", rubyFile(rubyEcho), func(t *testing.T, f files) (files, []string) {
			index := gemIndex(t, []gem{{"bad", "1.0.0", "", files{"lib/bad.rb": ""}}})
			t.Setenv("PIPSQUEAK_GEM_SOURCE", index)
			return f.with("Gemfile", fmt.Sprintf("source %q\ngem 'bad'\n", index)), nil
		}, "gem/bad@1.0.0", []string{"gem/good@1.0.0", "gem/bad@1.0.0?platform=java&x=y"}, false},
		{"native", "apt-get", files{"handler.c": echoC, "pipsqueak.yaml": "debian: [libbad1]\n"}, func(t *testing.T, f files) (files, []string) {
			sources := debianArchive(t, map[string]string{"bad": ""})
			return f, []string{"unshare", "--mount", "--propagation", "private", "sh", "-ec", `mount --bind "$1" /etc/apt/sources.list.d; shift; exec "$@"`, "sh", sources}
		}, "&upstream=libbad1", []string{"&upstream=good"}, true},
	} {
		t.Run(test.language, func(t *testing.T) {
			coretest.Requires(t, Runtime(test.program))
			f, command := test.publish(t, test.function)
			data := t.TempDir()
			start := func(flags ...string) *worker {
				t.Helper()
				all := slices.Concat(command, []string{filepath.Join(programs(t), "pipsqueak")}, serve, []string{"--data", data}, flags)
				w, err := launch(exec.Command(all[0], all[1:]...), data)
				if err != nil {
					t.Fatal(err)
				}
				stopWith(t, w)
				return w
			}
			w := start()
			code := t.TempDir()
			f.write(t, code)
			if _, stderr, err := w.command(t, "", "lock", code); err != nil {
				t.Fatal(stderr)
			}
			for _, made := range []string{"pipsqueak.lock", "package-lock.json", "Gemfile.lock"} {
				if text, err := os.ReadFile(filepath.Join(code, made)); err == nil {
					f = f.with(made, string(text))
				}
			}
			with := func(own string) files {
				var lock core.Lock
				if err := json.Unmarshal([]byte(f["pipsqueak.lock"]), &lock); err != nil || len(lock.Packages) != 1 || !strings.Contains(lock.Packages[0].URL, test.own) {
					t.Fatalf("%v: %s", err, f["pipsqueak.lock"])
				}
				lock.Packages[0].URL = strings.Replace(lock.Packages[0].URL, test.own, own, 1)
				text, err := json.Marshal(lock)
				if err != nil {
					t.Fatal(err)
				}
				return f.with("pipsqueak.lock", string(text))
			}
			refused := func(f files, words ...string) {
				t.Helper()
				said := w.put(t, "false", f).expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
				for _, word := range words {
					if !strings.Contains(said.Message, word) {
						t.Errorf("the message does not have %q: %s", word, said.Message)
					}
				}
			}
			for _, instead := range append(test.false, "") {
				refused(with(instead), "`pipsqueak lock`", "the lock says that", "bad")
			}
			if found := w.inventory(t); len(found.Packages) > 0 {
				t.Errorf("the store has %+v", found.Packages)
			}
			w.deploy(t, "true", f)
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			w = start(refusing...)
			refused(f, "CVE-2099-7")
			for _, instead := range append(test.false, "") {
				if test.unseen {
					refused(with(instead), "CVE-2099-7")
				} else {
					refused(with(instead), "`pipsqueak lock`")
				}
			}
			if found := w.inventory(t); len(found.Packages) != 1 || !strings.Contains(found.Packages[0].Locked.URL, test.own) {
				t.Errorf("the store has %+v", found.Packages)
			}
		})
	}
}
