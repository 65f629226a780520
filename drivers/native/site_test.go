package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
)

// Is a response passed on as it comes, from a program that speaks the Runtime API and from one that listens?

// takes says that a response is taken in parts; nothing calls it.
type takes struct{}

func (takes) Begin([]byte, core.Result) error     { return nil }
func (takes) Write(context.Context, []byte) error { return nil }
func offered(id, event string) core.Invocation {
	return core.Invocation{ID: id, Event: []byte(event), Stream: takes{}}
}
func chunk(bytes string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(bytes), bytes) }
func streaming(id string, fields, body, end string) string {
	return "POST " + api + "invocation/" + id + "/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + fields + "\r\n" + body + end
}

// taken is a response in parts: the first head, all bytes, and the last frame. After most parts core refuses
// the next.
type taken struct {
	head, bytes string
	kind        byte
	body        []byte
	err         error
}

func (i *instance) take(invocation core.Invocation, most int) <-chan taken {
	_ = i.conn.SetDeadline(time.Now().Add(patience))
	done := make(chan taken, 1)
	go func() {
		var all taken
		defer func() { done <- all }()
		x := endpoint.New(i.conn)
		if all.err = x.Send(invocation, time.UnixMilli(1234567890123)); all.err != nil {
			return
		}
		for {
			kind, body, err := x.Receive()
			if err != nil || !endpoint.IsPart(kind) {
				all.kind, all.body, all.err = kind, body, err
				return
			}
			part, err := endpoint.ReadPart(body)
			if err != nil {
				all.err = err
				return
			}
			all.head += string(part.Head)
			all.bytes += string(part.Bytes)
			var refused error
			if most--; most < 0 {
				refused = core.Errorf(core.KindCanceled, core.FaultCaller, "the test went away")
			}
			if all.err = endpoint.SendAnswer(i.conn, part.Number, nil, refused); all.err != nil {
				return
			}
		}
	}()
	return done
}

const (
	prelude = "Content-Type: application/vnd.awslambda.http-integration-response\r\n"
	nuls    = "\x00\x00\x00\x00\x00\x00\x00\x00"
	many    = 1 << 20
)

