package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Who attacks at the door: clients with tokens that are not for this, strangers, and pages that functions
// serve.

// door returns a worker that has tokens, with the functions secret.others and own.team.
func (a *arena) door(t *testing.T) *worker {
	t.Helper()
	if a.locked == nil {
		a.locked = a.another(t)
		for _, namespace := range []string{"others", "team"} {
			operate(t, a.locked, "namespace", "create", namespace)
		}
		for _, name := range []string{"secret.others", "own.team"} {
			dir := filepath.Join(t.TempDir(), "function")
			handlerFile(echo).write(t, dir)
			operate(t, a.locked, "deploy", dir, "--name", name, "--wait", "deployed")
		}
	}
	return a.locked
}

// another starts one more worker of the build that is attacked. It is there until the arena is not.
func (a *arena) another(t *testing.T) *worker {
	t.Helper()
	data := filepath.Join(a.host, fmt.Sprint("another-", len(a.others)))
	w, err := launch(exec.Command(filepath.Join(a.programs, "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data), data)
	if err != nil {
		t.Fatal(err)
	}
	a.others = append(a.others, w)
	return w
}

// operate runs a command of the operator's, and returns what it prints.
func operate(t *testing.T, w *worker, arguments ...string) string {
	t.Helper()
	stdout, stderr, err := by(t, nil, append(arguments, "--server", w.socket())...)
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", arguments, err, stdout, stderr)
	}
	return stdout
}

// entered returns what a request with a token got done, if it did.
func entered(t *testing.T, w *worker, token, method, path string, body []byte) string {
	t.Helper()
	headers := []string{}
	if token != "" {
		headers = append(headers, "Authorization: Bearer "+token)
	}
	answer, err := w.do(t.Context(), method, path, bytes.NewReader(body), headers...)
	if coretest.Must(t, err); answer.status < http.StatusBadRequest {
		return fmt.Sprintf("%s %s: %v", method, path, answer)
	}
	return ""
}

// teams makes a token for a namespace, and returns the try of a request with it that is of another.
func teams(scope, method, path string) try {
	return func(t *testing.T, a *arena) string {
		w := a.door(t)
		_, token := w.token(t, "team", "--scopes", scope, "--functions", "*.team")
		body := []byte(`1`)
		if method == http.MethodPut {
			body = handlerFile(echo).archive(t)
		}
		return entered(t, w, token, method, path, body)
	}
}

// How a browser says that a page of the same site, or of the same address, has sent a request.
const sameSite, sameOrigin = "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: same-origin"

var doorAttacks = []outsider{
	{attack{name: "invoke a function of another namespace by a token", walls: "reach of tokens"}, "client", teams("invoke", http.MethodPost, "/run/secret.others")},
	{attack{name: "open a page of another namespace by a token", walls: "reach of tokens"}, "client", teams("invoke", http.MethodGet, "/fn/secret.others/")},
	{attack{name: "read a function of another namespace by a token", walls: "reach of tokens"}, "client", teams("read", http.MethodGet, "/v1/functions/secret.others")},
	{attack{name: "deploy into another namespace by a token", walls: "reach of tokens"}, "client", teams("deploy", http.MethodPut, "/v1/functions/mine.others")},
	{attack{name: "list functions of another namespace by a token", walls: "reach of tokens"}, "client", func(t *testing.T, a *arena) string {
		w := a.door(t)
		_, token := w.token(t, "team", "--scopes", "read", "--functions", "*.team")
		if text := string(w.with(t, token, http.MethodGet, "/v1/functions").body); strings.Contains(text, "secret.others") {
			return text
		}
		return ""
	}},
	{attack{name: "remove a function of another namespace by a token", walls: "reach of tokens"}, "client", teams("deploy", http.MethodDelete, "/v1/functions/secret.others")},
	{attack{name: "make a token that may do more than its own", walls: "lesser tokens"}, "client", func(t *testing.T, a *arena) string {
		w := a.door(t)
		_, token := w.token(t, "team", "--scopes", "admin", "--functions", "*.team")
		return entered(t, w, token, http.MethodPost, "/v1/tokens", []byte(`{"name":"more","scopes":["admin"],"functions":["*"]}`))
	}},
	{attack{name: "use a token that was revoked", walls: "revocation"}, "client", func(t *testing.T, a *arena) string {
		w := a.door(t)
		id, token := w.token(t, "former", "--scopes", "read")
		operate(t, w, "token", "revoke", id)
		return entered(t, w, token, http.MethodGet, "/v1/functions", nil)
	}},
	{attack{name: "use a worker without its token", walls: "guard"}, "client", func(t *testing.T, a *arena) string {
		w := a.door(t)
		w.token(t, "any", "--scopes", "read")
		return entered(t, w, "", http.MethodPost, "/run/own.team", []byte(`1`)) + entered(t, w, "", http.MethodGet, "/v1/tree", nil)
	}},
	{attack{name: "learn without a token what keeps a worker from being ready", walls: "one word"}, "client", func(t *testing.T, a *arena) string {
		w := a.door(t)
		w.token(t, "any", "--scopes", "read")
		if answer, err := w.do(t.Context(), http.MethodGet, "/readyz", nil); err != nil || strings.Contains(string(answer.body), "disk") {
			return fmt.Sprint(answer, err)
		}
		return ""
	}},

	{attack{name: "read functions from a page that a function serves", walls: "origins"}, "page", func(t *testing.T, a *arena) string {
		return a.asked(t, http.MethodGet, "/v1/functions", nil, "", sameOrigin)
	}},
	{attack{name: "deploy from a page that a function serves", walls: "origins"}, "page", func(t *testing.T, a *arena) string {
		return a.asked(t, http.MethodPut, "/v1/functions/paged", bytes.NewReader(handlerFile(echo).archive(t)), "", sameOrigin, "Origin: "+a.worker.url)
	}},
	{attack{name: "deploy from a page at a function's own host", walls: "origins"}, "page", func(t *testing.T, a *arena) string {
		origin := strings.Replace(a.worker.url, "127.0.0.1", a.victim(t)+".localhost", 1)
		return a.asked(t, http.MethodPut, "/v1/functions/paged", bytes.NewReader(handlerFile(echo).archive(t)), "localhost", sameSite, "Origin: "+origin)
	}},
	{attack{name: "post to a function from a page of another one's host", walls: "origins"}, "page", func(t *testing.T, a *arena) string {
		origin := strings.Replace(a.worker.url, "127.0.0.1", "another.localhost", 1)
		return a.asked(t, http.MethodPost, "/", strings.NewReader(`1`), a.victim(t)+".localhost", sameSite, "Origin: "+origin)
	}},

	{attack{name: "set a header of the connection by a response", walls: "hop headers"}, "handler", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "hopping", handlerFile("def handler(event, context):\n    return {'statusCode': 200, 'headers': {'Keep-Alive': 'timeout=9999', 'Upgrade': 'attack'}}\n"))
		if back := a.spoken(t, "GET /fn/hopping HTTP/1.1\r\nHost: localhost\r\n\r\n"); strings.Contains(back, "9999") || strings.Contains(back, "attack") {
			return back
		}
		return ""
	}},
	{attack{name: "forge what the worker says in the headers of a response", walls: "worker's headers"}, "handler", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "forging", handlerFile("forged = {'X-REQUEST-ID': 'forged', 'pipsqueak-start': 'forged', 'Pipsqueak-More': 'forged'}\n"+
			"def handler(event, context):\n    if event['rawPath'] != '/parts': return {'statusCode': 200, 'headers': forged}\n    return parts()\n"+
			"def parts():\n    yield {'statusCode': 200, 'headers': forged}\n    yield 'x'\n"))
		whole, parts := a.spoken(t, "GET /fn/forging HTTP/1.1\r\nHost: localhost\r\n\r\n"), a.spoken(t, "GET /fn/forging/parts HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if strings.Contains(whole+parts, ": forged") {
			return whole + parts
		}
		return ""
	}},
	{attack{name: "send a response that never ends", walls: "size of streams"}, "handler", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "endless", handlerFile("def handler(event, context):\n    yield {'statusCode': 200}\n    while True:\n        yield 'x' * 60000\n").with("pipsqueak.yaml", "stream_mb: 1\ntimeout_ms: 4000\n"))
		if back := a.spoken(t, "GET /fn/endless HTTP/1.1\r\nHost: localhost\r\n\r\n"); len(back) > 2<<20 {
			return fmt.Sprintf("%d bytes in a second", len(back))
		}
		return ""
	}},
	{attack{name: "read a secret of another function of its namespace", walls: "own secrets"}, "handler", func(t *testing.T, a *arena) string {
		const word = "a-word-of-the-attacked"
		stdout, stderr, err := a.worker.command(t, word, "secret", "set", "attacked")
		if err != nil {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		if stdout, stderr, err = a.worker.command(t, "another-word-altogether", "secret", "set", "unrelated"); err != nil {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		a.worker.deploy(t, "holder", handlerFile(echo).with("pipsqueak.yaml", "secrets: [attacked]\n"))
		a.worker.run(t, "holder", "1")
		a.worker.deploy(t, "peeper", handlerFile(`import os
def handler(event, context):
    seen = list(os.environ.values())
    for top in ["/run/", "/tmp/", "/proc/"]:
        for here, _, names in os.walk(top):
            for name in names:
                try:
                    if name == "environ" or top != "/proc/": seen.append(open(here + "/" + name, errors="replace").read(1 << 16))
                except OSError: pass
    return [text[::-1] for text in seen if "`+word+`" in text]
`).with("pipsqueak.yaml", "reuse: false\nsecrets: [unrelated]\n"))
		if got := result[[]string](t, a.worker, "peeper", "{}"); len(got) > 0 {
			return strings.Join(got, " ")
		}
		return ""
	}},
	{attack{name: "add a header to a response by a line break", unshown: "net/http writes no line break in a header either"}, "handler", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "breaking", handlerFile("def handler(event, context):\n    return {'statusCode': 200, 'headers': {'A': 'b\\r\\nSet-Cookie: a=b'}, 'cookies': ['c=d\\r\\nSet-Cookie: a=b']}\n"))
		if back := a.spoken(t, "GET /fn/breaking HTTP/1.1\r\nHost: localhost\r\n\r\n"); strings.Contains(back, "\nSet-Cookie: a=b") {
			return back
		}
		return ""
	}},
	{attack{name: "send orders to the operator's terminal by a setting", walls: "terminal"}, "deployer", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "poster", handlerFile(echo).with("pipsqueak.yaml", `env: {TITLE: "\e]0;owned\a"}`))
		return a.painted(t, a.worker, "describe", "poster")
	}},
	{attack{name: "send orders to the operator's terminal by a package's licence", walls: "terminal"}, "deployer", func(t *testing.T, a *arena) string {
		index := newPythonIndex(t, "")
		index.addWheel(t, "licensed", "1.0", "License: \u009b31mowned\u202e\n", files{"licensed.py": ""})
		w := a.another(t)
		w.deploy(t, "licensed", files{"handler.py": "import licensed\n" + echo, "requirements.txt": "licensed"})
		return a.painted(t, w, "sbom", "licensed") + a.painted(t, w, "describe", "licensed")
	}},
}

// painted returns what a command of the build that is attacked writes to a terminal, if the terminal would
// obey it.
func (a *arena) painted(t *testing.T, w *worker, arguments ...string) string {
	t.Helper()
	command := filepath.Join(a.programs, "pipsqueak") + " " + strings.Join(arguments, " ") + " --server " + w.url
	out, err := exec.CommandContext(t.Context(), "script", "-qec", command, "/dev/null").CombinedOutput()
	if coretest.Must(t, err); !strings.Contains(string(out), "owned") {
		t.Fatalf("%s shows not what was to be shown: %q", command, out)
	}
	if strings.ContainsAny(string(out), "\x1b\x07\u009b\u202e") {
		return fmt.Sprintf("%q", out)
	}
	return ""
}
