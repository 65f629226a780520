package endpoint

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// tokenOf returns the token of an event's frame.
func tokenOf(t *testing.T, body []byte) string {
	t.Helper()
	var meta struct{ Token string }
	if len(body) < lengthSize {
		return ""
	}
	if err := json.Unmarshal(body[lengthSize:lengthSize+binary.BigEndian.Uint32(body)], &meta); err != nil {
		t.Errorf("%q: %v", body, err)
	}
	return meta.Token
}

// sockets returns the two ends of a real endpoint.
func sockets(t *testing.T) (near, far net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "endpoint")
		if ends[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		file.Close()
		t.Cleanup(func() { ends[i].Close() })
	}
	return ends[0], ends[1]
}

// send sends an event and returns the frame that the instance got.
func send(t *testing.T, x *Exchange, far net.Conn) (token string) {
	t.Helper()
	if err := x.Send(core.Invocation{ID: "i", Event: []byte("1")}, time.Now()); err != nil {
		t.Fatal(err)
	}
	_, body := hear(t, far)
	return tokenOf(t, body)
}

// An answer or a call counts only with the token of the event under way, however it arrives.
func TestTokens(t *testing.T) {
	long := strings.Repeat("x", 2*readAhead)
	var last string
	for name, test := range map[string]struct {
		frames  func(token string) [][]byte
		answer  string // empty: it is refused
		invokes int
	}{
		"answer":      {func(token string) [][]byte { return [][]byte{frame('R', token+"1")} }, "1", 0},
		"long answer": {func(token string) [][]byte { return [][]byte{frame('R', token+long)} }, long, 0},
		"call and answer": {func(token string) [][]byte {
			return [][]byte{frame('I', token+callBody(`{"call":1}`, "1")), frame('R', token+"2")}
		}, "2", 1},
		"none":                {func(string) [][]byte { return [][]byte{frame('R', "1")} }, "", 0},
		"none, long":          {func(string) [][]byte { return [][]byte{frame('R', long)} }, "", 0},
		"of an earlier event": {func(string) [][]byte { return [][]byte{frame('R', last+"1")} }, "", 0},
		"a part of it":        {func(token string) [][]byte { return [][]byte{frame('R', token[:tokenSize-1])} }, "", 0},
		"call without": {func(token string) [][]byte {
			return [][]byte{frame('I', callBody(`{"call":1}`, "1")), frame('R', token+"2")}
		}, "", 0},
		"exception without":  {func(string) [][]byte { return [][]byte{frame('X', `{}`)} }, "", 0},
		"death without":      {func(string) [][]byte { return [][]byte{frame('D', `{}`)} }, "", 0},
		"limit without":      {func(string) [][]byte { return [][]byte{frame('L', `{}`)} }, "", 0},
		"answer and surplus": {func(token string) [][]byte { return [][]byte{append(frame('R', token+"1"), frame('R', token+"2")...)} }, "", 0},
		"call, and what is no": {func(token string) [][]byte {
			return [][]byte{append(frame('I', token+callBody(`{"call":1}`, "1")), frame('R', "2")...)}
		}, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := sockets(t)
			x := New(Open(near, tokens))
			defer x.Free()
			token := send(t, x, far)
			if token == last || len(token) != tokenSize {
				t.Errorf("token %q", token)
			}
			for _, f := range test.frames(token) {
				if _, err := far.Write(f); err != nil {
					t.Fatal(err)
				}
			}
			last = token
			kind, body, err := x.Receive()
			for range test.invokes {
				if call, callErr := ReadCall(body); err != nil || !IsCall(kind) || callErr != nil || call.Number != 1 {
					t.Fatalf("%c %q, %v %v", kind, body, err, callErr)
				}
				kind, body, err = x.Receive()
			}
			if test.answer != "" && (err != nil || kind != 'R' || string(body) != test.answer) || test.answer == "" && !IsBroken(err) {
				t.Errorf("%c %.80q, %v", kind, body, err)
			}
		})
	}
}

