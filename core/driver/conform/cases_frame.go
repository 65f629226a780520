package conform

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"syscall"
	"time"
)

var frameCases = []Case{
	{Name: "frame/unknown-kind", Clauses: []string{"E2"}, run: func(t *trial) { t.cuts(t.instance(), frame('?', []byte("{}"))) }},
	{Name: "frame/empty", Clauses: []string{"E2"}, run: func(t *trial) { t.cuts(t.instance(), []byte{0, 0, 0, 0}) }},
	{Name: "frame/too-long", Clauses: []string{"E2"}, run: func(t *trial) {
		t.cuts(t.instance(), append(binary.BigEndian.AppendUint32(nil, frameLimit+1), 'E'))
	}},
	{Name: "frame/event-before-the-handler", Clauses: []string{"E1", "E2"}, run: func(t *trial) {
		n := t.parked()
		t.cuts(n, frame('E', n.wire.eventBody([]byte("1"), time.Now().Add(time.Minute))))
	}},
	{Name: "frame/second-handler", Clauses: []string{"E1", "E2"}, run: frameSecondHandler},
	{Name: "frame/event-in-single-bytes", Clauses: []string{"E1"}, run: frameBytes},
	{Name: "frame/end-of-file", Clauses: []string{"E6"}, run: frameEnd},
	{Name: "frame/end-of-file-within-one", Clauses: []string{"E6"}, run: frameBroken},
	{Name: "frame/end-of-file-after-an-event", Clauses: []string{"E6"}, run: frameEndBusy},
}

// cuts checks that an instance closes its endpoint after something impossible, and says nothing any more.
func (t *trial) cuts(n *node, impossible []byte) {
	n.wire.write(impossible)
	a, err := n.wire.receive(patience)
	switch {
	case err == nil:
		t.errorf("an impossible frame is answered by %s", a)
	case !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET):
		t.errorf("after an impossible frame the instance does not close its socket: %v", err)
	}
	t.usable("an impossible frame")
}

func frameSecondHandler(t *trial) {
	body, err := json.Marshal(t.handlerLoad())
	t.must(err, "encoding a load")
	t.cuts(t.instance(), frame('H', body))
}

func frameBytes(t *trial) {
	n := t.instance()
	for range 3 {
		f := frame('E', n.wire.eventBody([]byte(`[1,"two"]`), time.Now().Add(time.Minute)))
		for i := range f {
			n.wire.write(f[i : i+1])
		}
		t.mustEcho(n, `[1,"two"]`)
	}
}

func frameEnd(t *trial) {
	n := t.instance()
	t.alive(n, "its import")
	n.wire.conn.Close()
	t.ends(n, "the end of its endpoint")
}

func frameBroken(t *trial) {
	n := t.instance()
	f := frame('E', n.wire.eventBody([]byte(`"half of an event"`), time.Now().Add(time.Minute)))
	n.wire.write(f[:len(f)/2])
	n.wire.conn.Close()
	t.ends(n, "the end of its endpoint within a frame")
}

// frameEndBusy: nobody reads the answer any more.
func frameEndBusy(t *trial) {
	n := t.instance()
	t.sendEvent(n, do{"do": "sleep", "ms": 200})
	n.wire.conn.Close()
	t.ends(n, "the end of its endpoint under an event")
}
