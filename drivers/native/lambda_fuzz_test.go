package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// FuzzRequests sends what a bootstrap must not to the API, cut in two anywhere, and then sees whether it
// still works. The program is checked by the compiler's sanitizers, and one serves all inputs, so what one
// leaves behind meets the next.
func FuzzRequests(f *testing.F) {
	seeds := []string{
		get("invocation/next"), post("invocation/r/response", `{"a":[1,"\u00e9"]}`), post("invocation/r/error", `{"errorType":"E","errorMessage":"m","stackTrace":[{"path":"p","line":1,"label":"l"}]}`),
		get("invocation/next") + get("invocation/next") + post("invocation/r/response", "1") + get("x"),
		"POST " + api + "invocation/r/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1,2\r\n0\r\nLambda-Runtime-Function-Error-Type: T\r\nLambda-Runtime-Function-Error-Body: e30=\r\n\r\n",
		"POST " + api + "invocation/r/response HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n", "CONNECT x:1 HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 2000) + "\r\n", "POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n",
	}
	for _, seed := range seeds {
		for _, at := range []uint16{0, 7, 60} {
			f.Add([]byte(seed), at)
		}
	}
	p, sent := newPlayer(f), 0
	f.Fuzz(func(t *testing.T, raw []byte, at uint16) {
		sent++
		id := fmt.Sprintf("r%d", sent) // one that is told again is told otherwise
		raw = bytes.ReplaceAll(raw, []byte("/r/"), []byte("/"+id+"/"))
		e := p.send(id, `{"a":1}`)
		good, err := net.Dial("tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			// The attack may ask for the event itself, and answer it: what counts is that somebody does.
			r := bufio.NewReader(good)
			for _, err := io.WriteString(good, get("invocation/next")); err == nil; _, err = io.WriteString(good, get("invocation/next")) {
				if a := hear(r, "GET"); a.err != nil {
					return
				}
				if _, err := io.WriteString(good, post("invocation/"+id+"/response", "2")); err != nil || hear(r, "POST").err != nil {
					return
				}
			}
		}()
		attack, err := net.Dial("tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		cut := int(at) % (len(raw) + 1)
		_, _ = attack.Write(raw[:cut])
		_, _ = attack.Write(raw[cut:])
		<-e.answered
		if e.err != nil {
			t.Fatalf("no answer to the event: %v\n%s", e.err, p.logs)
		}
		good.Close()
		attack.Close()
	})
}