// An instance that has sent something unasked gets no event.
func TestUnasked(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		near, far := sockets(t)
		conn := Open(near, protocol)
		for range 2 {
			x := New(conn)
			token := send(t, x, far)
			if protocol < tokens {
				token = ""
			}
			far.Write(frame('R', token+"1"))
			if kind, body, err := x.Receive(); kind != 'R' || string(body) != "1" || err != nil {
				t.Fatalf("%c %q %v", kind, body, err)
			}
			x.Free()
		}
		far.Write([]byte("x"))
		x := New(conn)
		if err := x.Send(core.Invocation{ID: "i", Event: []byte("1")}, time.Now()); !IsUnsent(err) {
			t.Errorf("version %d: %v", protocol, err)
		}
		far.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := far.Read(make([]byte, 9)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("version %d: it got %d bytes, %v", protocol, n, err)
		}
		x.Free()
	}
}

// An event may go to another instance only if this one cannot have run anything of it. The kernel resets the
// connection also when a process has ended without reading the answer to a call.
func TestUnsent(t *testing.T) {
	large := []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	for name, test := range map[string]struct {
		event  []byte
		does   func(t *testing.T, far net.Conn, token string)
		calls  bool
		unsent bool
	}{
		"is gone":                         {[]byte("1"), nil, false, true},
		"ends in the middle of the event": {large, func(t *testing.T, far net.Conn, _ string) { io.ReadFull(far, make([]byte, 999)) }, false, true},
		"ends before it reads":            {[]byte("1"), func(*testing.T, net.Conn, string) {}, false, true},
		"has read":                        {[]byte("1"), func(t *testing.T, far net.Conn, _ string) { hear(t, far) }, false, false},
		"has read a long one":             {large, func(t *testing.T, far net.Conn, _ string) { hear(t, far) }, false, false},
		"ends before the last byte": {[]byte("1"), func(t *testing.T, far net.Conn, _ string) {
			head := make([]byte, headSize)
			io.ReadFull(far, head)
			io.ReadFull(far, make([]byte, binary.BigEndian.Uint32(head)-2))
		}, false, true},
		"has called, and read no answer": {[]byte("1"), nil, true, false},
		"has called, and been not answered": {[]byte("1"), func(t *testing.T, far net.Conn, _ string) {
			hear(t, far)
			far.Write([]byte("x"))
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := sockets(t)
			near.SetDeadline(time.Now().Add(10 * time.Second))
			conn := Open(near, tokens)
			x := New(conn)
			defer x.Free()
			if test.does == nil && !test.calls {
				far.Close()
			}
			done := make(chan struct{})
			answered := make(chan struct{})
			go func() {
				defer close(done)
				switch {
				case test.calls:
					_, body := hear(t, far)
					far.Write(frame('I', tokenOf(t, body)+callBody(`{"call":1,"function":"f"}`, "1")))
					<-answered
				case test.does != nil:
					time.Sleep(50 * time.Millisecond)
					test.does(t, far, "")
				}
				far.Close()
			}()
			err := x.Send(core.Invocation{ID: "i", Event: test.event}, time.Now())
			if err == nil {
				_, _, err = x.Receive()
			}
			if test.calls {
				if err != nil {
					t.Fatal(err)
				}
				if err := SendAnswer(conn, 1, []byte("1"), nil); err != nil {
					t.Fatal(err)
				}
				close(answered)
				<-done
				_, _, err = x.Receive()
			}
			if err == nil || IsUnsent(err) != test.unsent {
				t.Errorf("%v, unsent %v", err, IsUnsent(err))
			}
			<-done
		})
	}
}