func TestStreamedResponses(t *testing.T) {
	p := newPlayer(t)
	mode := "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
	failed := "Lambda-Runtime-Function-Error-Type: Other\r\nLambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiJCb29tIn0=\r\n"
	large := strings.Repeat("x", 7<<20)
	for i, test := range []struct {
		name, raw, head, bytes string
		most                   int
		kind                   byte
		says                   string
	}{
		{"plain", streaming("r", mode+"Content-Type: text/plain\r\n", chunk("one")+chunk("two"), "0\r\n\r\n"), `{"headers":{"content-type":"text/plain"}}`, "onetwo", many, 'R', ""},
		{"nothing", streaming("r", mode, "", "0\r\n\r\n"), `{}`, "", many, 'R', ""},
		{"large", streaming("r", mode, chunk(large), "0\r\n\r\n"), `{}`, large, many, 'R', ""},
		{"prelude", streaming("r", prelude, chunk(`{"statusCode":201}`+nuls+"é"), "0\r\n\r\n"), `{"statusCode":201}`, "é", many, 'R', ""},
		{"prelude in pieces", streaming("r", prelude+mode, chunk(`{"statusCode"`)+chunk(":201}"+nuls[:3])+chunk(nuls[3:])+chunk("b\x00c"), "0\r\n\r\n"), `{"statusCode":201}`, "b\x00c", many, 'R', ""},
		{"no prelude", streaming("r", prelude, chunk("no head"), "0\r\n\r\n"), "", "", many, 'L', "has no head"},
		{"prelude that is no object", streaming("r", prelude, chunk("[]"+nuls), "0\r\n\r\n"), "", "", many, 'L', "has no head"},
		{"prelude without end", streaming("r", prelude, chunk(strings.Repeat("{", 80<<10)), "0\r\n\r\n"), "", "", many, 'L', "has no head"},
		{"error in a trailer", streaming("r", mode, chunk("one"), "0\r\n"+failed+"\r\n"), "", "", many, 'X', "Boom"},
		{"error at once", streaming("r", mode, "", "0\r\n"+failed+"\r\n"), "", "", many, 'X', "Boom"},
		{"broken off", streaming("r", mode, chunk("one"), "5\r\nab"), `{}`, "oneab", many, 'X', "before the end of its response"},
		{"refused", streaming("r", mode, chunk("one"), "5\r\n"), `{}`, "one", 0, 'R', ""},
		{"JSON", streaming("r", "Content-Type: application/json\r\n", chunk(`{"a":1}`), "0\r\n\r\n"), "", "", many, 'R', `{"a":1}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := fmt.Sprintf("s%d", i)
			done := p.take(offered(id, "{}"), test.most)
			if a := p.ask(get("invocation/next")); a.status != 200 {
				t.Fatalf("%+v", a)
			}
			conn := p.dial()
			go func() {
				_, _ = io.WriteString(conn, strings.Replace(test.raw, "/r/", "/"+id+"/", 1))
				_ = conn.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it is one
			}()
			got := <-done
			conn.Close()
			if got.err != nil || got.head != test.head || got.bytes != test.bytes || got.kind != test.kind || !strings.Contains(string(got.body), test.says) {
				t.Errorf("%q %.50q (%d bytes), then %c %.200q, %v", got.head, got.bytes, len(got.bytes), got.kind, got.body, got.err)
			}
		})
	}
	x := p.deliver("whole", "{}")
	p.ask(streaming("whole", prelude, chunk(`{"statusCode":201,"cookies":["a"]}`+nuls+"\xff"), "0\r\n\r\n")).must(t, 202, "")
	if body, err := x.outcome(t); body != `{"isBase64Encoded":true,"body":"/w==","statusCode":201,"cookies":["a"]}` || err != nil {
		t.Errorf("where nobody takes parts: %s %v", body, err)
	}
}

// TestSites has the test listen for a bootstrap that does not ask for events.
func TestSites(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	requests, answers := make(chan string, 1), make(chan string, 1)
	go serveRaw(listener, requests, answers)
	i := newInstance(t, "#!/bin/sh\nexec sleep 600\n", 0o755)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if _, err := i.load(map[string]string{"PORT": port}); err != nil {
		t.Fatal(err)
	}
	event := func(method, path, rest string) string {
		return `{"rawPath":"` + path + `","requestContext":{"http":{"method":"` + method + `"}}` + rest + `}`
	}
	large := strings.Repeat("x", 300<<10)
	for _, test := range []struct{ name, event, request, answer, head, bytes, end string }{
		{"whole", event("GET", "/a%20b", `,"rawQueryString":"x=%C3%A4&y","headers":{"host":"h","connection":"upgrade","x-a":"é"},"cookies":["a=1","b=2"]`),
			"GET /a%20b?x=%C3%A4&y HTTP/1.1\r\nhost: h\r\nx-a: é\r\ncookie: a=1; b=2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
			"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\nSet-Cookie: a=1; Path=/\r\nset-cookie: b=2\r\nConnection: close\r\n\r\nok", "", "",
			`R {"isBase64Encoded":false,"body":"ok","statusCode":201,"headers":{"x-a":"1, 2"},"cookies":["a=1; Path=/","b=2"]}`},
		{"body", event("POST", "/", `,"body":"/wD+","isBase64Encoded":true`), "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\nconnection: close\r\n\r\n\xff\x00\xfe",
			"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "", "", `R {"isBase64Encoded":false,"body":"","statusCode":204,"headers":{},"cookies":[]}`},
		{"until the end", event("GET", "/", ""), "", "HTTP/1.0 200 OK\r\n\r\n" + large, `{"statusCode":200,"headers":{},"cookies":[]}`, large, "R null"},
		{"head", event("HEAD", "/", ""), "", "HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n", "", "", `R {"isBase64Encoded":false,"body":"","statusCode":200,"headers":{"content-length":"70"},"cookies":[]}`},
		{"bytes", event("GET", "/", ""), "", "HTTP/1.1 200 OK\r\nX: \xff\r\nContent-Length: 1\r\n\r\n\xff", "", "", `R {"isBase64Encoded":true,"body":"/w==","statusCode":200,"headers":{"x":"\ufffd"},"cookies":[]}`},
		{"half", event("GET", "/", ""), "", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", `{"statusCode":200,"headers":{},"cookies":[]}`, "half", "X before the end of its response"},
		{"nothing", event("GET", "/", ""), "", "", "", "", "X without a response"},
		{"no HTTP", event("GET", "/", ""), "", "220 mail ready\r\n", "", "", "X without a response"},
		{"long head", event("GET", "/", ""), "", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n", "", "", "X over 65536 bytes"},
		{"many fields", event("GET", "/", ""), "", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: 1\r\n", 300) + "\r\n", "", "", "X without a response"},
		{"no request", `{}`, "none", "", "", "", "X is a web application"},
		{"split", event("GET", `/\r\nX: 1`, ""), "none", "", "", "", "X is a web application"},
		{"split field", event("GET", "/", `,"headers":{"a":"b\r\nc: d","e f":"g","x":"1"}`), "GET / HTTP/1.1\r\nx: 1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", "", `R {"isBase64Encoded":false,"body":"","statusCode":200,"headers":{},"cookies":[]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.request != "none" {
				answers <- test.answer
			}
			got := <-i.take(offered("r", test.event), many)
			if test.request != "none" {
				if request := <-requests; test.request != "" && request != test.request {
					t.Errorf("the request is %q", request)
				}
			}
			kind, says, _ := strings.Cut(test.end, " ")
			if got.err != nil || got.head != test.head || got.bytes != test.bytes || string(got.kind) != kind || !strings.Contains(string(got.body), says) {
				t.Errorf("%q %.50q (%d bytes), then %c %q, %v", got.head, got.bytes, len(got.bytes), got.kind, got.body, got.err)
			}
		})
	}
}

