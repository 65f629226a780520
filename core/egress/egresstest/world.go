// Package egresstest helps tests with a world of their own: the network of a machine, and an internet with
// servers in it. Nothing of it is on the network of the machine that the tests run on.
package egresstest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	handles "github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/netns"
)

// The world's addresses. Everybody in the internet is the same host, which has those that no function may
// reach as well: so that one that gets out is seen to arrive.
var (
	Machine   = []string{"9.9.9.2", "2600:1::2"} // the machine's
	Public    = []string{"93.184.216.34", "93.184.216.35", "2600:2::34"}
	Forbidden = []string{"10.1.2.3", "172.16.0.9", "192.168.7.7", "100.64.0.9", "169.254.169.254", "169.254.9.9", "192.0.2.7", "198.18.200.7",
		"192.88.99.9", "203.0.113.7", "240.0.0.9", "fd00:1::3", "fd00:ec2::254", "64:ff9b::a01:203", "64:ff9b:1::7", "2002:a01:203::1", "2001::7",
		"2001:db8::7", "3fff::7", "::a01:203", "fec0::7"}
)

// World is the network of a machine, and beyond it an internet.
type World struct {
	Machine, Internet *os.File // namespaces

	mu    sync.Mutex
	names map[string]Name
	asked []string
	heard []string
}

// Name is what the machine's name server says of a name.
type Name struct {
	Addresses []string
	After     time.Duration // before it answers
	Fails     bool          // it has no answer
}

// New makes a world around a network namespace, or around one of its own, and takes it down with the test.
func New(t testing.TB, machine *os.File) *World {
	t.Helper()
	w := &World{Machine: machine, names: map[string]Name{}}
	var err error
	if w.Machine == nil {
		w.Machine, err = netns.New()
		coretest.Must(t, err)
		t.Cleanup(func() { w.Machine.Close() })
	}
	w.Internet, err = netns.New()
	coretest.Must(t, err)
	t.Cleanup(func() { w.Internet.Close() })
	here, there := handle(t, w.Machine), handle(t, w.Internet)
	defer here.Close()
	defer there.Close()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "eth0"
	coretest.Must(t, here.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(w.Internet.Fd())}))
	t.Cleanup(func() { // what still serves keeps the internet
		h := handle(t, w.Machine)
		defer h.Close()
		link, err := h.LinkByName("eth0")
		coretest.Must(t, err)
		coretest.Must(t, h.LinkDel(link))
	})
	w.give(t, here, "lo")
	w.give(t, here, "eth0", Machine[0]+"/24", Machine[1]+"/64")
	w.give(t, there, "eth0", "9.9.9.1/24", "2600:1::1/64")
	w.give(t, there, "lo")
	for _, address := range append(append([]string{}, Public...), Forbidden...) {
		a := netip.MustParseAddr(address)
		w.give(t, there, "lo", netip.PrefixFrom(a, a.BitLen()).String())
	}
	for _, way := range []string{"0.0.0.0/0 9.9.9.1", "::/0 2600:1::1"} {
		to, via, _ := strings.Cut(way, " ")
		_, all, _ := net.ParseCIDR(to)
		eth, err := here.LinkByName("eth0")
		coretest.Must(t, err)
		coretest.Must(t, here.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Dst: all, Gw: net.ParseIP(via)}))
	}
	coretest.Must(t, w.In(w.Machine, func() error {
		for _, file := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+file, []byte("1"), 0); err != nil {
				return err
			}
		}
		return nil
	}))
	return w
}

func handle(t testing.TB, space *os.File) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandleAt(handles.NsHandle(space.Fd()), unix.NETLINK_ROUTE)
	coretest.Must(t, err)
	return h
}

// give starts an interface, and gives it addresses.
func (w *World) give(t testing.TB, h *netlink.Handle, name string, addresses ...string) {
	t.Helper()
	link, err := h.LinkByName(name)
	coretest.Must(t, err)
	coretest.Must(t, h.LinkSetUp(link))
	for _, address := range addresses {
		p := netip.MustParsePrefix(address)
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		coretest.Must(t, h.AddrAdd(link, a))
	}
}

// GiveMachine gives the machine one more address.
func (w *World) GiveMachine(t testing.TB, address string) {
	t.Helper()
	h := handle(t, w.Machine)
	defer h.Close()
	w.give(t, h, "eth0", address)
}

// In runs f in one of the world's namespaces, which may be that of the caller.
func (w *World) In(space *os.File, f func() error) error {
	own, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	if that, err := space.Stat(); err != nil || os.SameFile(own, that) {
		return f()
	}
	return netns.Do(int(space.Fd()), f)
}

