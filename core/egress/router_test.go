package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/egress/egresstest"
	"github.com/pipsqueak-faas/pipsqueak/core/netns"
)

var protocols = []string{"tcp", "udp"}

// refusedAtOnce checks that a connection is refused, and not lost.
func refusedAtOnce(t *testing.T, i instance, network, address string) {
	t.Helper()
	began := time.Now()
	answer, err := i.try(network, address)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%s to %s: %q, %v", network, address, answer, err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("%s to %s was refused after %v", network, address, took)
	}
}

// The internet is reached; nothing else is, and each attempt is told of. With the wall down (network host)
// each of the addresses is there.
func TestEgress(t *testing.T) {
	x := newRig(t, func(c *Config) { c.AllowHost = true })
	egress, host := x.attach(t, core.NetworkEgress), x.attach(t, core.NetworkHost)
	for _, network := range protocols {
		for _, address := range egresstest.Public {
			if from, err := egress.try(network, at(address)); err != nil {
				t.Errorf("%s to %s: %v", network, address, err)
			} else if from := netip.MustParseAddrPort(from).Addr().Unmap().String(); !slices.Contains(egresstest.Machine, from) {
				t.Errorf("%s was called by %s, which is not the machine", address, from)
			}
		}
		for _, address := range slices.Concat(egresstest.Forbidden, egresstest.Machine) {
			if _, err := host.try(network, at(address)); err != nil && address != "198.18.200.7" && address != "::a01:203" {
				t.Errorf("without the wall: %s to %s: %v", network, address, err)
			}
			refusedAtOnce(t, egress, network, at(address))
			x.heard(t, "refused "+strings.ToUpper(network)+" to "+at(address)+": ")
		}
	}
	x.heard(t, "10.1.2.3", "private", "serve --egress-allow")
	x.heard(t, egresstest.Machine[0], "the worker's machine")
}

// Instances do not reach each other, nor the router, nor the machine by its link; an instance's own loopback
// stays its own.
func TestEgressInside(t *testing.T) {
	x := newRig(t, nil)
	one, other := x.attach(t, core.NetworkEgress), x.attach(t, core.NetworkEgress)
	x.Serve(t, other.space, port)
	if _, err := other.try("tcp", at("127.0.0.1")); err != nil {
		t.Errorf("its own loopback: %v", err)
	}
	for _, address := range []string{other.four.String(), other.six.String(), core.ResolverAddress, x.link.From4.String(), x.link.Machine4.String(),
		x.link.HostFrom4.String(), x.link.From6.String(), x.link.Machine6.String()} {
		for _, network := range protocols {
			refusedAtOnce(t, one, network, at(address))
		}
	}
	for range 3 { // also after the kernel may have learned another way
		for _, network := range protocols {
			refusedAtOnce(t, one, network, at("fe80::1234%"+inner))
			refusedAtOnce(t, one, network, at(gateway6.String()+"%"+inner))
		}
	}
	x.heard(t, "fe80::1234")
	x.heard(t, other.four.String(), "another instance's")
	x.heard(t, x.link.Machine4.String(), "another instance's")
	for _, address := range []string{"127.0.0.1", "127.0.0.53", "::1"} {
		refusedAtOnce(t, one, "tcp", at(address))
	}
}

// An address that the machine gets later is its own from then on, by the second wall at once.
func TestEgressMachineChanges(t *testing.T) {
	x := newRig(t, nil)
	i := x.attach(t, core.NetworkEgress)
	x.GiveMachine(t, "93.184.216.99/32")
	refusedAtOnce(t, i, "tcp", at("93.184.216.99"))
	for deadline := time.Now().Add(5 * time.Second); x.judge(netip.MustParseAddr("93.184.216.99")) != ruleMachine; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the router does not know the machine's new address")
		}
	}
	refusedAtOnce(t, i, "tcp", at("93.184.216.99"))
	x.heard(t, "93.184.216.99", "the worker's machine")
}

