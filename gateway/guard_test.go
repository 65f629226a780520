package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/access"
)

// Who gets in?

// lodge is a gateway behind a guard, and what it leaves.
type lodge struct {
	*Gateway
	data   string
	tokens core.Tokens
	log    *bytes.Buffer
}

// newLodge returns a lodge whose tokens were never made.
func newLodge(t testing.TB, each float64) *lodge {
	t.Helper()
	l := &lodge{data: t.TempDir(), log: &bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(l.log, nil))
	tokens, err := access.OpenTokens(l.data)
	if err != nil {
		t.Fatal(err)
	}
	audit := access.OpenAudit(l.data, log)
	t.Cleanup(func() { audit.Close() })
	l.Gateway = newGateway(echo)
	l.tokens = access.Restrict(l.service, tokens, audit).Tokens
	l.Gateway.log = log
	l.Guard(Guard{tokens, audit, each})
	return l
}

// create makes a token as the operator does.
func (l *lodge) create(t testing.TB, token core.Token) (core.Token, string) {
	t.Helper()
	ctx, end := access.Operator(0).Within(context.Background())
	defer end()
	token.Name = "ci"
	made, text, err := l.tokens.CreateToken(ctx, token)
	if err != nil {
		t.Fatal(err)
	}
	return made, text
}

var invoker1 = core.Token{Scopes: []core.Scope{core.ScopeInvoke}, Functions: []string{"f", "none"}}

// bearer returns the header of a token.
func bearer(text string) string { return "Authorization: Bearer " + text }

func (l *lodge) run(t *testing.T, name string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return send(t, l.Gateway, "POST", "/run/"+name, "127.0.0.1", headers...)
}

func TestGuard(t *testing.T) {
	l := newLodge(t, 0)
	if got := l.run(t, "f"); got.Code != 200 {
		t.Errorf("without any token made: %d %s", got.Code, got.Body)
	}
	made, text := l.create(t, invoker1)
	for _, test := range []struct {
		name, header string
		status       int
		challenge    string
		says         string
	}{
		{"f", bearer(text), 200, "", ""},
		{"f", "Authorization: bearer  " + text, 200, "", ""},
		{"f", "X: none", 401, `Bearer realm="pipsqueak"`, "PIPSQUEAK_TOKEN"},
		{"f", bearer(""), 401, `Bearer realm="pipsqueak", error="invalid_token"`, "that is no token"},
		{"f", bearer(text + "0"), 401, `Bearer realm="pipsqueak", error="invalid_token"`, "that is no token"},
		{"f", "Authorization: Basic dTpw", 401, `Bearer realm="pipsqueak", error="invalid_token"`, "another kind than Bearer"},
		{"other", bearer(text), 403, `Bearer realm="pipsqueak", error="insufficient_scope"`, `the scope invoke of \"other\", and the token ` + made.ID + " (ci) is for [invoke] of [f none]"},
	} {
		got := l.run(t, test.name, test.header)
		if got.Code != test.status || got.Header().Get("WWW-Authenticate") != test.challenge || !strings.Contains(got.Body.String(), test.says) {
			t.Errorf("%s with %.30s: %d, %q, %s", test.name, test.header, got.Code, got.Header().Get("WWW-Authenticate"), got.Body)
		}
		if got.Code >= 400 && (got.Header().Get(HeaderRequestID) == "" || !strings.Contains(got.Body.String(), `"denied"`) || strings.Contains(got.Body.String(), text)) {
			t.Errorf("%s with %.30s: %v %s", test.name, test.header, got.Header(), got.Body)
		}
	}
	if strings.Contains(l.log.String(), text) {
		t.Error("the log has the token")
	}
	l.Events("/headers/", func(w http.ResponseWriter, r *http.Request, name string) {
		_, err := l.Invoke(w, r, name, "r1", func(r *http.Request, _ *Held) ([]byte, error) {
			return json.Marshal(r.Header)
		}, nil)
		if err != nil || r.Header.Get("Authorization") != "" {
			t.Errorf("a function that sees the headers sees the token, or %v", err)
		}
	})
	send(t, l.Gateway, "POST", "/headers/f", "127.0.0.1", bearer(text))
	// Nobody can tell a function that there is from one that there is not.
	one, two := l.run(t, "other", bearer(text)).Body.String(), l.run(t, "others", bearer(text)).Body.String()
	if strings.ReplaceAll(two, "others", "other") != one {
		t.Errorf("%s and %s", one, two)
	}
	if got := l.run(t, "none", bearer(text)); got.Code != 404 || !strings.Contains(got.Body.String(), "at /run/none") {
		t.Errorf("no such function: %d %s", got.Code, got.Body)
	}
	for _, path := range []string{"/bodies", "/nowhere", "/metrics"} {
		if got := send(t, l.Gateway, "GET", path, "127.0.0.1"); got.Code != 401 {
			t.Errorf("%s without a token: %d", path, got.Code)
		}
	}
	if got := send(t, l.Gateway, "GET", "/healthz", "127.0.0.1"); got.Code != 200 {
		t.Errorf("/healthz: %d", got.Code)
	}
	if got := send(t, l.Gateway, "GET", "/nowhere", "127.0.0.1", bearer(text)); got.Code != 404 {
		t.Errorf("/nowhere with a token: %d", got.Code)
	}
	if got := send(t, l.Gateway, "PUT", "/bodies", "127.0.0.1", bearer(text)); got.Code != 403 || !strings.Contains(got.Body.String(), "the scope deploy of all functions") {
		t.Errorf("/bodies: %d %s", got.Code, got.Body)
	}
}

