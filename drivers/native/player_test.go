package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
)

// Does the Runtime API keep what AWS promises, whatever a bootstrap does to it? The tests play both core and
// bootstrap, with the real C program between them, checked by the compiler's sanitizers.

const api = "/2018-06-01/runtime/"

// patience is how long the program may take for one step, under its sanitizers and on a machine that does
// much else.
const patience = 30 * time.Second

// compiled is the directory of the program of testdata/instance.c, which is built once.
var compiled struct {
	sync.Once
	dir string
}

func program(t testing.TB) string {
	t.Helper()
	compiled.Do(func() {
		dir, err := os.MkdirTemp("", "pipsqueak-lambda-")
		if err != nil {
			t.Fatal(err)
		}
		compiled.dir = dir
		args := []string{"testdata/instance.c", "-I../../core/sandbox/enter/loop", "../../core/sandbox/enter/loop/endpoint.c"}
		for _, file := range []string{"lambda", "api", "say", "site", "response", "bootstrap", "exception", "http", "json", "frames"} {
			args = append(args, "runtime/loop/"+file+".c")
		}
		coretest.CompileC(t, filepath.Join(dir, "instance"), append(args, "-l:libhttp_parser.a")...)
	})
	return filepath.Join(compiled.dir, "instance")
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(compiled.dir)
	os.Exit(code)
}

// instance is the C program, with a bootstrap of the test's.
type instance struct {
	t    testing.TB
	dir  string
	cmd  *exec.Cmd
	conn *endpoint.Conn // core's end
	logs *bytes.Buffer
	done chan struct{} // closed when it has ended
}

// newInstance starts an instance, parked, whose bootstrap is that file.
func newInstance(t testing.TB, bootstrap string, mode os.FileMode) *instance {
	t.Helper()
	program := program(t)
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
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	i.conn = endpoint.Open(conn, 3)
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
		case <-time.After(patience):
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
func (i *instance) load(env map[string]string) (core.HandlerReport, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	env = maps.Clone(env)
	if env == nil {
		env = map[string]string{}
	}
	if env["PORT"] == "" {
		env["PORT"] = "1" // nobody listens there; elsewhere may be others of this machine
	}
	return endpoint.Import(ctx, i.conn, core.HandlerLoad{Function: "f", Version: 7, Handler: "index.handler", Memory: 128 << 20, Env: env, Modules: []string{"libm.so.6"}})
}

// exit waits for the end of the instance and returns its exit code.
func (i *instance) exit() int {
	i.t.Helper()
	select {
	case <-i.done:
		return i.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		i.t.Fatalf("it does not end: %s", i.logs)
		return 0
	}
}

// event is an event on its way to an instance.
type event struct {
	sent     chan struct{} // closed when all of it is written
	answered chan struct{} // closed when there is what follows
	kind     byte
	body     []byte
	err      error
}

// send sends an event. The instance takes it when its bootstrap asks for one.
func (i *instance) send(id, body string) *event {
	return i.invoke(core.Invocation{ID: id, Event: []byte(body)})
}

func (i *instance) invoke(invocation core.Invocation) *event {
	e := &event{sent: make(chan struct{}), answered: make(chan struct{})}
	_ = i.conn.SetDeadline(time.Now().Add(patience))
	go func() {
		defer close(e.answered)
		x := endpoint.New(i.conn)
		e.err = x.Send(invocation, time.UnixMilli(1234567890123))
		close(e.sent)
		if e.err == nil {
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
	for deadline := time.Now().Add(patience); p.address == ""; time.Sleep(time.Millisecond) {
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
	_ = conn.SetDeadline(time.Now().Add(patience))
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