// An unread answer to a call of the previous event may lie in front of the next event. The order of reading
// still shows whether that event was read.
func TestUnsentBehindAnAnswer(t *testing.T) {
	for _, frames := range []int{0, 1, 2} { // that it reads: that answer, and the event
		near, far := sockets(t)
		conn := Open(near, tokens)
		x := New(conn)
		token := send(t, x, far)
		far.Write(frame('I', token+callBody(`{"call":1,"function":"f"}`, "1")))
		if kind, _, err := x.Receive(); !IsCall(kind) || err != nil {
			t.Fatalf("%c %v", kind, err)
		}
		if err := SendAnswer(conn, 1, []byte("1"), nil); err != nil {
			t.Fatal(err)
		}
		far.Write(frame('R', token+"1"))
		if kind, _, err := x.Receive(); kind != 'R' || err != nil {
			t.Fatalf("%c %v", kind, err)
		}
		x.Free()
		x = New(conn)
		if err := x.Send(core.Invocation{ID: "i", Event: []byte("2")}, time.Now()); err != nil {
			t.Fatal(err)
		}
		for range frames {
			hear(t, far)
		}
		far.Close()
		if _, _, err := x.Receive(); err == nil || IsUnsent(err) != (frames < 2) {
			t.Errorf("it has read %d of two frames: %v, unsent %v", frames, err, IsUnsent(err))
		}
		x.Free()
	}
}

func BenchmarkExchange(b *testing.B) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		b.Fatal(err)
	}
	file := os.NewFile(uintptr(fds[0]), "")
	near, err := net.FileConn(file)
	if err != nil {
		b.Fatal(err)
	}
	file.Close()
	syscall.SetNonblock(fds[1], false)
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := syscall.Read(fds[1], buffer)
			if n <= 0 || err != nil {
				return
			}
			at := strings.Index(string(buffer[:n]), `"token":"`) + len(`"token":"`)
			syscall.Write(fds[1], frame('R', string(buffer[at:at+tokenSize])+"1"))
		}
	}()
	conn := Open(near, tokens)
	b.ReportAllocs()
	for b.Loop() {
		x := New(conn)
		if err := x.Send(core.Invocation{ID: "i", Event: []byte("1")}, time.Now()); err != nil {
			b.Fatal(err)
		}
		if _, _, err := x.Receive(); err != nil {
			b.Fatal(err)
		}
		x.Free()
	}
	near.Close()
	syscall.Close(fds[1])
}

// An instance learns that a caller has gone by a frame with the token of the event. One that ends and has not
// read it has read the event all the same.
func TestGoneUnread(t *testing.T) {
	for _, several := range []bool{false, true} {
		near, far := sockets(t)
		near.SetDeadline(time.Now().Add(10 * time.Second))
		conn := Open(near, tokens)
		invocation := core.Invocation{ID: "i", Event: []byte("1")}
		var send func() error
		var receive func() error
		if several {
			e, err := NewMux(conn, nil).Send(invocation, time.Now().Add(time.Minute), nil)
			if err != nil {
				t.Fatal(err)
			}
			send = func() error { return e.SendGone(time.Now()) }
			receive = func() error { _, _, err := e.Receive(t.Context(), time.Time{}); return err }
		} else {
			x := New(conn)
			defer x.Free()
			if err := x.Send(invocation, time.Now()); err != nil {
				t.Fatal(err)
			}
			send = func() error { return SendGone(conn, x.Leave()) }
			receive = func() error { _, _, err := x.Receive(); return err }
		}
		_, body := hear(t, far)
		for range 2 {
			if err := send(); err != nil {
				t.Fatal(err)
			}
		}
		if kind, told := hear(t, far); kind != 'G' || string(told) != tokenOf(t, body) {
			t.Errorf("%c %q", kind, told)
		}
		far.Close() // with the second one unread
		if err := receive(); !errors.Is(err, syscall.ECONNRESET) || IsUnsent(err) {
			t.Errorf("several %v: %v, unsent: %v", several, err, IsUnsent(err))
		}
	}
}