// TestPublic: who invokes a public function needs no token, learns nothing of its exceptions, and gets no
// further.
func TestPublic(t *testing.T) {
	l := newLodge(t, 3)
	_, text := l.create(t, invoker1)
	_, all := l.create(t, core.Token{Scopes: []core.Scope{core.ScopeInvoke}, Functions: []string{"*"}})
	l.service.Invoker = invoker(func(_ context.Context, i core.Invocation) (core.Result, error) {
		return core.Result{}, core.Errorf(core.KindException, core.FaultHandler, "the handler raised KeyError: secret")
	})
	l.Events("/headers/", func(w http.ResponseWriter, r *http.Request, name string) {
		_, err := l.Invoke(w, r, name, "r1", func(r *http.Request, _ *Held) ([]byte, error) { return json.Marshal(r.Header) }, nil)
		w.Header().Set("Seen", r.Header.Get("Authorization"))
		l.Fail(w, r, err)
	})
	for _, test := range []struct {
		name, header string
		status       int
		says, seen   string
	}{
		{"public", "X: none", 500, "under the request id r1", ""},
		{"public", "Authorization: Basic dTpw", 500, "under the request id r1", "Basic dTpw"}, // the function's own
		{"public", bearer(text), 500, "under the request id r1", ""},                          // a token for others
		{"public", bearer(all), 500, "KeyError: secret", ""},
		{"public", bearer(text[:len(text)-1]), 401, "that is no token", bearer(text[:len(text)-1])[len("Authorization: "):]},
		{"f", "X: none", 401, "PIPSQUEAK_TOKEN", ""},
		{"f", "Authorization: Basic dTpw", 401, "another kind than Bearer", "Basic dTpw"},
		{"other", bearer(text), 403, "the scope invoke of", ""},
	} {
		got := send(t, l.Gateway, "POST", "/headers/"+test.name, "127.0.0.1", test.header, "X-Request-Id: r1")
		if got.Code != test.status || !strings.Contains(got.Body.String(), test.says) || got.Header().Get("Seen") != test.seen {
			t.Errorf("%s with %.30s: %d %s, the function sees %q", test.name, test.header, got.Code, got.Body, got.Header().Get("Seen"))
		}
	}
	if got := l.run(t, "public", "X: none"); got.Code != 500 {
		t.Errorf("the third one of an address in a second: %d", got.Code)
	}
	if got := l.run(t, "public", "X: none"); got.Code != 429 {
		t.Errorf("one more: %d", got.Code)
	}
}

// healthy counts how often it is asked.
type healthy struct{ asked *int }

func (h healthy) Readiness() core.Readiness {
	*h.asked++
	return core.NewReadiness(map[string]string{"disk": fmt.Sprint("look ", *h.asked)})
}

