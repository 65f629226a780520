package endpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
)

// placeholder stands for the token of the event in what a fuzzed instance sends.
const placeholder = "TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT"

// FuzzFrames: whatever an instance sends, in whatever pieces, is a result in JSON, an error with somebody's
// fault, or an end of the connection. Nothing counts without the token of its event.
func FuzzFrames(f *testing.F) {
	for _, stream := range [][]byte{
		frame('R', placeholder+`{"a":1}`),
		bytes.Join([][]byte{frame('I', placeholder+callBody(`{"call":1,"function":"g"}`, "1")), frame('R', placeholder+"2")}, nil),
		bytes.Join([][]byte{frame('S', placeholder+callBody(`{"call":1,"head":{}}`, "\xff")), frame('S', placeholder+callBody(`{"call":2}`, "")), frame('R', placeholder+"null")}, nil),
		frame('X', placeholder+`{"type":"E","message":"m","stack":["a"],"cause":{"type":"F"}}`),
		frame('L', placeholder+`{"kind":"too_large","message":"m"}`),
		frame('D', placeholder+`{"type":"exit","message":"7"}`),
		frame('R', "2"),
		append(frame('R', placeholder+"1"), frame('R', placeholder+"2")...),
		{0, 0, 0, 0, 'R'},
		{0xff, 0xff, 0xff, 0xff, 'R'},
	} {
		f.Add(stream, byte(0), false)
		f.Add(stream, byte(3), false)
	}
	f.Add(frame('P', `{"took":0.5,"modules":{"m":0.25},"threads":2,"loaded":["c"],"sets":["A"]}`), byte(7), true)
	f.Add(frame('F', `{"kind":"exception","fault":"handler","message":"no","exception":{"type":"E","stack":["a"]}}`), byte(0), true)
	f.Fuzz(func(t *testing.T, stream []byte, piece byte, imports bool) {
		near, far := net.Pipe()
		defer near.Close()
		if imports {
			go sendPieces(far, stream, int(piece), false)
			_, err := Import(t.Context(), Open(near, tokens), core.HandlerLoad{})
			checkFault(t, err)
			return
		}
		x := New(Open(near, tokens))
		defer x.Free()
		go sendPieces(far, stream, int(piece), true)
		if err := x.Send(core.Invocation{ID: "i", Event: []byte("1")}, time.Now()); err != nil {
			t.Fatal(err)
		}
		for {
			kind, body, err := x.Receive()
			if err != nil {
				checkFault(t, err)
				return
			}
			if !bytes.Contains(stream, []byte(placeholder)) {
				t.Fatalf("%q counts without the token", stream)
			}
			if IsCall(kind) {
				if _, err := ReadCall(body); err != nil {
					checkFault(t, err)
					return
				}
				continue
			}
			if IsPart(kind) {
				part, err := ReadPart(body)
				if err != nil {
					checkFault(t, err)
					return
				}
				if part.Head != nil && value.Check(part.Head) != nil || len(part.Bytes) > core.MaxPart {
					t.Errorf("a part with the head %q and %d bytes", part.Head, len(part.Bytes))
				}
				continue
			}
			result, err := Answer(kind, body)
			checkFault(t, err)
			if err == nil && value.Check(result) != nil {
				t.Errorf("a result that is no JSON: %q", result)
			}
			return
		}
	})
}

// sendPieces reads the question, answers it with the stream in pieces of so many bytes, 0 for all at once,
// and goes.
func sendPieces(far net.Conn, stream []byte, piece int, event bool) {
	defer far.Close()
	var head [headSize]byte
	if _, err := io.ReadFull(far, head[:]); err != nil {
		return
	}
	question := make([]byte, binary.BigEndian.Uint32(head[:])-1)
	if _, err := io.ReadFull(far, question); err != nil {
		return
	}
	if event {
		_, token, _ := bytes.Cut(question, []byte(`"token":"`))
		stream = bytes.ReplaceAll(stream, []byte(placeholder), token[:tokenSize])
	}
	for part := range slices.Chunk(stream, cmp.Or(piece, max(len(stream), 1))) {
		if _, err := far.Write(part); err != nil {
			return
		}
	}
}

