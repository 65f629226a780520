package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// peer is one packet with what the kernel says of its sender. The pidfd is -1 where the kernel gives none.
type peer struct {
	note  note
	pid   int
	pidfd int
	given int // what it has sent along: with HELLO the pidfd of the first process of its pid namespace, with ENTERED a listener; else -1
}

// close closes the descriptors.
func (p peer) close() {
	closeFD(p.pidfd)
	closeFD(p.given)
}

// failure is what FAILED says.
func (p peer) failure() error { return fmt.Errorf("%s: %w", p.note.step(), unix.Errno(p.note.Err)) }

func readPeer(conn *net.UnixConn) (peer, error) {
	p := peer{pidfd: -1, given: -1}
	packet, oob := make([]byte, 256), make([]byte, 256)
	n, oobn, flags, _, err := conn.ReadMsgUnix(packet, oob)
	if errors.Is(err, io.EOF) {
		return p, errors.New("the process went away at the gate")
	}
	if err != nil {
		return p, err
	}
	a, err := parseAncillary(oob[:oobn])
	if err != nil {
		return p, err
	}
	switch p.note, err = parseNote(packet[:n]); {
	case err != nil:
		err = fmt.Errorf("a packet of %d bytes at the gate: %w", n, err)
	case flags&unix.MSG_CTRUNC != 0 && len(a.descriptors) == 0:
		err = fmt.Errorf("a packet at the gate: %w", unix.EMFILE) // the kernel had nowhere to put what came with it
	case p.note.Kind == kindHello && len(a.descriptors) != 1:
		err = fmt.Errorf("HELLO with %d descriptors at the gate, and not the pidfd of a first process", len(a.descriptors))
	case p.note.Kind != kindHello && len(a.descriptors) > 0 && (p.note.Kind != kindEntered || len(a.descriptors) > 1):
		err = errors.New("a packet with descriptors at the gate")
	case a.pid <= 0:
		err = errors.New("the kernel does not say who is at the gate")
	}
	if err != nil {
		a.close()
		return p, err
	}
	p.pid, p.pidfd = a.pid, a.pidfd
	if len(a.descriptors) > 0 {
		p.given = a.descriptors[0]
	}
	return p, nil
}
