package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Who sees a secret?

// holders answer with the secret in a variable, the one in a file, and the file's mode.
var holders = map[string]files{
	"python": {"handler.py": "import os\ndef handler(event, context):\n    with open('/run/secrets/key.pem') as f:\n        return [os.environ['DB_URL'], f.read(), oct(os.stat(f.name).st_mode & 0o777)[2:]]\n"},
	"node":   {"index.js": "const fs = require('fs');\nconst file = '/run/secrets/key.pem';\nexports.handler = async () => [process.env.DB_URL, fs.readFileSync(file, 'utf8'), (fs.statSync(file).mode & 0o777).toString(8)];\n"},
	"ruby":   {"handler.rb": "def handler(event:, context:)\n  file = '/run/secrets/key.pem'\n  [ENV['DB_URL'], File.read(file), (File.stat(file).mode & 0o777).to_s(8)]\nend\n"},
	"native": {"handler.cc": `#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sys/stat.h>
#include <pipsqueak.hpp>
static std::string show(std::string_view, pipsqueak::context &)
{
    const char *name = "/run/secrets/key.pem";
    std::ifstream file(name);
    std::string text((std::istreambuf_iterator<char>(file)), {}), quoted;
    for (char c : text)
        quoted += c == '\n' ? "\\n" : std::string(1, c);
    struct stat about = {};
    stat(name, &about);
    char mode[8];
    snprintf(mode, sizeof mode, "%o", about.st_mode & 0777);
    return "[\"" + std::string(std::getenv("DB_URL")) + "\",\"" + quoted + "\",\"" + mode + "\"]";
}
PIPSQUEAK_HANDLER(handler, show)
`},
}

const usesBoth = "secrets:\n- db-url\n- tls-key: /run/secrets/key.pem\n"

// setSecret sets a secret by the command line, from standard input.
func (w *worker) setSecret(t testing.TB, name, value string) string {
	t.Helper()
	stdout, stderr, err := w.command(t, value, "secret", "set", name)
	if err != nil {
		t.Fatalf("secret set %s: %v\n%s%s", name, err, stdout, stderr)
	}
	return stdout
}

// TestSecrets gives secrets to functions in every language, and changes them.
func TestSecrets(t *testing.T) {
	system(t)
	program(t, "c++")
	w := startWorker(t, t.TempDir())
	w.namespace(t, core.NamespaceSpec{Name: "team"})
	refused := w.put(t, "holds-python", holders["python"].with("pipsqueak.yaml", usesBoth)).expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest)
	if !strings.Contains(refused.Message, "its secret db-url is not there: 'pipsqueak secret set db-url' makes it") {
		t.Error(refused.Message)
	}
	if said := w.setSecret(t, "db-url", "value of default\n"); said != "set the secret db-url, which 0 functions use\n" {
		t.Error(said)
	}
	w.setSecret(t, "tls-key", "two\nlines")
	for language, source := range holders {
		t.Run(language, func(t *testing.T) {
			name := "holds-" + language
			source := source.with("pipsqueak.yaml", usesBoth)
			version := w.deploy(t, name, source).Version
			if got := fmt.Sprint(result[[]string](t, w, name, `{}`)); got != "[value of default two\nlines 400]" {
				t.Errorf("%s has %s", language, got)
			}
			w.setSecret(t, "db-url", "value of "+language)
			a := w.run(t, name, `{}`)
			if got := decode[[]string](t, a)[0]; got != "value of "+language || a.header.Get("Pipsqueak-Start") != "fork" {
				t.Errorf("after a change %s has %s, by a %s start", language, got, a.header.Get("Pipsqueak-Start"))
			}
			if f, err := w.client().Function(t.Context(), name); err != nil || f.Version != version+1 {
				t.Errorf("version %d, %v; want %d", f.Version, err, version+1)
			}
			w.setSecret(t, "db-url", "value of default")
		})
	}

	// A namespace has its own.
	w.put(t, "holds.team", holders["python"].with("pipsqueak.yaml", usesBoth)).expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest)
	w.setSecret(t, "db-url.team", "value of team")
	w.setSecret(t, "tls-key.team", "key of team")
	w.deploy(t, "holds.team", holders["python"].with("pipsqueak.yaml", usesBoth))
	if got := fmt.Sprint(result[[]string](t, w, "holds.team", `{}`)); got != "[value of team key of team 400]" {
		t.Errorf("holds.team has %s", got)
	}
	if _, stderr, err := w.command(t, "", "secret", "remove", "db-url.team"); err == nil || !strings.Contains(stderr, "the function holds.team uses the secret db-url.team") {
		t.Errorf("%v, %s", err, stderr)
	}
	if err := w.client().Remove(context.Background(), "holds.team"); err != nil {
		t.Fatal(err)
	}
	if err := w.client().RemoveNamespace(context.Background(), "team"); err != nil {
		t.Fatal(err)
	}
	w.namespace(t, core.NamespaceSpec{Name: "team"})
	if all, err := w.client().Secrets(context.Background()); err != nil || len(all) != 2 {
		t.Errorf("a namespace that was made again has secrets: %+v, %v", all, err)
	}

	// What is no text is a file, byte for byte.
	raw := "\x00\xff\n"
	file := filepath.Join(t.TempDir(), "raw")
	writeFile(t, file, raw)
	if _, stderr, err := w.command(t, "", "secret", "set", "raw", file); err != nil {
		t.Fatal(stderr)
	}
	code := handlerFile("import base64\ndef handler(event, context):\n    return base64.b64encode(open('/run/secrets/raw', 'rb').read()).decode()\n")
	w.put(t, "raw", code.with("pipsqueak.yaml", "secrets: [raw]\n")).expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest)
	w.deploy(t, "raw", code.with("pipsqueak.yaml", "secrets:\n- raw: /run/secrets/raw\n"))
	if got := result[string](t, w, "raw", `{}`); got != base64.StdEncoding.EncodeToString([]byte(raw)) {
		t.Errorf("the file has %s", got)
	}

	// Who may deploy all of a namespace, and nobody else, sets its secrets.
	_, one := w.token(t, "one", "--scopes", "deploy,read", "--functions", "raw")
	_, team := w.token(t, "team", "--scopes", "deploy,read", "--functions", "*.team")
	for _, test := range []struct {
		token, name string
		status      int
	}{{one, "raw", 403}, {team, "raw", 403}, {team, "own.team", 200}} {
		if a := w.with(t, test.token, "PUT", "/v1/secrets/"+test.name); a.status != test.status {
			t.Errorf("%s: %v", test.name, a)
		}
	}
	if a := w.with(t, team, "GET", "/v1/secrets"); strings.Count(string(a.body), `"name"`) != 1 || !strings.Contains(string(a.body), "own.team") {
		t.Errorf("the secrets of the team are %s", a.body)
	}
}