// A function with destinations reaches those, and only at their ports; instances of other functions are not
// concerned.
func TestEgressListed(t *testing.T) {
	x := newRig(t, nil)
	x.Serve(t, x.Internet, port+1)
	x.Name("api.example.com", egresstest.Name{Addresses: []string{"93.184.216.35", "2600:2::34", "10.1.2.3"}})
	listed := x.attach(t, core.NetworkEgress, "93.184.216.34:7000", "10.0.0.0/8:7000", "API.example.com:7001")
	again, free := x.attach(t, core.NetworkEgress, "93.184.216.34:7000", "10.0.0.0/8:7000", "API.example.com:7001"), x.attach(t, core.NetworkEgress)
	if listed.policy != again.policy {
		t.Error("two functions with the same destinations do not share a policy")
	}
	if _, err := listed.try("tcp", "93.184.216.34:7000"); err != nil {
		t.Error(err)
	}
	for _, address := range []string{"93.184.216.34:7001", "93.184.216.35:7001", "[2600:2::34]:7001"} {
		refusedAtOnce(t, listed, "tcp", address)
		refusedAtOnce(t, listed, "udp", address)
		x.heard(t, address, "not in the function's egress")
		if _, err := free.try("tcp", address); err != nil {
			t.Error(err)
		}
	}
	refusedAtOnce(t, listed, "tcp", "10.1.2.3:7000") // it is for the operator to open
	x.heard(t, "10.1.2.3:7000", "the operator")

	// A name opens its addresses at its port, also for other instances with the same destinations.
	addresses, err := listed.lookUp(t.Context(), "ip", "api.Example.com")
	slices.Sort(addresses)
	if want := []string{"2600:2::34", "93.184.216.35"}; err != nil || !slices.Equal(addresses, want) {
		t.Errorf("api.example.com is at %q, %v; want %q", addresses, err, want)
	}
	for _, address := range []string{"93.184.216.35:7001", "[2600:2::34]:7001"} {
		for _, i := range []instance{listed, again} {
			if _, err := i.try("tcp", address); err != nil {
				t.Errorf("%s, which was looked up: %v", address, err)
			}
		}
	}
	refusedAtOnce(t, listed, "tcp", "93.184.216.35:7000")
	// Bound to another address, a name leads there; one that is not the function's to reach it never leads
	// to.
	x.Name("api.example.com", egresstest.Name{Addresses: []string{"10.1.2.3", "169.254.169.254", egresstest.Machine[0]}})
	if addresses, err := listed.lookUp(t.Context(), "ip", "api.example.com"); err == nil {
		t.Errorf("api.example.com led to %q", addresses)
	}
	x.heard(t, `refused to look up "api.example.com"`)
	for _, address := range []string{"10.1.2.3:7001", "169.254.169.254:7001", egresstest.Machine[0] + ":7001"} {
		refusedAtOnce(t, listed, "tcp", address)
	}
}

// A name that is not the function's does not leave the worker, so nothing goes out in names.
func TestEgressNamesListed(t *testing.T) {
	x := newRig(t, nil)
	x.Name("secret.tunnel.example", egresstest.Name{Addresses: []string{"93.184.216.34"}})
	listed := x.attach(t, core.NetworkEgress, "api.example.com:443")
	if addresses, err := listed.lookUp(t.Context(), "ip", "secret.tunnel.example"); err == nil {
		t.Errorf("it led to %q", addresses)
	}
	x.heard(t, `refused to look up "secret.tunnel.example"`, "not in the function's egress")
	if asked := x.Asked(); len(asked) > 0 {
		t.Errorf("the machine's name server was asked for %q", asked)
	}
}

