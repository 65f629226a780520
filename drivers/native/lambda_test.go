package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
)

// Does the Runtime API keep what AWS promises, whatever a bootstrap does to it? The tests play both core and bootstrap, with
// the real C program between them, checked by the compiler's sanitizers.

const api = "/2018-06-01/runtime/"

// compiled builds the program of testdata/instance.c, once.
var compiled = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pipsqueak-lambda-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "instance")
	args := []string{"-g", "-O1", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-fsanitize=address,undefined", "-o", program, "testdata/instance.c"}
	for _, file := range []string{"lambda", "bootstrap", "exception", "http", "json", "endpoint"} {
		args = append(args, "runtime/"+file+".c")
	}
	if out, err := exec.Command("cc", append(args, "-l:libhttp_parser.a")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if program, err := compiled(); err == nil {
		os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

// instance is the C program, with a bootstrap of the test's.
type instance struct {
	t    testing.TB
	dir  string
	cmd  *exec.Cmd
	conn net.Conn // core's end of the endpoint
	logs *bytes.Buffer
	done chan struct{} // closed when it has ended
}

// newInstance starts an instance, parked, whose bootstrap is that file.
func newInstance(t testing.TB, bootstrap string, mode os.FileMode) *instance {
	t.Helper()
	program, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, dir: t.TempDir(), logs: new(bytes.Buffer), done: make(chan struct{})}
	if err := os.WriteFile(filepath.Join(i.dir, "bootstrap"), []byte(bootstrap), mode); err != nil {
		t.Fatal(err)
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	if i.conn, err = net.FileConn(ours); err != nil {
		t.Fatal(err)
	}
	i.cmd = exec.Command(program, i.dir)
	i.cmd.ExtraFiles = []*os.File{nil, theirs} // 4, as in a sandbox
	i.cmd.Stdout, i.cmd.Stderr = i.logs, i.logs
	i.cmd.WaitDelay = 100 * time.Millisecond // what bootstrap left behind may hold its output
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(i.done)
		_ = i.cmd.Wait()
	}()
	t.Cleanup(func() {
		i.conn.Close()
		select {
		case <-i.done:
		case <-time.After(5 * time.Second):
			t.Error("it does not leave when core has closed the endpoint")
		}
		// No pid namespace ends its children here.
		_ = syscall.Kill(-i.cmd.Process.Pid, syscall.SIGKILL)
		<-i.done
		if strings.Contains(i.logs.String(), "Sanitizer") || strings.Contains(i.logs.String(), "runtime error") {
			t.Errorf("%s", i.logs)
		}
	})
	return i
}

// load has the instance start its bootstrap, and waits for the first word.
func (i *instance) load(env map[string]string) (core.Report, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return endpoint.Import(ctx, i.conn, core.HandlerLoad{Function: "f", Version: 7, Handler: "index.handler", Memory: 128 << 20, Env: env, Modules: []string{"libm.so.6"}})
}

// exit waits for the end of the instance and returns its exit code.
func (i *instance) exit() int {
	i.t.Helper()
	select {
	case <-i.done:
		return i.cmd.ProcessState.ExitCode()
	case <-time.After(10 * time.Second):
		i.t.Fatalf("it does not end: %s", i.logs)
		return 0
	}
}

// event is an event on its way to an instance.
type event struct {
	answered chan struct{} // closed when there is what follows
	kind     byte
	body     []byte
	err      error
}

// send sends an event. The instance takes it when its bootstrap asks for one.
func (i *instance) send(id, body string) *event {
	e := &event{answered: make(chan struct{})}
	_ = i.conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		defer close(e.answered)
		x := endpoint.New(i.conn)
		if e.err = x.Send(core.Invocation{ID: id, Event: []byte(body)}, time.UnixMilli(1234567890123)); e.err == nil {
			e.kind, e.body, e.err = x.Receive()
		}
	}()
	return e
}

// outcome is what core makes of the answer.
func (e *event) outcome(t testing.TB) (string, error) {
	t.Helper()
	<-e.answered
	if e.err != nil {
		t.Fatalf("no answer to the event: %v", e.err)
	}
	body, err := endpoint.Answer(e.kind, e.body)
	return string(body), err
}

// open is a bootstrap that does nothing but tell where the API is: the test is what speaks.
const open = "#!/bin/sh\necho $AWS_LAMBDA_RUNTIME_API >port.new\nmv port.new port\nexec sleep 600\n"

// player is an instance whose bootstrap the test plays, after its first request for an event.
type player struct {
	*instance
	address string
}

func newPlayer(t testing.TB) *player {
	t.Helper()
	p := unready(t)
	loaded := make(chan error, 1)
	go func() {
		_, err := p.load(nil)
		loaded <- err
	}()
	conn := p.dial()
	fmt.Fprintf(conn, "GET %sinvocation/next HTTP/1.1\r\n\r\n", api)
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	conn.Close()
	return p
}

// unready is a player that has not asked for an event yet, and whose H is still to be sent.
func unready(t testing.TB) *player {
	return &player{instance: newInstance(t, open, 0o755)}
}

func (p *player) dial() net.Conn {
	p.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); p.address == ""; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(p.dir, "port"))
		if err != nil && time.Now().After(deadline) {
			p.t.Fatal(err)
		}
		p.address = strings.TrimSpace(string(text))
	}
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// said is an answer of the API.
type said struct {
	status int
	header http.Header
	body   string
	err    error
}

