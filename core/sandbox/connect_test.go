package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// connections are those that a Host has its instances connected by.
type connections struct {
	mu     sync.Mutex
	spaces []string // the network namespace of each that was connected
	fails  int      // so many fail first
	closed int
	wait   chan struct{} // nil: no wait
	begun  chan struct{}
}

func (c *connections) connect(_ core.SandboxConfig, within func(func() error) error) (io.Closer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wait != nil {
		close(c.begun)
		<-c.wait
	}
	if c.fails > 0 {
		c.fails--
		return nil, errors.New("there is no network")
	}
	return c, within(func() error {
		space, err := os.Readlink("/proc/thread-self/ns/net")
		c.spaces = append(c.spaces, space)
		return err
	})
}

func (c *connections) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
	return nil
}

func (c *connections) made() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.spaces)
}

func connectedRig(t *testing.T, c *connections) (*rig, child, core.SandboxConfig) {
	h := newRig(t)
	h.connect = c.connect
	zygote := h.launch(t, h.config(core.RoleZygote))
	config := h.config(core.RoleInstance)
	config.Network = core.NetworkEgress
	return h, zygote, config
}

// socket has the process, or a child of it, make a socket, and returns why it could not.
func socket(t *testing.T, c child, family, kind int) error {
	return c.call(t, unix.SYS_SOCKET, family, kind|unix.SOCK_CLOEXEC, 0)
}

// The first socket that could use a network brings it, and only that: not one to other processes of the
// instance, and no second one.
func TestConnect(t *testing.T) {
	var c connections
	h, zygote, config := connectedRig(t, &c)
	i := h.fork(t, zygote, config)
	coretest.Must(t, socket(t, i, unix.AF_UNIX, unix.SOCK_STREAM))
	if err := socket(t, i, unix.AF_PACKET, unix.SOCK_RAW); !errors.Is(err, unix.EPERM) {
		t.Errorf("a socket of packets: %v", err)
	}
	if n := c.made(); n != 0 {
		t.Fatalf("connected %d times before there was a socket for it", n)
	}
	for _, family := range []int{unix.AF_INET6, unix.AF_INET, unix.AF_NETLINK, unix.AF_INET} {
		coretest.Must(t, socket(t, i, family, unix.SOCK_DGRAM))
	}
	if c.made() != 1 {
		t.Fatalf("connected %d times", c.made())
	}
	if want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", i.pid)); err != nil || c.spaces[0] != want {
		t.Errorf("it was connected in %s, and lives in %s, %v", c.spaces[0], want, err)
	}
	i.Kill()
	gone(t, i.Sandbox)
	if c.closed != 1 {
		t.Errorf("the network was closed %d times", c.closed)
	}
}

// A program that the instance starts asks as the instance does.
func TestConnectFromChild(t *testing.T) {
	var c connections
	h, zygote, config := connectedRig(t, &c)
	i := h.fork(t, zygote, config)
	control, theirs := pair(t)
	null, err := os.Open(os.DevNull)
	coretest.Must(t, err)
	i.ask(t, "fork plain", theirs, null)
	coretest.Must(t, socket(t, child{i.Sandbox, control, nil, 0}, unix.AF_INET, unix.SOCK_STREAM))
	if c.made() != 1 {
		t.Errorf("connected %d times", c.made())
	}
}

// Without a network nobody is asked, in no process: an instance has the loopback of its own as before.
func TestConnectNobody(t *testing.T) {
	var c connections
	h, zygote, config := connectedRig(t, &c)
	config.Network = core.NetworkNone
	i := h.fork(t, zygote, config)
	for _, p := range []child{zygote, i} {
		coretest.Must(t, socket(t, p, unix.AF_INET, unix.SOCK_STREAM))
	}
	if i.listener != nil || zygote.listener != nil || c.made() != 0 {
		t.Errorf("connected %d times", c.made())
	}
}

