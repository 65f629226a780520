package integration

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What is a function started with, besides its code?

// readers answer with the variables that their event names.
var readers = map[string]files{
	"python": {"handler.py": "import os\ndef handler(event, context):\n    return [os.environ.get(name) for name in event]\n"},
	"node":   {"index.js": "exports.handler = async (event) => event.map((name) => process.env[name] ?? null);\n"},
	"ruby":   {"handler.rb": "def handler(event:, context:) = event.map { |name| ENV[name] }\n"},
	"native": {"handler.cc": `#include <cstdlib>
#include <pipsqueak.hpp>
static std::string read(std::string_view event, pipsqueak::context &)
{
    std::string answer;
    for (size_t at = 0; (at = event.find('"', at)) != event.npos;) {
        size_t end = event.find('"', at + 1);
        const char *value = std::getenv(std::string(event.substr(at + 1, end - at - 1)).c_str());
        answer += (answer.empty() ? "[" : ",") + (value ? '"' + std::string(value) + '"' : std::string("null"));
        at = end + 1;
    }
    return answer + "]";
}
PIPSQUEAK_HANDLER(handler, read)
`},
}

// read returns the variables of a reader.
func read(t testing.TB, w *worker, function, names string) string {
	t.Helper()
	a := w.run(t, function, names)
	if a.status != http.StatusOK {
		t.Fatalf("run %s: %v", function, a)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(a.body)), ", ", ",")
}

// TestEnv changes the environment of functions by the command line, without an upload.
func TestEnv(t *testing.T) {
	system(t)
	program(t, "c++")
	data := t.TempDir()
	w := startWorker(t, data)
	w.namespace(t, core.NamespaceSpec{Name: "team"})
	change := func(args ...string) string {
		t.Helper()
		stdout, stderr, err := w.command(t, "", append([]string{"env"}, args...)...)
		if err != nil {
			t.Fatalf("env %v: %v\n%s%s", args, err, stdout, stderr)
		}
		return stdout
	}
	for language, source := range readers {
		name := "reads-" + language + ".team"
		w.deploy(t, name, source.with("pipsqueak.yaml", "env:\n  LEVEL: file\n"))
		if got := read(t, w, name, `["LEVEL","REGION"]`); got != `["file",null]` {
			t.Errorf("%s: %s", language, got)
		}
		if said := change("set", name, "LEVEL=debug", "REGION=a=b"); !strings.Contains(said, "changed the environment of "+name+", which is version 2 now") {
			t.Errorf("%s: %s", language, said)
		}
		a := w.run(t, name, `["LEVEL","REGION"]`)
		if start := a.header.Get("Pipsqueak-Start"); start != "fork" || !strings.Contains(strings.ReplaceAll(string(a.body), ", ", ","), `["debug","a=b"]`) {
			t.Errorf("%s: %s start, %v", language, start, a)
		}
		w.deploy(t, name, source.with("pipsqueak.yaml", "env:\n  LEVEL: file\n  MORE: x\n")) // keeps what was set
		if got := read(t, w, name, `["LEVEL","REGION","MORE"]`); got != `["debug","a=b","x"]` {
			t.Errorf("%s after a deploy: %s", language, got)
		}
		change("unset", name, "LEVEL")
		if got := read(t, w, name, `["LEVEL","REGION"]`); got != `["file","a=b"]` {
			t.Errorf("%s: %s", language, got)
		}
	}
	const name = "reads-python.team"
	if listed := strings.Join(strings.Fields(change("list", name)), " "); listed != "NAME VALUE FROM LEVEL file pipsqueak.yaml MORE x pipsqueak.yaml REGION a=b env set" {
		t.Errorf("the list is %s", listed)
	}

	// What runs ends with what it was started with, and nothing is started with it any more.
	w.deploy(t, "busy", handlerFile("import os, time\ndef handler(event, context):\n    print('"+begun+"', flush=True)\n    time.sleep(event)\n    return os.environ.get('X')\n"))
	pending := inFlight(t, w, "busy", `2`)
	change("set", "busy", "X=new", "--wait", "deployed")
	if got := result[*string](t, w, "busy", `0`); got == nil || *got != "new" {
		t.Error("an instance of the earlier version serves an event")
	}
	if a := <-pending; strings.TrimSpace(string(a.body)) != "null" {
		t.Errorf("the running event: %v", a)
	}
	eventually(t, patience, "the instance of the earlier version ends", func() bool { return len(w.instances(t, "busy")) == 1 })

	// A value with which the handler cannot be imported changes nothing.
	w.deploy(t, "strict", handlerFile("import os\nN = int(os.environ.get('N', '1'))\ndef handler(event, context):\n    return N\n"))
	if _, stderr, err := w.command(t, "", "env", "set", "strict", "N=many"); err == nil || !strings.Contains(stderr, "ValueError") || !strings.Contains(stderr, "--force") {
		t.Errorf("%v, %s", err, stderr)
	}
	if got := result[int](t, w, "strict", `0`); got != 1 {
		t.Errorf("strict answers %d", got)
	}
	_, deployer := w.token(t, "deploys", "--scopes", "deploy", "--functions", "strict")
	_, reader := w.token(t, "reads", "--scopes", "read,invoke")
	for token, path := range map[string]string{deployer: "busy", reader: "strict"} {
		a, err := w.do(context.Background(), "POST", "/v1/functions/"+path+"/env", strings.NewReader(`{"set":{"N":"2"}}`), "Authorization: Bearer "+token)
		if err != nil || a.status != http.StatusForbidden {
			t.Errorf("%s: %v, %v", path, a, err)
		}
	}
	if a, err := w.do(context.Background(), "POST", "/v1/functions/strict/env", strings.NewReader(`{"set":{"N":"2"}}`), "Authorization: Bearer "+deployer); err != nil || a.status != http.StatusOK {
		t.Errorf("%v, %v", a, err)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, data)
	if a := w.with(t, reader, "POST", "/run/strict"); strings.TrimSpace(string(a.body)) != "2" {
		t.Errorf("after a restart: %v", a)
	}
}