// TestReadyzOfStrangers: who has no token learns whether the worker is ready, and nothing else, and has it
// looked at once a second.
func TestReadyzOfStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, asked := newLodge(t, 0), 0
		l.service.Health = healthy{&asked}
		ask := func(header string) string {
			got := send(t, l.Gateway, "GET", "/readyz", "127.0.0.1", header)
			return fmt.Sprint(got.Code, " ", strings.TrimSpace(got.Body.String()))
		}
		const all = `503 {"ready":false,"parts":{"disk":"look 1","draining":""}}`
		if got := ask("X: none"); got != all {
			t.Errorf("without any token made: %s", got)
		}
		_, some := l.create(t, invoker1)
		_, reader := l.create(t, core.Token{Scopes: []core.Scope{core.ScopeRead}, Functions: []string{"*"}})
		for header, want := range map[string]string{"X: none": `503 {"ready":false}`, bearer(some): `503 {"ready":false}`, bearer(reader): all} {
			if got := ask(header); got != want {
				t.Errorf("with %.30s: %s, want %s", header, got, want)
			}
		}
		if got := ask(bearer(some + "0")); !strings.HasPrefix(got, "401 ") {
			t.Errorf("with a wrong token: %s", got)
		}
		if asked != 1 {
			t.Errorf("the service was asked %d times in a second", asked)
		}
		time.Sleep(time.Second)
		if ask("X: none"); asked != 2 {
			t.Errorf("a second later it was asked %d times", asked)
		}
	})
}

// Who is wrong often waits for each answer, and a good token does not wait behind the same address.
// oneRoute leads everywhere to a function that callers know nothing of.
type oneRoute struct{}

func (oneRoute) Route(string, string, string) (core.RouteMatch, bool) {
	return core.RouteMatch{Function: "hidden.team", Route: "ANY shop.example.com/{all+}"}, true
}
func (oneRoute) HasHost(string) bool    { return true }
func (oneRoute) CORS(string) *core.CORS { return nil }

// Who may not invoke the function that a route leads to does not learn its name. The operator does.
func TestRouteTellsNoName(t *testing.T) {
	l := newLodge(t, 0)
	l.service.Router = oneRoute{}
	site := func(http.ResponseWriter, *http.Request, string) { t.Error("it is no route") }
	l.Sites("/fn/", site, site, func(w http.ResponseWriter, r *http.Request, match core.RouteMatch) {
		if _, err := l.Invoke(w, r, match.Function, "id", ReadJSON, nil); err != nil {
			l.Fail(w, r, err)
		}
	})
	_, text := l.create(t, invoker1)
	for i, headers := range [][]string{{bearer(text)}, nil} { // the first refusal in a second is in the log
		got := send(t, l.Gateway, "GET", "/x", "shop.example.com", headers...)
		if got.Code != []int{403, 401}[i] || strings.Contains(got.Body.String(), "hidden") {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	}
	if audit, err := os.ReadFile(filepath.Join(l.data, "audit.log")); err != nil || !strings.Contains(string(audit)+l.log.String(), "hidden.team") {
		t.Errorf("the operator is not told: %s, %v, %s", audit, err, l.log)
	}
}

func TestWrongTokensAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLodge(t, 0)
		_, text := l.create(t, invoker1)
		wrong := bearer(strings.Repeat("f", len(text)))
		began := time.Now()
		for range freeMistakes {
			l.run(t, "f", wrong)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the first mistakes took %v", took)
		}
		for range 3 {
			answered := make(chan int)
			began := time.Now()
			go func() { answered <- l.run(t, "f", wrong).Code }()
			if got := l.run(t, "f", bearer(text)); got.Code != 200 || time.Since(began) != 0 {
				t.Errorf("a good token: %d after %v", got.Code, time.Since(began))
			}
			if code := <-answered; code != 401 || time.Since(began) != slowAnswer {
				t.Errorf("one more mistake: %d after %v", code, time.Since(began))
			}
		}
		time.Sleep(time.Minute)
		began = time.Now()
		if l.run(t, "f", wrong); time.Since(began) != 0 {
			t.Errorf("a minute later a mistake took %v", time.Since(began))
		}
	})
}

