package conform

import (
	"encoding/binary"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// The packets at the gate (PROTOCOL.md, Gate).
const (
	noteUser   = 1
	noteGo     = 2
	noteHello  = 3
	noteFailed = 6
	noteSize   = 64
)

// falseGate is a gate that lets nobody in, and looks at who comes.
type falseGate struct {
	*net.UnixListener
	path string
}

// falseGate makes one, for the case.
func (t *trial) falseGate() *falseGate {
	t.sandboxes() // processes that come to it need the machine to be as for a real one
	t.counter++
	path := filepath.Join(t.dir, "gate"+string(t.newID()))
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	t.must(err, "listening at a gate")
	t.atEnd(func() { listener.Close() })
	raw, err := listener.SyscallConn()
	t.must(err, "listening at a gate")
	t.must(raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1) }), "listening at a gate")
	t.must(err, "listening at a gate")
	return &falseGate{listener, path}
}

// sandbox returns the door to nowhere, for a node.
func (g *falseGate) door(id core.NodeID) core.Door { return core.Door{ID: id, Gate: g.path} }

// visit is one connection at a false gate.
type visit struct{ *net.UnixConn }

// accept awaits somebody at the gate. The connection is closed at the end of the case.
func (t *trial) accept(g *falseGate) visit {
	_ = g.SetDeadline(time.Now().Add(patience))
	conn, err := g.AcceptUnix()
	t.must(err, "nobody connected to the gate")
	t.atEnd(func() { conn.Close() })
	return visit{conn}
}

// invite gives a fork its user namespace, as core does: it has that from the true gate of a sandbox to which
// nobody else comes.
func (t *trial) invite(v visit, s *sandbox.Sandbox) {
	door := s.Door()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: door.Gate, Net: "unixpacket"})
	t.must(err, "connecting to a gate")
	defer conn.Close()
	_, err = conn.Write([]byte(door.ID))
	t.must(err, "writing at a gate")
	note, oob := make([]byte, noteSize), make([]byte, 256)
	n, oobn, _, _, err := conn.ReadMsgUnix(note, oob)
	t.must(err, "reading at a gate")
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	t.must(err, "reading at a gate")
	for i := range messages {
		if fds, err := syscall.ParseUnixRights(&messages[i]); err == nil && len(fds) == 1 {
			_, _, err = v.WriteMsgUnix(note[:n], syscall.UnixRights(fds...), nil)
			syscall.Close(fds[0])
			t.must(err, "writing at the false gate")
			return
		}
	}
	t.fatalf("no user namespace came for a fork")
}

// packet is what came, and from whom.
type packet struct {
	text []byte
	pid  int // of the sender, 0 when the kernel does not tell
}

// kind returns the kind of a note, 0 when it is none.
func (p packet) kind() uint32 {
	if len(p.text) != noteSize {
		return 0
	}
	return binary.NativeEndian.Uint32(p.text)
}

func (v visit) read() (packet, error) {
	_ = v.SetReadDeadline(time.Now().Add(patience))
	b, oob := make([]byte, 4096), make([]byte, 4096)
	n, oobn, _, _, err := v.ReadMsgUnix(b, oob)
	if err != nil {
		return packet{}, err
	}
	p := packet{text: b[:n]}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		c, credErr := syscall.ParseUnixCredentials(&messages[i])
		if credErr == nil {
			p.pid = int(c.Pid)
		}
	}
	return p, err
}