// An instance that takes another's address reaches nothing under it: not the resolver, not the internet, not
// what the other is connected to.
func TestEgressSpoofed(t *testing.T) {
	x := newRig(t, nil)
	honest, liar := x.attach(t, core.NetworkEgress), x.attach(t, core.NetworkEgress, "93.184.216.34:7000")
	if _, err := honest.try("tcp", "93.184.216.35:7000"); err != nil {
		t.Fatal(err)
	}
	// No function has the power to give itself an address; with it, it could send as another, which the
	// router does not take.
	for _, address := range []netip.Addr{honest.four, honest.six} {
		coretest.Must(t, netns.Do(int(liar.space.Fd()), func() error {
			h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
			if err != nil {
				return err
			}
			defer h.Close()
			eth, err := h.LinkByName(inner)
			if err != nil {
				return err
			}
			return h.AddrAdd(eth, addressOf(netip.PrefixFrom(address, address.BitLen())))
		}))
		to := "93.184.216.35:7000"
		if address.Is6() {
			to = "[2600:2::34]:7000"
		}
		err := netns.Do(int(liar.space.Fd()), func() error {
			dialer := net.Dialer{Timeout: 300 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: address.AsSlice()}}
			conn, err := dialer.Dial("tcp", to)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if err == nil {
			t.Errorf("a connection as %s was made", address)
		}
	}
}

// Refusing is quick however often: no limit of the kernel's turns refusals into silence.
func TestEgressManyRefused(t *testing.T) {
	x := newRig(t, nil)
	i := x.attach(t, core.NetworkEgress)
	began := time.Now()
	for range 3000 {
		if _, err := i.try("tcp", "10.1.2.3:7000"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
		for _, address := range []string{"10.1.2.3:7000", "[fd00:1::3]:7000"} {
			if _, err := i.try("udp", address); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatal(err)
			}
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("9000 refusals took %v", took)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if n := len(x.told); n < 50 || n > 2500 {
		t.Errorf("%d lines tell of 9000 refusals", n)
	}
}

// A connection that was not finished leaves nothing in the way of the next one.
func TestEgressAgain(t *testing.T) {
	x := newRig(t, nil)
	space, err := netns.New()
	coretest.Must(t, err)
	defer space.Close()
	within := func(f func() error) error { return netns.Do(int(space.Fd()), f) }
	change := func(f func(lo netlink.Link) error) {
		t.Helper()
		coretest.Must(t, within(func() error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			return f(lo)
		}))
	}
	way := netlink.Route{Dst: everything(resolver), Scope: netlink.SCOPE_LINK}
	change(func(lo netlink.Link) error {
		way.LinkIndex = lo.Attrs().Index
		return errors.Join(netlink.LinkSetUp(lo), netlink.RouteAdd(&way))
	})
	if _, err := x.Attach(core.SandboxConfig{ID: "i", Network: core.NetworkEgress}, within); err == nil {
		t.Fatal("it was connected, with another default route")
	}
	change(func(netlink.Link) error { return netlink.RouteDel(&way) })
	p, err := x.Attach(core.SandboxConfig{ID: "i", Network: core.NetworkEgress}, within)
	coretest.Must(t, err)
	defer p.Close()
	if _, err := (instance{p, space}).try("tcp", at(egresstest.Public[0])); err != nil {
		t.Error(err)
	}
}

// An instance has so many connections at once, and what it has more is refused; others do not notice.
func TestEgressFlows(t *testing.T) {
	x := newRig(t, nil)
	busy, other := x.attach(t, core.NetworkEgress), x.attach(t, core.NetworkEgress)
	busy.flood(t, egresstest.Public[0], 10000, maxFlows+100)
	refusedAtOnce(t, busy, "tcp", at(egresstest.Public[0]))
	x.heard(t, "refused UDP to "+egresstest.Public[0], "the instance has 4096 connections")
	if _, err := other.try("tcp", at(egresstest.Public[0])); err != nil {
		t.Errorf("another instance: %v", err)
	}
}

// flood sends packets of UDP to so many ports.
func (i instance) flood(t *testing.T, host string, from, ports int) {
	t.Helper()
	coretest.Must(t, netns.Do(int(i.space.Fd()), func() error {
		socket, err := net.ListenPacket("udp4", ":0")
		if err != nil {
			return err
		}
		defer socket.Close()
		for port := range ports {
			if _, err := socket.WriteTo([]byte("x"), &net.UDPAddr{IP: net.ParseIP(host), Port: from + port}); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				return err
			}
		}
		return nil
	}))
}

// connections are those that the kernel keeps of a router.
func (x *rig) connections(t *testing.T) (n int64) {
	t.Helper()
	coretest.Must(t, x.do(func() error {
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		n = number(text)
		return err
	}))
	return n
}

// Instances do not fill the kernel's table of connections, in which the machine has its own too: who has many
// gets no more, who has few goes on.
func TestEgressCrowded(t *testing.T) {
	x := newRig(t, nil)
	x.room.Store(1000)
	busy, other := x.attach(t, core.NetworkEgress), x.attach(t, core.NetworkEgress)
	busy.flood(t, egresstest.Public[0], 10000, 1100)
	time.Sleep(3 * crowdedEach)
	busy.flood(t, egresstest.Public[0], 20000, 1000)
	refusedAtOnce(t, busy, "tcp", at(egresstest.Public[0]))
	x.heard(t, "refused UDP to "+egresstest.Public[0], "all instances together have half")
	if n := x.connections(t); n > 1100+crowdedFlows+10 {
		t.Errorf("there are %d connections", n)
	}
	if _, err := other.try("tcp", at(egresstest.Public[0])); err != nil {
		t.Errorf("another instance: %v", err)
	}
	x.room.Store(100_000)
	time.Sleep(3 * crowdedEach)
	if _, err := busy.try("tcp", at(egresstest.Public[0])); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

// Questions about names are no connections that the kernel keeps.
func TestEgressQuestionsAreNotKept(t *testing.T) {
	x := newRig(t, nil)
	i := x.attach(t, core.NetworkEgress)
	x.Name("four.example", egresstest.Name{Addresses: []string{"93.184.216.34"}})
	for range 300 {
		i.flood(t, resolver.String(), 53, 1)
	}
	if got, err := i.lookUp(t.Context(), "ip4", "four.example"); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
	if n := x.connections(t); n > 20 {
		t.Errorf("there are %d connections", n)
	}
}

// A router leaves nothing, and the next one of its name takes away what one that was killed has left.
func TestEgressLeavesNothing(t *testing.T) {
	left := func() string {
		tables, err := exec.Command("/usr/sbin/nft", "list", "tables").CombinedOutput()
		coretest.Must(t, err)
		links, err := netlink.LinkList()
		coretest.Must(t, err)
		found := string(tables)
		for _, l := range links {
			if l.Attrs().Name != "lo" && l.Attrs().Name != "eth0" {
				found += l.Attrs().Name
			}
		}
		return found
	}
	t.Run("killed", func(t *testing.T) {
		x := newRig(t, nil)
		if found := left(); strings.Count(found, "psq-test") < 2 {
			t.Errorf("the machine has no link and no table: %s", found)
		}
		second, err := Open(x.config)
		coretest.Must(t, err)
		x.Router, x.config = second, second.config
		if _, err := x.attach(t, core.NetworkEgress).try("tcp", at("93.184.216.34")); err != nil {
			t.Error(err)
		}
		for range 2 {
			coretest.Must(t, Remove(x.config.Name))
		}
		if tables, err := exec.Command("/usr/sbin/nft", "list", "tables").CombinedOutput(); err != nil || len(tables) > 0 {
			t.Errorf("then there is %s, %v", tables, err)
		}
	})
	if found := left(); found != "" {
		t.Errorf("left on the machine: %s", found)
	}
}

func TestEgressWhereNothingIsForwarded(t *testing.T) {
	newRig(t, nil)
	const forward = "/proc/sys/net/ipv4/ip_forward"
	coretest.Must(t, os.WriteFile(forward, []byte("0"), 0))
	defer func() { coretest.Must(t, os.WriteFile(forward, []byte("1"), 0)) }()
	_, err := Open(Config{Name: "psq-other"})
	coretest.WantError(t, err, core.KindUnsupported, core.FaultWorker, "sysctl -w net.ipv4.ip_forward=1", "serve --network none")
}

// Names that are slow, unknown or have no answer end as names do everywhere.
func TestEgressNames(t *testing.T) {
	x := newRig(t, nil)
	i := x.attach(t, core.NetworkEgress)
	x.Name("both.example", egresstest.Name{Addresses: []string{"93.184.216.34", "2600:2::34"}})
	x.Name("four.example", egresstest.Name{Addresses: []string{"93.184.216.34"}})
	x.Name("slow.example", egresstest.Name{Addresses: []string{"93.184.216.34"}, After: 700 * time.Millisecond})
	x.Name("fails.example", egresstest.Name{Fails: true})
	x.Name("internal.example", egresstest.Name{Addresses: []string{"10.1.2.3", "fd00:1::3"}})
	x.Name("mixed.example", egresstest.Name{Addresses: []string{"10.1.2.3", "93.184.216.34"}})
	for _, r := range []struct {
		network, name string
		want          []string
		missing, asks bool // not found; the worker's server has no answer
	}{
		{"ip4", "both.example", []string{"93.184.216.34"}, false, false},
		{"ip6", "both.example", []string{"2600:2::34"}, false, false},
		{"ip4", "four.example", []string{"93.184.216.34"}, false, false},
		{"ip6", "four.example", nil, true, false},
		{"ip4", "slow.example", []string{"93.184.216.34"}, false, false},
		{"ip4", "unknown.example", nil, true, false},
		{"ip4", "localhost.example", nil, true, false},
		{"ip", "internal.example", nil, true, false},
		{"ip4", "mixed.example", []string{"93.184.216.34"}, false, false},
		{"ip4", "fails.example", nil, false, true},
	} {
		t.Run(r.network+" "+r.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			got, err := i.lookUp(ctx, r.network, r.name)
			var failed *net.DNSError
			if errors.As(err, &failed) {
				if failed.IsNotFound != r.missing || r.want != nil {
					t.Error(err)
				}
				return
			}
			if err != nil || !slices.Equal(got, r.want) {
				t.Errorf("%q, %v; want %q", got, err, r.want)
			}
		})
	}
}