func hear(r *bufio.Reader, method string) said {
	response, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return said{err: err}
	}
	body, err := io.ReadAll(response.Body)
	return said{response.StatusCode, response.Header, string(body), err}
}

// ask sends raw bytes on a connection of their own and returns the answer.
func (p *player) ask(raw string) said {
	p.t.Helper()
	conn := p.dial()
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		return said{err: err}
	}
	method, _, _ := strings.Cut(raw, " ")
	return hear(bufio.NewReader(conn), method)
}

func get(path string) string { return "GET " + api + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }

func post(path, body string, fields ...string) string {
	return fmt.Sprintf("POST %s%s HTTP/1.1\r\nContent-Length: %d\r\n%s\r\n%s", api, path, len(body), strings.Join(fields, ""), body)
}

// deliver sends an event and takes it off the API as a bootstrap does.
func (p *player) deliver(id, body string) *event {
	p.t.Helper()
	x := p.send(id, body)
	if a := p.ask(get("invocation/next")); a.status != 200 || a.body != body || a.header.Get("Lambda-Runtime-Aws-Request-Id") == "" {
		p.t.Fatalf("the event came as %+v", a)
	}
	return x
}

func (a said) must(t testing.TB, status int, errorType string) {
	t.Helper()
	var body struct{ ErrorType, ErrorMessage string }
	_ = json.Unmarshal([]byte(a.body), &body)
	if a.status != status || body.ErrorType != errorType || (errorType != "") != (body.ErrorMessage != "") {
		t.Errorf("answer %+v, want %d %s", a, status, errorType)
	}
}

func TestEvent(t *testing.T) {
	p := newPlayer(t)
	for _, event := range []string{`{"a":["ü",1]}`, `null`, strings.Repeat(" ", core.MaxEvent-1) + "1"} {
		x := p.send("id-1.a_b", event)
		a := p.ask(get("invocation/next"))
		want := map[string]string{"Lambda-Runtime-Aws-Request-Id": "id-1.a_b", "Lambda-Runtime-Deadline-Ms": "1234567890123",
			"Lambda-Runtime-Invoked-Function-Arn": "pipsqueak:function:f", "Content-Type": "application/json"}
		for name, value := range want {
			if a.header.Get(name) != value {
				t.Errorf("%s is %q, want %q", name, a.header.Get(name), value)
			}
		}
		if a.status != 200 || a.body != event || !strings.HasPrefix(a.header.Get("Lambda-Runtime-Trace-Id"), "Root=1-") {
			t.Errorf("the event came as %d, %d bytes, %v", a.status, len(a.body), a.header)
		}
		p.ask(post("invocation/id-1.a_b/response", event)).must(t, 202, "")
		if body, err := x.outcome(t); err != nil || body != strings.TrimSpace(event) {
			t.Errorf("the result is %.100q, %v", body, err)
		}
	}
}