// TestSecretsAreNowhereElse looks for a secret everywhere but in the instances that have it.
func TestSecretsAreNowhereElse(t *testing.T) {
	system(t)
	program(t, "c++")
	data := t.TempDir()
	w := startWorker(t, data)
	const word = "a-word-that-nobody-else-says"
	w.setSecret(t, "db-url", word)
	w.setSecret(t, "tls-key", "-----BEGIN-----\n"+word+"-as-a-file\n")
	for language, source := range holders {
		w.deploy(t, "holds-"+language, source.with("pipsqueak.yaml", usesBoth))
		for range 3 { // also as a child made ahead
			if got := result[[]string](t, w, "holds-"+language, `{}`); got[0] != word {
				t.Fatal(got)
			}
		}
	}
	leak := "import os, sys\ndef handler(event, context):\n    print('I connect to', os.environ['DB_URL'])\n    print(open('/run/secrets/key.pem').read(), file=sys.stderr)\n" +
		"    try:\n        raise ValueError(os.environ['DB_URL'])\n    except ValueError as error:\n        raise KeyError('no ' + os.environ['DB_URL']) from error\n"
	w.deploy(t, "leaks", handlerFile(leak).with("pipsqueak.yaml", usesBoth))
	failed := w.run(t, "leaks", `{}`)
	failed.expectError(t, core.KindException, core.FaultHandler, http.StatusInternalServerError)
	w.deploy(t, "relays", handlerFile("def handler(event, context):\n    return context.invoke('leaks')\n"))
	relayed := w.run(t, "relays", `{}`)
	atImport := w.put(t, "import", handlerFile("import os\nprint(os.environ['DB_URL'])\nraise ValueError(os.environ['DB_URL'])\n").with("pipsqueak.yaml", usesBoth))
	for what, a := range map[string]answer{"the answer": failed, "the answer of its caller": relayed, "the deploy": atImport} {
		if text := string(a.body); strings.Contains(text, word) || !strings.Contains(text, "[secret db-url]") {
			t.Errorf("%s says %v", what, a)
		}
	}
	text := ""
	eventually(t, patience, "the log has what was printed", func() bool {
		text = string(w.ask(t, http.MethodGet, "/v1/functions/leaks/logs", nil).body)
		return strings.Contains(text, "I connect to [secret db-url]") && strings.Contains(text, "KeyError") && strings.Contains(text, "[secret tls-key]")
	})
	for _, path := range []string{"functions", "functions/leaks", "functions/leaks/logs", "functions/relays/logs", "functions/leaks/sbom", "functions/leaks/packages", "secrets", "tree", "packages", "namespaces"} {
		if a := w.ask(t, http.MethodGet, "/v1/"+path, nil); a.status != http.StatusOK || strings.Contains(string(a.body), word) {
			t.Errorf("%s says %v", path, a)
		}
	}
	for _, command := range [][]string{{"describe", "leaks"}, {"secret", "list"}, {"env", "list", "leaks"}} {
		if stdout, stderr, err := w.command(t, "", command...); err != nil || strings.Contains(stdout+stderr, word) {
			t.Errorf("%v: %v, %s%s", command, err, stdout, stderr)
		}
	}
	if strings.Contains(w.logs.String(), word) {
		t.Error("the worker's log has it")
	}
	inFiles(t, data, word)

	// Processes: an instance has it, and no zygote, driver, init or keeper.
	instances := map[int]bool{}
	for _, n := range w.snapshot(t).Nodes {
		if n.Role == core.RoleInstance {
			instances[n.PID] = true
		}
	}
	if held := slices.ContainsFunc(w.instances(t, "holds-python"), func(n core.NodeInfo) bool { return inMemory(t, n.PID, word) }); !held {
		t.Error("what is looked for in others is not found in an instance")
	}
	searched := 0
	for _, pid := range descendants(w.cmd.Process.Pid) {
		if instances[pid] || pid == w.cmd.Process.Pid { // the worker opens them
			continue
		}
		searched++
		if environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); bytes.Contains(environ, []byte(word)) || inMemory(t, pid, word) {
			t.Errorf("process %d (%s) has it", pid, commandLine(pid))
		}
	}
	if searched < 8 { // four drivers and as many zygotes at least
		t.Errorf("only %d processes were searched", searched)
	}
}