// Serve has every address of a namespace answer at a port of TCP and UDP: with the address that it was called
// from.
func (w *World) Serve(t testing.TB, space *os.File, port int) {
	t.Helper()
	var streams net.Listener
	var each []net.PacketConn // of UDP one for each address, or the answer comes from another one
	coretest.Must(t, w.In(space, func() (err error) {
		var config net.ListenConfig
		if streams, err = config.Listen(context.Background(), "tcp", fmt.Sprint(":", port)); err != nil {
			return err
		}
		addresses, err := net.InterfaceAddrs()
		for _, a := range addresses {
			if own := a.(*net.IPNet).IP; err == nil && !own.IsLinkLocalUnicast() || own.To4() != nil {
				var packets net.PacketConn
				if packets, err = config.ListenPacket(context.Background(), "udp", net.JoinHostPort(own.String(), fmt.Sprint(port))); err == nil {
					each = append(each, packets)
				}
			}
		}
		return err
	}))
	t.Cleanup(func() {
		streams.Close()
		for _, packets := range each {
			packets.Close()
		}
	})
	go func() {
		for {
			conn, err := streams.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, conn.RemoteAddr().String()+"\n")
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	for _, packets := range each {
		go func() {
			buffer := make([]byte, 2048)
			for {
				n, from, err := packets.ReadFrom(buffer)
				if err != nil {
					return
				}
				w.mu.Lock()
				w.heard = append(w.heard, string(buffer[:n]))
				w.mu.Unlock()
				_, _ = packets.WriteTo([]byte(from.String()+"\n"), from)
			}
		}()
	}
}

// Reset has every address of a namespace accept connections at a port of TCP, read a little, and reset them.
func (w *World) Reset(t testing.TB, space *os.File, port int) {
	t.Helper()
	var listener net.Listener
	coretest.Must(t, w.In(space, func() (err error) {
		listener, err = net.Listen("tcp", fmt.Sprint(":", port))
		return err
	}))
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 3000))
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	}()
}

// Answers reports whether an address of the internet accepts connections at a port of TCP.
func (w *World) Answers(address string, port int) bool {
	return w.In(w.Internet, func() error {
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(context.Background(), "tcp", net.JoinHostPort(address, fmt.Sprint(port)))
		if err == nil {
			conn.Close()
		}
		return err
	}) == nil
}

// Heard returns what servers were sent over UDP.
func (w *World) Heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.heard)
}

// Name changes what the machine's name server says of a name.
func (w *World) Name(name string, says Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[name] = says
}

// Asked returns the names that the machine's name server was asked for, and forgets them.
func (w *World) Asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

// ServeNames has the machine's name server answer at 127.0.0.1.
func (w *World) ServeNames(t testing.TB) {
	t.Helper()
	var packets net.PacketConn
	coretest.Must(t, w.In(w.Machine, func() (err error) {
		var config net.ListenConfig
		packets, err = config.ListenPacket(context.Background(), "udp", "127.0.0.1:53")
		return err
	}))
	t.Cleanup(func() { packets.Close() })
	go func() {
		buffer := make([]byte, 2048)
		for {
			n, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			question := append([]byte{}, buffer[:n]...)
			go func() {
				if answer := w.answer(question); answer != nil {
					_, _ = packets.WriteTo(answer, from)
				}
			}()
		}
	}()
}

func (w *World) answer(question []byte) []byte {
	var message dnsmessage.Message
	if message.Unpack(question) != nil || len(message.Questions) != 1 {
		return nil
	}
	q := message.Questions[0]
	name := strings.TrimSuffix(q.Name.String(), ".")
	w.mu.Lock()
	says, known := w.names[name]
	w.asked = append(w.asked, name)
	w.mu.Unlock()
	time.Sleep(says.After)
	answer := dnsmessage.Message{Header: dnsmessage.Header{ID: message.ID, Response: true, RecursionAvailable: true}, Questions: message.Questions}
	switch {
	case says.Fails:
		answer.RCode = dnsmessage.RCodeServerFailure
	case !known:
		answer.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range says.Addresses {
		address := netip.MustParseAddr(text)
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
		switch {
		case address.Is4() && q.Type == dnsmessage.TypeA:
			answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}})
		case address.Is6() && q.Type == dnsmessage.TypeAAAA:
			answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}})
		}
	}
	packed, err := answer.Pack()
	if err != nil {
		return nil
	}
	return packed
}