// checkFault refuses an error of which nobody can say whose fault it is, but for that of a connection that
// has ended.
func checkFault(t *testing.T, err error) {
	t.Helper()
	var told *core.Error
	if err != nil && errors.As(err, &told) && (told.Kind == "" || told.Fault == "") {
		t.Errorf("an error of kind %q and fault %q: %v", told.Kind, told.Fault, err)
	}
}

// FuzzMux: the same for an instance that has two events. Nothing that comes with the token of one reaches the
// other.
func FuzzMux(f *testing.F) {
	const other = "UUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUU"
	for _, stream := range [][]byte{
		append(frame('R', other+`{"b":2}`), frame('R', placeholder+`{"a":1}`)...),
		bytes.Join([][]byte{frame('O', placeholder+"1a\nb"), frame('O', other+"2c"), frame('R', placeholder+"1"), frame('X', other+`{"type":"E"}`)}, nil),
		bytes.Join([][]byte{frame('I', placeholder+callBody(`{"call":1,"function":"g"}`, "1")), frame('S', other+callBody(`{"call":2,"head":{}}`, "x"))}, nil),
		bytes.Join([][]byte{frame('D', other+`{"type":"exit","message":"7"}`), frame('R', placeholder+"1")}, nil),
		frame('O', placeholder+"3x"),
		frame('O', placeholder+"1"),
		frame('O', placeholder),
		frame('R', "2"),
		{0, 0, 0, 0, 'R'},
		{0xff, 0xff, 0xff, 0xff, 'O'},
	} {
		f.Add(stream, byte(0))
		f.Add(stream, byte(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece byte) {
		near, far := net.Pipe()
		defer near.Close()
		var mu sync.Mutex
		printed := map[string]bool{}
		m := NewMux(Open(near, tokens), func(request, name string, text []byte, complete bool) int {
			if len(text) == 0 || name != "stdout" && name != "stderr" {
				t.Errorf("%q is printed to %q", text, name)
			}
			mu.Lock()
			defer mu.Unlock()
			printed[request] = true
			return len(text)
		})
		go sendPiecesOfTwo(far, stream, int(piece), placeholder, other)
		var events [2]*Event
		for i, id := range []string{placeholder, other} {
			event, err := m.Send(core.Invocation{ID: id, Event: []byte("1")}, time.Now().Add(time.Minute), func(body []byte) error {
				_, err := ReadCall(body)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			events[i] = event
		}
		<-m.Done() // the instance has gone
		for _, event := range events {
			for kind, body, err := event.Receive(t.Context(), time.Time{}); ; kind, body, err = event.Receive(t.Context(), time.Time{}) {
				if err != nil {
					checkFault(t, err)
					break
				}
				if !bytes.Contains(stream, []byte(event.request)) {
					t.Fatalf("%q counts for %s", stream, event.request)
				}
				if IsPart(kind) {
					_, err = ReadPart(body)
				} else {
					_, err = Answer(kind, body)
				}
				checkFault(t, err)
			}
			mu.Lock()
			if printed[event.request] && !bytes.Contains(stream, []byte(event.request)) {
				t.Errorf("%q prints for %s", stream, event.request)
			}
			mu.Unlock()
		}
	})
}

// sendPiecesOfTwo is sendPieces for two events.
func sendPiecesOfTwo(far net.Conn, stream []byte, piece int, placeholders ...string) {
	defer far.Close()
	for _, one := range placeholders {
		var head [headSize]byte
		if _, err := io.ReadFull(far, head[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint32(head[:])-1)
		if _, err := io.ReadFull(far, question); err != nil {
			return
		}
		_, token, _ := bytes.Cut(question, []byte(`"token":"`))
		stream = bytes.ReplaceAll(stream, []byte(one), token[:tokenSize])
	}
	for part := range slices.Chunk(stream, cmp.Or(piece, max(len(stream), 1))) {
		if _, err := far.Write(part); err != nil {
			return
		}
	}
}