// A request's id comes from a caller, and goes into headers and paths.
func TestStrangeIDs(t *testing.T) {
	p := newPlayer(t)
	for id, want := range map[string]string{"a/../b": "a-..-b", "..": "-.", "a\r\nX: 1": "a--X--1", "%41?#": "-41--", "é": "--", strings.Repeat("x", 1000): strings.Repeat("x", 255)} {
		x := p.send(id, "1")
		if a := p.ask(get("invocation/next")); a.header.Get("Lambda-Runtime-Aws-Request-Id") != want || a.header.Get("X") != "" {
			t.Errorf("%q came as %+v", id, a)
		}
		p.ask(post("invocation/"+want+"/response", "2")).must(t, 202, "")
		if body, err := x.outcome(t); body != "2" || err != nil {
			t.Errorf("%q %v", body, err)
		}
	}
}

func TestResults(t *testing.T) {
	p := newPlayer(t)
	mode := "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
	errorBody := "eyJlcnJvclR5cGUiOiJCb29tIiwiZXJyb3JNZXNzYWdlIjoibm8gbW9yZSJ9" // {"errorType":"Boom","errorMessage":"no more"}
	tests := []struct {
		name, raw string
		status    int
		result    string
		kind      core.Kind
		says      string
	}{
		{"JSON", post("invocation/r/response", " {\"a\": 1}\n"), 202, `{"a": 1}`, "", ""},
		{"text", post("invocation/r/response", "Echoing \"request\": é\n"), 202, `"Echoing \"request\": é\u000a"`, "", ""},
		{"nearly JSON", post("invocation/r/response", `{"a":01}`), 202, `"{\"a\":01}"`, "", ""},
		{"nothing", post("invocation/r/response", ""), 202, `null`, "", ""},
		{"bytes", post("invocation/r/response", "\xff\x00"), 202, "", core.KindInvalid, "base64"},
		{"chunks", "POST " + api + "invocation/r/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1,2\r\n5;x=y\r\n,333]\r\n0\r\n\r\n", 202, `[1,2,333]`, "", ""},
		{"stream", "POST " + api + "invocation/r/response HTTP/1.1\r\n" + mode + "Trailer: Lambda-Runtime-Function-Error-Type\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n\r\n", 202, `7`, "", ""},
		{"broken stream", "POST " + api + "invocation/r/response HTTP/1.1\r\n" + mode + "Transfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\nLambda-Runtime-Function-Error-Type: Other\r\nLambda-Runtime-Function-Error-Body: " + errorBody + "\r\n\r\n", 202, "", core.KindException, "Boom: no more"},
		{"broken stream without a body", "POST " + api + "invocation/r/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nlambda-runtime-function-error-type: Other\r\n\r\n", 202, "", core.KindException, "Other"},
		{"error", post("invocation/r/error", `{"errorType":"E","errorMessage":"m\u00fc","stackTrace":["a",{"path":"p.go","line":3,"label":"f"},4]}`), 202, "", core.KindException, "E: mü"},
		{"error with its type in a header", post("invocation/r/error", `{"errorMessage":"m"}`, "Lambda-Runtime-Function-Error-Type: Runtime.E\r\n"), 202, "", core.KindException, "Runtime.E: m"},
		{"error that is text", post("invocation/r/error", "it broke"), 202, "", core.KindException, "Error: it broke"},
		{"error that is nothing", post("invocation/r/error", ""), 202, "", core.KindException, "Error: "},
		{"error with a large cause", post("invocation/r/error", `{"errorType":"E"}`, "Lambda-Runtime-Function-Xray-Error-Cause: "+strings.Repeat("x", 1<<20)+"\r\n"), 202, "", core.KindException, "E"},
		{"largest", post("invocation/r/response", `"`+strings.Repeat("x", core.MaxResult-2)+`"`), 202, `"` + strings.Repeat("x", core.MaxResult-2) + `"`, "", ""},
		{"too large", post("invocation/r/response", `"`+strings.Repeat("x", core.MaxResult-1)+`"`), 413, "", core.KindTooLarge, "6291456"},
		{"too large as a string", post("invocation/r/response", strings.Repeat("x", core.MaxResult-1)), 413, "", core.KindTooLarge, "6291456"},
		{"too large in chunks", "POST " + api + "invocation/r/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("100000\r\n"+strings.Repeat(" ", 1<<20)+"\r\n", 7) + "0\r\n\r\n", 413, "", core.KindTooLarge, "6291456"},
		{"HTTP/1.0", "POST " + api + "invocation/r/response HTTP/1.0\r\nContent-Length: 1\r\n\r\n1", 202, `1`, "", ""},
		{"HTTP/2 offered", post("invocation/r/response", "1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), 202, `1`, "", ""},
		{"query", post("invocation/r/response?x=/error", "1"), 202, `1`, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := p.deliver("r", `{}`)
			a := p.ask(test.raw)
			errorType := ""
			if test.status == 413 {
				errorType = "RequestEntityTooLarge"
			}
			a.must(t, test.status, errorType)
			result, err := x.outcome(t)
			if test.kind == "" && (result != test.result || err != nil) {
				t.Errorf("result %.100q, %v", result, err)
			}
			if test.kind != "" && (!core.IsKind(err, test.kind) || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("%v, want %s with %q", err, test.kind, test.says)
			}
			if test.name == "error" {
				if stack := core.AsError(err).Exception.Stack; strings.Join(stack, "|") != "a|p.go:3 in f|4" {
					t.Errorf("stack %q", stack)
				}
			}
		})
	}
}

// Texts of an error beyond what core takes are cut, and still are JSON.
func TestLongErrors(t *testing.T) {
	p := newPlayer(t)
	frame := `"` + strings.Repeat("é", 20<<10) + `"`
	for _, body := range []string{
		`{"errorType":"E","errorMessage":"` + strings.Repeat(`\ud83d\ude00`, 40<<10) + `"}`,
		`{"errorType":"E","errorMessage":"` + strings.Repeat(`\u0001`, 100<<10) + `","stackTrace":[` + frame + strings.Repeat(","+frame, 100) + `]}`,
		`{"errorType":"E","stackTrace":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`,
		strings.Repeat("\xc3", 200<<10),
	} {
		x := p.deliver("r", `1`)
		p.ask(post("invocation/r/error", body)).must(t, 202, "")
		_, err := x.outcome(t)
		if e := core.AsError(err); e == nil || e.Exception == nil || len(e.Exception.Message) > 3*64<<10 || len(strings.Join(e.Exception.Stack, "")) > 256<<10 {
			t.Errorf("%.200v", err)
		}
	}
}

func TestStates(t *testing.T) {
	p := unready(t)
	loaded := make(chan error, 1)
	go func() {
		_, err := p.load(nil)
		loaded <- err
	}()
	p.ask(post("invocation/none/response", "1")).must(t, 400, "InvalidRequestID")
	p.ask(post("invocation//response", "1")).must(t, 400, "InvalidRequestID")
	waiting := p.dial()
	fmt.Fprint(waiting, get("invocation/next"))
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	p.ask(post("init/error", "{}")).must(t, 403, "InvalidStateTransition")

	// The second request for an event takes the place of the first.
	second := p.dial()
	fmt.Fprint(second, get("invocation/next"))
	hear(bufio.NewReader(waiting), "GET").must(t, 403, "InvalidStateTransition")
	x := p.send("r1", "1")
	if a := hear(bufio.NewReader(second), "GET"); a.status != 200 || a.body != "1" {
		t.Errorf("%+v", a)
	}
	p.ask(get("invocation/next")).must(t, 403, "InvalidStateTransition")
	p.ask(post("invocation/r2/response", "1")).must(t, 400, "InvalidRequestID")
	p.ask(post("invocation/r/response", "1")).must(t, 400, "InvalidRequestID")
	p.ask(post("invocation/r11/error", "1")).must(t, 400, "InvalidRequestID")
	p.ask(post("invocation/r1/response", "2")).must(t, 202, "")
	if body, err := x.outcome(t); body != "2" || err != nil {
		t.Errorf("%q %v", body, err)
	}
	p.ask(post("invocation/r1/response", "3")).must(t, 403, "InvalidStateTransition")
	p.ask(post("invocation/r1/error", "3")).must(t, 403, "InvalidStateTransition")

	for _, path := range []string{"invocation/r1/other", "invocation/r1", "invocation/", "invocation/r1/response/x", "", "init/errors"} {
		p.ask(get(path)).must(t, 404, "NotFound")
	}
	p.ask("GET /2018-06-01/extension/register HTTP/1.1\r\n\r\n").must(t, 404, "NotFound")
	p.ask("GET /"+strings.Repeat("x", 600)+" HTTP/1.1\r\n\r\n").must(t, 404, "NotFound")
	p.ask("CONNECT x:1 HTTP/1.1\r\n\r\n").must(t, 404, "NotFound")
	p.ask(post("invocation/next", "")).must(t, 405, "MethodNotAllowed")
	p.ask(get("invocation/r1/response")).must(t, 405, "MethodNotAllowed")
	p.ask(get("init/error")).must(t, 405, "MethodNotAllowed")
	p.ask("DELETE "+api+"init/error HTTP/1.1\r\n\r\n").must(t, 405, "MethodNotAllowed")
	if a := p.ask("HEAD " + api + "invocation/next HTTP/1.1\r\n\r\n"); a.status != 405 || a.body != "" || a.err != nil {
		t.Errorf("HEAD: %+v", a)
	}
	for _, raw := range []string{"nonsense\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "\x16\x03\x01\x02\x00\x01"} {
		p.ask(raw).must(t, 400, "InvalidRequest")
	}
	// After all this the API still works.
	x = p.deliver("r9", "1")
	p.ask(post("invocation/r9/response", "2")).must(t, 202, "")
	if body, err := x.outcome(t); body != "2" || err != nil {
		t.Errorf("%q %v", body, err)
	}
}

// Many connections, one after another and at once, each with many requests, cut into pieces in every way.
func TestConnections(t *testing.T) {
	p := newPlayer(t)
	conn := p.dial()
	r := bufio.NewReader(conn)
	// A whole life in one write: the answers come in order, each when it can.
	x := p.send("r", "1")
	fmt.Fprint(conn, get("invocation/next")+post("invocation/r/response", "2")+get("nothing")+get("invocation/next"))
	for _, status := range []int{200, 202, 404} {
		if a := hear(r, "GET"); a.status != status {
			t.Fatalf("%+v, want %d", a, status)
		}
	}
	if body, err := x.outcome(t); body != "2" || err != nil {
		t.Fatalf("%q %v", body, err)
	}
	// Byte by byte.
	for range 3 {
		x = p.send("r", "1")
		if a := hear(r, "GET"); a.status != 200 {
			t.Fatalf("%+v", a)
		}
		for _, b := range []byte(post("invocation/r/response", `[1,2]`, "Expect: 100-continue\r\n")) {
			if _, err := conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if line, err := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" || err != nil {
			t.Fatalf("%q %v", line, err)
		}
		if line, err := r.ReadString('\n'); line != "\r\n" || err != nil {
			t.Fatalf("%q %v", line, err)
		}
		if a := hear(r, "POST"); a.status != 202 {
			t.Fatalf("%+v", a)
		}
		if body, err := x.outcome(t); body != "[1,2]" || err != nil {
			t.Fatalf("%q %v", body, err)
		}
		fmt.Fprint(conn, get("invocation/next"))
	}
	// One that is told that its body will be too large need not send it.
	p.ask("POST "+api+"invocation/q/response HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n").must(t, 400, "InvalidRequestID")
	// More connections than there are places; the one that waits for an event keeps its own.
	var idle []net.Conn
	for range 50 {
		idle = append(idle, p.dial())
		p.ask(get("x")).must(t, 404, "NotFound")
	}
	x = p.send("r", "1")
	if a := hear(r, "GET"); a.status != 200 {
		t.Fatalf("%+v", a)
	}
	fmt.Fprint(conn, post("invocation/r/response", "3"))
	if body, err := x.outcome(t); body != "3" || err != nil {
		t.Errorf("%q %v", body, err)
	}
	for _, c := range idle {
		c.Close()
	}
	// One that asks for an event and goes away does not get it.
	hear(r, "POST")
	fmt.Fprint(conn, get("invocation/next"))
	time.Sleep(20 * time.Millisecond)
	conn.Close()
	time.Sleep(20 * time.Millisecond)
	x = p.send("r", "1")
	time.Sleep(20 * time.Millisecond)
	if a := p.ask(get("invocation/next")); a.status != 200 || a.body != "1" {
		t.Fatalf("%+v", a)
	}
	p.ask(post("invocation/r/response", "4")).must(t, 202, "")
	if body, err := x.outcome(t); body != "4" || err != nil {
		t.Errorf("%q %v", body, err)
	}
}

func TestInitError(t *testing.T) {
	p := unready(t)
	loaded := make(chan error, 1)
	go func() {
		_, err := p.load(nil)
		loaded <- err
	}()
	p.ask(post("init/error", `{"errorType":"Init.No","errorMessage":"no db","stackTrace":["a"]}`)).must(t, 202, "")
	err := <-loaded
	if e := core.AsError(err); !core.IsKind(err, core.KindException) || e.Fault != core.FaultHandler || e.Exception == nil || e.Exception.Type != "Init.No" ||
		e.Exception.Message != "no db" || len(e.Exception.Stack) != 1 || !strings.Contains(e.Message, "Init.No: no db") {
		t.Errorf("%+v", err)
	}
	p.exit()
}

// speak is a function for bootstraps in bash: it sends a request and prints the answer. The descriptors stay open.
const speak = `#!/bin/bash
host=${AWS_LAMBDA_RUNTIME_API%:*} port=${AWS_LAMBDA_RUNTIME_API#*:}
ask() { # method path [body]
	exec 5<>/dev/tcp/$host/$port
	printf '%s /2018-06-01/runtime/%s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' "$1" "$2" "${#3}" "$3" >&5
	cat <&5
}
`

func TestDeaths(t *testing.T) {
	tests := []struct {
		name, code string
		says       string // of a failure before the first event; "" when there is an event
		exit       int
		result     string // of the event; "" when the end comes before it
		unread     bool   // the event goes to another instance
		death      string // what it died of in the event, when the instance tells
	}{
		{"at once", "exit 3", "ended with code 3", 1, "", false, ""},
		{"at once and well", "exit 0", "ended with code 0", 1, "", false, ""},
		{"killed at once", "kill -9 $$", "signal 9 (Killed)", 1, "", false, ""},
		{"in an event", "ask GET invocation/next; exit 4", "", 4, "", false, "exit"},
		{"in an event and well", "ask GET invocation/next; exit 0", "", 0, "", false, "exit"},
		{"killed in an event for its memory, perhaps", "ask GET invocation/next; kill -9 $$", "", 137, "", false, ""},
		{"killed in an event", "ask GET invocation/next; kill -SEGV $$", "", 139, "", false, "SIGSEGV"},
		{"after the answer", "ask GET invocation/next; ask POST invocation/r/response 2; exit 5", "", 5, "2", false, ""},
		{"without waiting for the answer to its answer", "ask GET invocation/next; printf 'POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\nContent-Length: 1\r\n\r\n2' >/dev/tcp/$host/$port; exit 5", "", 5, "2", false, ""},
		{"with a child left behind", "sleep 60 & ask GET invocation/next; sleep 60 & exit 6", "", 6, "", false, "exit"},
		{"before it takes its next event", "ask GET invocation/next; ask POST invocation/r/response 2; sleep 0.2; kill -9 $$", "", 137, "2", true, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstance(t, speak+test.code+"\n", 0o755)
			_, err := i.load(map[string]string{"PATH": os.Getenv("PATH")})
			if (err != nil) != (test.says != "") || err != nil && (!core.IsKind(err, core.KindExit) || core.AsError(err).Fault != core.FaultHandler || !strings.Contains(err.Error(), test.says)) {
				t.Fatalf("%+v", err)
			}
			if err == nil {
				x := i.send("r", "1")
				if test.result != "" {
					if body, err := x.outcome(t); body != test.result || err != nil {
						t.Errorf("%q %v", body, err)
					}
				} else if test.death == "" {
					if <-x.answered; !errors.Is(x.err, io.ErrUnexpectedEOF) {
						t.Errorf("%c %s %v", x.kind, x.body, x.err)
					}
				} else if _, err := x.outcome(t); !core.IsKind(err, core.KindExit) || core.AsError(err).Exception.Type != test.death {
					t.Errorf("%+v", err)
				}
			}
			if test.unread {
				time.Sleep(20 * time.Millisecond)
				x := i.send("r2", "2")
				if <-x.answered; !endpoint.IsUnsent(x.err) {
					t.Errorf("an event to an instance whose bootstrap is about to end: %v", x.err)
				}
			}
			if code := i.exit(); code != test.exit {
				t.Errorf("it ended with %d, want %d: %s", code, test.exit, i.logs)
			}
			if (test.result == "" && test.says == "") != strings.Contains(i.logs.String(), "before it answered") {
				t.Errorf("logs: %s", i.logs)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	i := newInstance(t, speak+`sockets=$(for fd in /proc/$$/fd/*; do readlink $fd; done | grep -c socket)
ask GET invocation/next >event
ask POST invocation/r/response "$(env; pwd; echo sockets $sockets; grep SigBlk /proc/self/status)"
sleep 60
`, 0o755)
	report, err := i.load(map[string]string{"PATH": os.Getenv("PATH"), "A": "é\n\"", "TZ": "Asia/Tokyo", "AWS_LAMBDA_RUNTIME_API": "elsewhere"})
	if err != nil || report.Threads != 1 || report.Took <= 0 || len(report.Modules) != 1 {
		t.Fatalf("%+v %v", report, err)
	}
	body, err := i.send("r", "1").outcome(t)
	if err != nil {
		t.Fatal(err)
	}
	var text string
	if err := json.Unmarshal([]byte(body), &text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"_HANDLER=index.handler", "LAMBDA_TASK_ROOT=" + i.dir, "LAMBDA_RUNTIME_DIR=" + i.dir, "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_FUNCTION_VERSION=7",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "AWS_LAMBDA_LOG_GROUP_NAME=f", "AWS_LAMBDA_LOG_STREAM_NAME=f/7", "TZ=Asia/Tokyo", "A=é\n\"", "LD_LIBRARY_PATH=/packages/lib", i.dir,
		"sockets 0", "SigBlk:\t0000000000000000"} {
		if !strings.Contains(text, "\n"+line+"\n") && !strings.HasPrefix(text, line+"\n") && !strings.HasSuffix(text, "\n"+line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if strings.Count(text, "AWS_LAMBDA_RUNTIME_API=") != 1 || strings.Contains(text, "elsewhere") {
		t.Errorf("the address of the API is another's:\n%s", text)
	}
}

func TestUnstartable(t *testing.T) {
	elf := func(machine byte) string {
		return "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00" + string([]byte{machine, 0}) + strings.Repeat("\x00", 100)
	}
	musl, err := withLoader("/lib/ld-musl-x86_64.so.1")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, content string
		mode          os.FileMode
		says          string
	}{
		{"not executable", "#!/bin/sh\n", 0o644, "chmod +x"},
		{"no interpreter", "#! /no/such/bash -e\n", 0o755, "interpreter /no/such/bash,"},
		{"Windows line ends", "#!/bin/sh\r\necho\r\n", 0o755, "carriage return"},
		{"no first line", "echo hello\n", 0o755, "#!/bin/bash"},
		{"empty", "", 0o755, "empty"},
		{"other machine", elf(0xb7), 0o755, "aarch64"},
		{"macOS", "\xcf\xfa\xed\xfe\x0c\x00\x00\x01", 0o755, "GOOS=linux"},
		{"Windows", "MZ\x90\x00", 0o755, "for Windows"},
		{"no loader", musl, 0o755, "loader /lib/ld-musl-x86_64.so.1,"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstance(t, test.content, test.mode)
			_, err := i.load(nil)
			if e := core.AsError(err); !core.IsKind(err, core.KindInvalid) || e.Fault != core.FaultHandler || !strings.Contains(e.Message, test.says) || !strings.Contains(e.Message, "/bootstrap") {
				t.Errorf("%+v", err)
			}
			i.exit()
		})
	}
	i := newInstance(t, "", 0o755)
	if err := os.Remove(filepath.Join(i.dir, "bootstrap")); err != nil {
		t.Fatal(err)
	}
	if _, err := i.load(nil); !core.IsKind(err, core.KindInvalid) || !strings.Contains(err.Error(), "put the program") {
		t.Errorf("%+v", err)
	}
}

// withLoader returns a program that needs that loader.
func withLoader(loader string) (string, error) {
	dir, err := os.MkdirTemp("", "pipsqueak-loader-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	source, program := filepath.Join(dir, "main.c"), filepath.Join(dir, "main")
	if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o644); err != nil {
		return "", err
	}
	if out, err := exec.Command("cc", "-o", program, "-Wl,--dynamic-linker="+loader, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(program)
	return string(text), err
}
