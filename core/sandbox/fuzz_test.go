package sandbox

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// FuzzNotes: whatever a process sends at the gate, with or without a descriptor, is read as a note that a log
// can have, or refused; no descriptor of it stays open.
func FuzzNotes(f *testing.F) {
	for _, n := range []note{{Kind: kindHello}, {Kind: kindUser}, {Kind: kindEntered}, {Kind: kindNetwork}, {Kind: kindFailed, Err: int32(unix.EPERM)}, {Kind: 1 << 31}} {
		copy(n.Step[:], "mount /proc\x1b[2J\xff")
		f.Add(n.bytes(), false)
		f.Add(n.bytes(), true)
	}
	f.Add([]byte{}, true)
	f.Add(bytes.Repeat([]byte{1}, 300), false)
	f.Fuzz(func(t *testing.T, packet []byte, sends bool) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		coretest.Must(t, err)
		coretest.Must(t, unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1))
		ours := os.NewFile(uintptr(fds[0]), "gate")
		conn, err := net.FileConn(ours)
		coretest.Must(t, err)
		ours.Close()
		defer conn.Close()
		// The end of a pipe tells when nobody has its other end any more.
		reader, writer, err := os.Pipe()
		coretest.Must(t, err)
		defer reader.Close()
		var rights []byte
		if sends {
			rights = unix.UnixRights(int(writer.Fd()))
		}
		sent := unix.Sendmsg(fds[1], packet, rights, nil, 0)
		writer.Close()
		unix.Close(fds[1])
		p, err := readPeer(conn.(*net.UnixConn))
		p.close()
		if text := p.note.step(); strings.ContainsAny(text, "\x1b\n\r\x00") {
			t.Errorf("a log would have %q", text)
		}
		if err == nil && (sent != nil || p.pid != os.Getpid() || p.note.Kind == kindHello && !sends || sends && p.note.Kind != kindHello && p.note.Kind != kindEntered || len(packet) < binary.Size(note{})) {
			t.Errorf("%q, with a descriptor: %v, is taken: %+v", packet, sends, p)
		}
		coretest.Must(t, reader.SetReadDeadline(time.Now().Add(patience)))
		if _, err := reader.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%q: its descriptor stays open: %v", packet, err)
		}
	})
}

// FuzzEndpoint: whatever comes over an endpoint, the C program of TestEndpoint, which is built with
// sanitizers, reads frames and ends well, or ends because it is none.
func FuzzEndpoint(f *testing.F) {
	program := buildEndpoint(f)
	token := strings.Repeat("t", 32)
	for _, sent := range []string{framed('E', token, "1") + framed('A', "m", "22"), framed('P', "-", "") + framed('Q', "-", ""), framed('E', token, strings.Repeat("x", 20<<10)),
		"\x00\x00\x00\x00", "\x00\x00\x00\x09E\x00\x00\x00\x05abcd", "\xff\xff\xff\xffE"} {
		f.Add([]byte(sent), true)
		f.Add([]byte(sent), false)
	}
	f.Fuzz(func(t *testing.T, sent []byte, ahead bool) {
		mode := "receive"
		if ahead {
			mode = "read"
		}
		core, exit := endpointed(t, program, mode)
		go func() { _, _ = io.Copy(io.Discard, core) }()
		_, _ = core.Write(sent) // it may have ended
		_ = core.CloseWrite()
		if how := exit(); how != "exit status 0" && how != "exit status 3" {
			t.Errorf("%q, %s: it ended with %s", sent, mode, how)
		}
	})
}
