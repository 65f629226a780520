package zygote

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

// far is the process's end of a control socket.
type far struct {
	t    testing.TB
	conn *net.UnixConn

	instances bool // the sandboxes of its children have endpoints
}

func newFar(t testing.TB, control *os.File) far {
	t.Helper()
	defer control.Close()
	conn, err := net.FileConn(control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return far{t: t, conn: conn.(*net.UnixConn)}
}

// hear returns the next request, and what came with it; ok is false at the end.
func (f far) hear() (r request, files []*os.File, ok bool) {
	packet, oob := make([]byte, launch.MaxPacket), make([]byte, 256)
	n, oobn, _, _, err := f.conn.ReadMsgUnix(packet, oob)
	if err != nil || n == 0 {
		return r, nil, false
	}
	if err := json.Unmarshal(packet[:n], &r); err != nil {
		f.t.Errorf("the driver said %.200q: %v", packet[:n], err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		f.t.Error(err)
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			f.t.Error(err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return r, files, true
}

func (f far) say(packet string) { _, _ = f.conn.Write([]byte(packet)) }

const (
	parked = `{"parked":true}`
	forked = `{"forked":true}`
	report = `{"took":0.5,"modules":{"m":0.25},"threads":1}`
)

// serve is an honest loop. Its children serve as well, unless they are instances.
func (f far) serve() {
	f.say(parked)
	for {
		r, files, ok := f.hear()
		switch {
		case !ok:
			return
		case r.Op == "fork" && len(files) == 2:
			child := newFar(f.t, files[0])
			files[1].Close()
			if f.instances {
				child.say(parked)
				child.conn.Close()
			} else {
				go child.serve()
			}
			f.say(forked)
		case r.Op == "import":
			f.say(report)
		default:
			f.t.Errorf("the driver asked %+v with %d descriptors", r, len(files))
		}
	}
}

func newDriver(t testing.TB) *Driver {
	d := New(Language{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		d.mu.Lock()
		left := slices.Collect(maps.Values(d.processes)) // they forget themselves meanwhile
		d.mu.Unlock()
		for _, p := range left {
			d.forget(p)
		}
	})
	return d
}

// known returns the nodes that the driver has not forgotten.
func (d *Driver) known() (ids []core.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.processes {
		ids = append(ids, id)
	}
	return ids
}

// root returns the process of a new zygote, which the test plays.
func root(t testing.TB, d *Driver, id core.NodeID) (*process, far) {
	t.Helper()
	ours, theirs, err := launch.ControlPair()
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.adopt(id, ours)
	if err != nil {
		t.Fatal(err)
	}
	return p, newFar(t, theirs)
}

// parkedRoot is root after its first word.
func parkedRoot(t testing.TB, d *Driver) (*process, far) {
	t.Helper()
	p, f := root(t, d, "root")
	f.say(parked)
	if err := p.park(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, f
}

// gate listens as core does, and returns what the first packets at it are.
func gate(t testing.TB) (path string, first <-chan string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "gate")
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	names := make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			name := make([]byte, 256)
			n, _ := conn.Read(name)
			names <- string(name[:n])
			conn.Close()
		}
	}()
	return path, names
}

func mustBe(t testing.TB, err error, kind core.Kind, fault core.Fault, part string) {
	t.Helper()
	e := core.AsError(err)
	if e == nil || e.Kind != kind || e.Fault != fault || !strings.Contains(e.Message, part) {
		t.Errorf("error %v (%+v), want %s of %s with %q", err, e, kind, fault, part)
	}
}

func mustKnow(t testing.TB, d *Driver, want ...core.NodeID) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		known := d.known()
		if len(known) == len(want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the driver knows %v, want %v", known, want)
		}
	}
}

func brief(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