// A flood of wrong tokens from many addresses leaves a bounded number of limiters, and a line a second.
func TestFloodOfWrongTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLodge(t, 0)
		_, text := l.create(t, invoker1)
		for second := range 3 {
			for i := range 3_000 {
				request := httptest.NewRequest("POST", "/run/f", strings.NewReader("{}"))
				request.Host, request.RemoteAddr = "127.0.0.1", fmt.Sprintf("[2001:db8:%x:%x::1]:80", second, i)
				l.ServeHTTP(httptest.NewRecorder(), request)
			}
			time.Sleep(time.Second)
		}
		if n := l.guard.wrong.Len(); n > manyClients {
			t.Errorf("%d limiters", n)
		}
		if n := strings.Count(l.log.String(), "msg=refuse"); n != 3 || !strings.Contains(l.log.String(), "others=2999") {
			t.Errorf("%d lines:\n%s", n, l.log)
		}
		entries := l.entries(t)
		if last := entries[len(entries)-1]; len(entries) != 4 || last.Action != "refuse" || last.Who != "anyone" || last.Outcome != "denied" || last.From == "" || last.Request == "" {
			t.Errorf("the audit log has %d lines, the last one %+v", len(entries), last)
		}
		if got := l.run(t, "f", bearer(text)); got.Code != 200 {
			t.Errorf("a good token: %d", got.Code)
		}
	})
}

// entries returns the lines of the audit log.
func (l *lodge) entries(t *testing.T) (all []access.Entry) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.data, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e access.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, e)
	}
	return all
}

func TestRateOfAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLodge(t, 4)
		_, one := l.create(t, invoker1)
		_, two := l.create(t, invoker1)
		for range 4 {
			if got := l.run(t, "f", bearer(one)); got.Code != 200 {
				t.Fatalf("within the rate: %d %s", got.Code, got.Body)
			}
		}
		got := l.run(t, "f", bearer(one))
		if got.Code != 429 || got.Header().Get("Retry-After") != "1" || !strings.Contains(got.Body.String(), `"retryable":true`) || !strings.Contains(got.Body.String(), "--client-rate") {
			t.Errorf("one more: %d %v %s", got.Code, got.Header(), got.Body)
		}
		if got := l.run(t, "f", bearer(two)); got.Code != 200 {
			t.Errorf("another token: %d", got.Code)
		}
		time.Sleep(250 * time.Millisecond)
		if got := l.run(t, "f", bearer(one)); got.Code != 200 {
			t.Errorf("a quarter of a second later: %d", got.Code)
		}
	})
}

// The socket is the operator's: it needs no token, and is not limited.
func TestOperatorsSocket(t *testing.T) {
	l := newLodge(t, 1)
	l.create(t, invoker1)
	path := filepath.Join(t.TempDir(), "socket")
	socket, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx, tcp, socket) }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	for range 5 {
		fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
		answer, err := http.ReadResponse(answers, nil)
		if err != nil || answer.StatusCode != 200 {
			t.Fatalf("at the socket: %v, %v", answer, err)
		}
		var all bytes.Buffer
		if _, err := all.ReadFrom(answer.Body); err != nil {
			t.Fatal(err)
		}
	}
	if answer, err := http.Get("http://" + tcp.Addr().String() + "/metrics"); err != nil || answer.StatusCode != 401 {
		t.Errorf("over TCP: %v, %v", answer, err)
	}
	conn.Close()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("the socket still answers")
	}
}

func BenchmarkGuard(b *testing.B) {
	for _, with := range []string{"without", "token"} {
		b.Run(with, func(b *testing.B) {
			l := newLodge(b, 0)
			request := httptest.NewRequest("POST", "http://127.0.0.1/run/f", nil)
			if with == "token" {
				_, text := l.create(b, invoker1)
				request.Header.Set("Authorization", "Bearer "+text)
			}
			authorization := request.Header["Authorization"]
			out := &reply{ResponseWriter: httptest.NewRecorder()}
			b.ReportAllocs()
			for b.Loop() {
				request.Header["Authorization"] = authorization // it is taken from the request
				if _, err := l.enter(out, request, "r1", core.ScopeInvoke, ofNamed, "f"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
