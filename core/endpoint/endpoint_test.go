package endpoint

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// frame encodes a frame.
func frame(kind byte, body string) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+1)), kind), body...)
}

// hear reads one frame as an instance does.
func hear(t *testing.T, conn net.Conn) (kind byte, body []byte) {
	t.Helper()
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		t.Error(err)
		return 0, nil
	}
	body = make([]byte, binary.BigEndian.Uint32(head[:])-1)
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Error(err)
	}
	return head[4], body
}

func TestImport(t *testing.T) {
	near, far := net.Pipe()
	want := core.HandlerLoad{Function: "f", Version: 3, Handler: "a/b.c", Memory: 1 << 30, Env: map[string]string{"A": "é\n"},
		Packages: []string{"/packages/a-1"}, Modules: []string{"a", "a.b"}, Watch: true}
	go func() {
		kind, body := hear(t, far)
		var got core.HandlerLoad
		if err := json.Unmarshal(body, &got); err != nil || kind != 'H' || !reflect.DeepEqual(got, want) {
			t.Errorf("%c %s: %v", kind, body, err)
		}
		far.Write(frame('P', `{"took":0.5,"modules":{"a":0.25,"a.b":0},"threads":2,"loaded":["c","a.d"],"sets":["A"]}`))
	}()
	report, err := Import(t.Context(), Open(near, 2), want)
	if err != nil || !reflect.DeepEqual(report, core.HandlerReport{Sets: []string{"A"}, Report: core.Report{Took: 500 * time.Millisecond, Threads: 2, Loaded: []string{"c", "a.d"},
		Modules: map[string]time.Duration{"a": 250 * time.Millisecond, "a.b": 0}}}) {
		t.Errorf("%+v, %v", report, err)
	}
	// Then an event. The answer to an import does not answer it.
	for _, answer := range []byte{'R', 'P'} {
		go func() {
			kind, body := hear(t, far)
			if token := tokenOf(t, body); kind != 'E' || string(body) != "\x00\x00\x00\x54"+`{"id":"i\n","deadline_ms":1000,"depth":2,"token":"`+token+`"}1` || len(token) != tokenSize {
				t.Errorf("%c %q", kind, body)
			}
			far.Write(frame(answer, "2"))
		}()
		x := New(Open(near, 2))
		if err := x.Send(core.Invocation{ID: "i\n", Event: []byte("1"), Depth: 2}, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		kind, body, err := x.Receive()
		if answer == 'R' && (kind != 'R' || string(body) != "2" || err != nil) || answer == 'P' && !IsBroken(err) {
			t.Errorf("%c %q %v", kind, body, err)
		}
		x.Free()
	}
}

func TestImportFails(t *testing.T) {
	tests := []struct {
		name   string
		answer []byte // nil: none, the process ends
		broken bool
		kind   core.Kind
		says   string
	}{
		{"raises", frame('F', `{"kind":"exception","fault":"handler","message":"no","exception":{"type":"E","message":"no","stack":["a"]}}`), false, core.KindException, "no"},
		{"has no such handler", frame('F', `{"kind":"invalid","fault":"handler","message":"no f"}`), false, core.KindInvalid, "no f"},
		{"fails without a reason", frame('F', `{}`), true, core.KindInternal, "failed import"},
		{"babbles", frame('F', `}`), true, core.KindInternal, "failed import"},
		{"reports no threads", frame('P', `{"took":1}`), true, core.KindInternal, "reported"},
		{"reports nonsense", frame('P', `1`), true, core.KindInternal, "reported"},
		{"answers an event", frame('R', `1`), true, core.KindInternal, `'R'`},
		{"answers twice", append(frame('P', `{"threads":1}`), frame('P', `{"threads":1}`)...), true, core.KindInternal, "more than one"},
		{"ends", nil, false, "", "EOF"},
		{"ends in its answer", frame('P', `{"threads":1}`)[:9], false, "", "EOF"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			near, far := net.Pipe()
			go func() {
				hear(t, far)
				far.Write(test.answer)
				far.Close()
			}()
			_, err := Import(t.Context(), Open(near, 2), core.HandlerLoad{})
			if err == nil || IsBroken(err) != test.broken || IsUnsent(err) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%v", err)
			}
			var told *core.Error
			if errors.As(err, &told) != (test.kind != "") || told != nil && told.Kind != test.kind {
				t.Errorf("%+v", told)
			}
			if test.name == "raises" && (told.Exception == nil || told.Exception.Stack[0] != "a") {
				t.Errorf("%+v", told.Exception)
			}
		})
	}
	near, far := net.Pipe()
	far.Close()
	if _, err := Import(t.Context(), Open(near, 2), core.HandlerLoad{}); !IsUnsent(err) {
		t.Errorf("an instance that has ended before: %v", err)
	}
}

func TestImportGivenUp(t *testing.T) {
	for _, reads := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			if reads {
				go hear(t, far)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			if _, err := Import(ctx, Open(near, 2), core.HandlerLoad{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	}
}

// A failure of the driver's own in an event is not the handler's fault. The instance is not used again.
func TestDriverFailed(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		hear(t, far)
		far.Write(frame('L', `{"kind":"internal","message":"the runtime failed"}`))
	}()
	x := New(Open(near, 2))
	defer x.Free()
	if err := x.Send(core.Invocation{ID: "i", Event: []byte("1")}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	kind, body, err := x.Receive()
	if err == nil {
		_, err = Answer(kind, body)
	}
	if e := core.AsError(err); !IsBroken(err) || e.Kind != core.KindInternal || e.Fault != core.FaultDriver || e.Message != "the runtime failed" {
		t.Errorf("%+v", err)
	}
}
