package endpoint

import (
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func callBody(meta, event string) string {
	return string([]byte{0, 0, 0, byte(len(meta))}) + meta + event
}

// Calls and parts may follow each other closely, in one packet or in single bytes, and be longer than the
// read-ahead buffer.
func TestCallsBeforeTheAnswer(t *testing.T) {
	long := `"` + strings.Repeat("x", 3*readAhead) + `"`
	stream := slices.Concat(
		frame('I', callBody(`{"call":1,"function":"a"}`, `1`)),
		frame('I', callBody(`{"call":2,"function":"b"}`, long)),
		frame('I', callBody(`{"call":3,"function":"c"}`, `3`)),
		frame('S', callBody(`{"call":4,"head":{"statusCode":200}}`, long)),
		frame('S', callBody(`{"call":5}`, "\xff")),
		frame('R', `"done"`))
	for _, piece := range []int{1, 7, readAhead, len(stream)} {
		near, far := net.Pipe()
		go func() {
			hear(t, far)
			for part := range slices.Chunk(stream, piece) {
				far.Write(part)
			}
		}()
		x := New(Open(near, 2))
		if err := x.Send(core.Invocation{ID: "i", Event: []byte("1")}, time.Now()); err != nil {
			t.Fatal(err)
		}
		for i, want := range []Call{{1, "a", []byte("1")}, {2, "b", []byte(long)}, {3, "c", []byte("3")}} {
			kind, body, err := x.Receive()
			if err != nil || !IsCall(kind) {
				t.Fatalf("pieces of %d: call %d is %q, %v", piece, i, kind, err)
			}
			if got, err := ReadCall(body); err != nil || got.Number != want.Number || got.Function != want.Function || string(got.Event) != string(want.Event) {
				t.Errorf("pieces of %d: call %d is %.80v, %v", piece, i, got, err)
			}
		}
		for i, want := range []Part{{4, []byte(`{"statusCode":200}`), []byte(long)}, {5, nil, []byte("\xff")}} {
			kind, body, err := x.Receive()
			if err != nil || !IsPart(kind) {
				t.Fatalf("pieces of %d: part %d is %q, %v", piece, i, kind, err)
			}
			if got, err := ReadPart(body); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("pieces of %d: part %d is %.80v, %v", piece, i, got, err)
			}
		}
		if kind, body, err := x.Receive(); kind != 'R' || string(body) != `"done"` || err != nil {
			t.Errorf("pieces of %d: the answer is %q %q, %v", piece, kind, body, err)
		}
		x.Free()
		near.Close()
	}
}

func TestReadPartRefuses(t *testing.T) {
	for _, body := range []string{"", "\xff\xff\xff\xff{}", callBody(`{"call":0}`, "x"), callBody(`{"head":{}}`, ""), callBody(`{"call":1,"head":"\xff"}`, ""),
		callBody(`{"call":1}`, strings.Repeat("x", core.MaxPart+1))} {
		if _, err := ReadPart([]byte(body)); !IsBroken(err) {
			t.Errorf("%.40q: %v, want a breach of the protocol", body, err)
		}
	}
}

func TestReadCallRefuses(t *testing.T) {
	for _, body := range []string{"", "\x00\x00\x00", "\xff\xff\xff\xff{}", "\x00\x00\x00\x05{}", callBody(`{"call":0,"function":"a"}`, "1"), callBody(`{"call":-1}`, ""), callBody("nonsense", "1")} {
		if _, err := ReadCall([]byte(body)); !IsBroken(err) {
			t.Errorf("%q: %v, want a breach of the protocol", body, err)
		}
	}
}
