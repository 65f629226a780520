package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestEvent(t *testing.T) {
	p := newPlayer(t)
	for i, event := range []string{`{"a":["ü",1]}`, `null`, strings.Repeat(" ", core.MaxEvent-1) + "1"} {
		id := fmt.Sprintf("id-%d.a_b", i)
		x := p.send(id, event)
		a := p.ask(get("invocation/next"))
		want := map[string]string{"Lambda-Runtime-Aws-Request-Id": id, "Lambda-Runtime-Deadline-Ms": "1234567890123",
			"Lambda-Runtime-Invoked-Function-Arn": "pipsqueak:function:f", "Content-Type": "application/json"}
		for name, value := range want {
			if a.header.Get(name) != value {
				t.Errorf("%s is %q, want %q", name, a.header.Get(name), value)
			}
		}
		if a.status != 200 || a.body != event || !strings.HasPrefix(a.header.Get("Lambda-Runtime-Trace-Id"), "Root=1-") {
			t.Errorf("the event came as %d, %d bytes, %v", a.status, len(a.body), a.header)
		}
		p.ask(post("invocation/"+id+"/response", event)).must(t, 202, "")
		if body, err := x.outcome(t); err != nil || body != strings.TrimSpace(event) {
			t.Errorf("the result is %.100q, %v", body, err)
		}
	}
}

// An id that comes again, as that of an event that another function sends twice, is reported as another one.
func TestRepeatedIDs(t *testing.T) {
	p := newPlayer(t)
	seen := map[string]bool{}
	for range 3 {
		x := p.send("again", "1")
		told := p.ask(get("invocation/next")).header.Get("Lambda-Runtime-Aws-Request-Id")
		if seen[told] || !strings.HasPrefix(told, "again") {
			t.Errorf("told as %q", told)
		}
		for late := range seen {
			p.ask(post("invocation/"+late+"/response", `"late"`)).must(t, 400, "InvalidRequestID")
		}
		seen[told] = true
		p.ask(post("invocation/"+told+"/response", "2")).must(t, 202, "")
		if body, err := x.outcome(t); body != "2" || err != nil {
			t.Errorf("%q %v", body, err)
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
		{"too deep", post("invocation/r/response", strings.Repeat("[", 600)+strings.Repeat("]", 600)), 202, "", core.KindInvalid, "over 512 lists"},
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
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			id := fmt.Sprintf("r%d", i) // one that is told again is told otherwise
			x := p.deliver(id, `{}`)
			a := p.ask(strings.Replace(test.raw, "/r/", "/"+id+"/", 1))
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
	for i, body := range []string{
		`{"errorType":"E","errorMessage":"` + strings.Repeat(`\ud83d\ude00`, 40<<10) + `"}`,
		`{"errorType":"E","errorMessage":"` + strings.Repeat(`\u0001`, 100<<10) + `","stackTrace":[` + frame + strings.Repeat(","+frame, 100) + `]}`,
		`{"errorType":"E","stackTrace":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`,
		strings.Repeat("\xc3", 200<<10),
	} {
		id := fmt.Sprintf("r%d", i)
		x := p.deliver(id, `1`)
		p.ask(post("invocation/"+id+"/error", body)).must(t, 202, "")
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
	for i := range 3 {
		id := fmt.Sprintf("r%d", i)
		x = p.send(id, "1")
		if a := hear(r, "GET"); a.status != 200 {
			t.Fatalf("%+v", a)
		}
		for _, b := range []byte(post("invocation/"+id+"/response", `[1,2]`, "Expect: 100-continue\r\n")) {
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
	x = p.send("s", "1")
	if a := hear(r, "GET"); a.status != 200 {
		t.Fatalf("%+v", a)
	}
	fmt.Fprint(conn, post("invocation/s/response", "3"))
	if body, err := x.outcome(t); body != "3" || err != nil {
		t.Errorf("%q %v", body, err)
	}
	for _, c := range idle {
		c.Close()
	}
	// One that asks for an event and goes away does not get it. What is answered on another connection shows
	// that all before it was seen.
	hear(r, "POST")
	fmt.Fprint(conn, get("invocation/next"))
	p.ask(get("x")).must(t, 404, "NotFound")
	conn.Close()
	p.ask(get("x")).must(t, 404, "NotFound")
	x = p.send("t", "1")
	<-x.sent
	p.ask(get("x")).must(t, 404, "NotFound")
	if a := p.ask(get("invocation/next")); a.status != 200 || a.body != "1" {
		t.Fatalf("%+v", a)
	}
	p.ask(post("invocation/t/response", "4")).must(t, 202, "")
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