// TestSiteGone: when the caller goes away, the program reads the end of its input. The event is over when it
// has answered, or closed the connection.
func TestSiteGone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	i := newInstance(t, "#!/bin/sh\nexec sleep 600\n", 0o755)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	answers := make(chan string, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if text, _ := io.ReadAll(conn); len(text) > 0 { // to its end
				_, _ = io.WriteString(conn, <-answers)
			}
			conn.Close()
		}
	}()
	if _, err := i.load(map[string]string{"PORT": port}); err != nil {
		t.Fatal(err)
	}
	whole := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, test := range []struct{ answer, result string }{{whole, `"body":"ok"`}, {"", "{"}, {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "null"}, {whole, `"body":"ok"`}} {
		for _, late := range []time.Duration{0, 50 * time.Millisecond} { // the news may be read with the event
			_ = i.conn.SetDeadline(time.Now().Add(patience))
			answers <- test.answer
			x := endpoint.New(i.conn)
			if err := x.Send(core.Invocation{ID: "r", Event: []byte(`{"rawPath":"/","requestContext":{"http":{"method":"GET"}}}`), Stream: takes{}}, time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(late)
			token := x.Leave()
			if err := endpoint.SendGone(i.conn, token); err != nil {
				t.Fatal(err)
			}
			kind, body, err := x.Receive()
			for err == nil && endpoint.IsPart(kind) {
				var part endpoint.Part
				if part, err = endpoint.ReadPart(body); err == nil {
					err = endpoint.SendAnswer(i.conn, part.Number, nil, nil)
				}
				if err == nil {
					kind, body, err = x.Receive()
				}
			}
			if err != nil || kind != 'R' || !strings.Contains(string(body), test.result) {
				t.Errorf("%.20q: %c %q, %v", test.answer, kind, body, err)
			}
			x.Free()
			if err := endpoint.SendGone(i.conn, token); err != nil { // about an event that is over
				t.Fatal(err)
			}
		}
	}
}

// serveRaw answers one connection after the other. One on which nothing is asked only looks whether somebody
// listens.
func serveRaw(listener net.Listener, requests, answers chan string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		buffer := make([]byte, 64<<10)
		if n, _ := conn.Read(buffer); n > 0 {
			text := string(buffer[:n])
			for !strings.Contains(text, "\r\n\r\n") || strings.HasSuffix(text, "\r\n\r\n") && strings.HasPrefix(text, "POST") {
				n, err := conn.Read(buffer)
				if text += string(buffer[:n]); err != nil {
					break
				}
			}
			_, _ = io.WriteString(conn, <-answers)
			requests <- text
		}
		conn.Close()
	}
}