// inFiles looks for a word in all files of a directory.
func inFiles(t *testing.T, dir, word string) {
	t.Helper()
	read := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if read++; bytes.Contains(text, []byte(word)) {
			t.Errorf("%s has it", path)
		}
		return err
	})
	if err != nil || read < 5 {
		t.Errorf("%d files, %v", read, err)
	}
}

// inMemory looks for a word in what a process can write to.
func inMemory(t *testing.T, pid int, word string) bool {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false // it has ended
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false
	}
	defer memory.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		const piece = 1 << 20
		buffer := make([]byte, piece+len(word))
		for at := from; at < to; at += piece {
			n, _ := memory.ReadAt(buffer[:min(int64(len(buffer)), to-at)], at)
			if bytes.Contains(buffer[:n], []byte(word)) {
				return true
			}
		}
	}
	return false
}

// TestSecretKeys exchanges the key, and loses it.
func TestSecretKeys(t *testing.T) {
	system(t)
	data := t.TempDir()
	keys := filepath.Join(t.TempDir(), "keys")
	first, second := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)), base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, 32))
	with := func(text string) *worker {
		t.Helper()
		writeFile(t, keys, text)
		if err := os.Chmod(keys, 0o600); err != nil {
			t.Fatal(err)
		}
		return startWorker(t, data, "--secret-keys", keys)
	}
	stop := func(w *worker) {
		t.Helper()
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
	}
	w := with(first)
	w.setSecret(t, "word", "top secret")
	w.deploy(t, "f", handlerFile("import os\ndef handler(event, context):\n    return os.environ['WORD']\n").with("pipsqueak.yaml", "secrets: [word]\n"))
	stop(w)
	w = with(second + "\n" + first)
	if !strings.Contains(w.logs.String(), `"sealed again"=1`) {
		t.Errorf("nothing is sealed again: %s", w.logs)
	}
	stop(w)
	w = with(second)
	if got := result[string](t, w, "f", `{}`); got != "top secret" {
		t.Errorf("after the exchange of the key: %s", got)
	}
	stop(w)
	w = with(first)
	a := w.run(t, "f", `{}`).expectError(t, core.KindUnavailable, core.FaultWorker, http.StatusServiceUnavailable)
	if !strings.Contains(a.Message, "the secret word cannot be opened: the worker does not have the key") {
		t.Error(a.Message)
	}
	if all, err := w.client().Secrets(context.Background()); err != nil || len(all) != 1 || !strings.Contains(all[0].Lost, "does not have the key") {
		t.Errorf("%+v, %v", all, err)
	}
	w.setSecret(t, "word", "another one")
	if got := result[string](t, w, "f", `{}`); got != "another one" {
		t.Errorf("set again: %s", got)
	}
	if err := os.Chmod(keys, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := start(programs(t), t.TempDir(), "--secret-keys", keys); err == nil || !strings.Contains(err.Error(), "chmod 600 "+keys) {
		t.Errorf("keys that others can read: %v", err)
	}
}