// A network that could not be had is told, and had with the next socket.
func TestConnectAgain(t *testing.T) {
	c := connections{fails: 1}
	h, zygote, config := connectedRig(t, &c)
	i := h.fork(t, zygote, config)
	if err := socket(t, i, unix.AF_INET, unix.SOCK_STREAM); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("without a network: %v", err)
	}
	coretest.Must(t, socket(t, i, unix.AF_INET, unix.SOCK_STREAM))
	if c.made() != 1 {
		t.Errorf("connected %d times", c.made())
	}
}

// An instance that is killed while it is being connected ends, and so does one of a Host that closes.
func TestConnectKilled(t *testing.T) {
	c := connections{wait: make(chan struct{}), begun: make(chan struct{})}
	h, zygote, config := connectedRig(t, &c)
	i := h.fork(t, zygote, config)
	go func() {
		_, _ = i.try(fmt.Sprint("call ", unix.SYS_SOCKET, " ", unix.AF_INET, " ", unix.SOCK_STREAM, " 0"))
	}()
	<-c.begun
	i.Kill()
	close(c.wait)
	gone(t, i.Sandbox)
	if c.made() != c.closed {
		t.Errorf("connected %d times, closed %d times", c.made(), c.closed)
	}
}

// A listener that nobody asked for is closed, and so is the gate; of a driver with an older library there is
// none, and no network.
func TestConnectLiars(t *testing.T) {
	var c connections
	h, zygote, _ := connectedRig(t, &c)
	for _, r := range []struct {
		network core.Network
		says    string
		in      bool
	}{{core.NetworkNone, "raw 5 1", false}, {core.NetworkNone, "raw 5 2", false}, {core.NetworkEgress, "raw 5 2", false}, {core.NetworkEgress, "raw 5 0", true}} {
		config := h.config(core.RoleInstance)
		config.Network = r.network
		s := h.createBelow(t, zygote, config)
		control, theirs := pair(t)
		zygote.ask(t, "fork raw", theirs, h.dial(t, config.ID))
		liar := child{s, control, nil, 0}
		for _, words := range []string{"raw 3", r.says} {
			_, _ = liar.try(words)
		}
		if _, _, err := s.Entered(); err == nil != r.in {
			t.Errorf("network %s, %s: %v", r.network, r.says, err)
		}
		if s.listener != nil {
			t.Errorf("network %s, %s: it has a listener", r.network, r.says)
		}
		s.Kill()
	}
}

// Core is asked about the sockets that a network is for, on every architecture, and about no call that is
// refused.
func TestConnectAsks(t *testing.T) {
	for _, info := range architectures {
		filter, err := filterFor(info, core.RoleInstance, true, nil)
		coretest.Must(t, err)
		both := [][]byte{stack(t, info, core.RoleZygote)[0], filter}
		for _, r := range []struct {
			args    [6]uint64
			verdict uint32
		}{
			{[6]uint64{unix.AF_INET, unix.SOCK_STREAM}, verdictAsk},
			{[6]uint64{unix.AF_INET6, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC, unix.IPPROTO_UDP}, verdictAsk},
			{[6]uint64{unix.AF_NETLINK, unix.SOCK_RAW}, verdictAsk},
			{[6]uint64{unix.AF_UNIX, unix.SOCK_STREAM}, allow},
			{[6]uint64{unix.AF_INET, unix.SOCK_SEQPACKET}, eperm},
			{[6]uint64{unix.AF_INET, unix.SOCK_STREAM, 132}, eperm}, // SCTP
			{[6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, eperm},
			{[6]uint64{unix.AF_PACKET, unix.SOCK_RAW}, eperm},
		} {
			c := call{Number: uint32(info.SyscallNames["socket"]), Arch: uint32(info.ID), Args: r.args}
			if got := together(t, c, both...); got != r.verdict {
				t.Errorf("%s: socket %x: %#x, not %#x", info.Name, r.args, got, r.verdict)
			}
		}
		c := call{Number: uint32(info.SyscallNames["seccomp"]), Arch: uint32(info.ID), Args: [6]uint64{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}}
		if got := together(t, c, both...); got != eperm {
			t.Errorf("%s: an instance may have a listener of its own: %#x", info.Name, got)
		}
	}
}
