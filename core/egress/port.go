package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Port is where an instance is connected to the router.
type Port struct {
	router *Router
	config core.SandboxConfig
	number uint32
	four   netip.Addr
	six    netip.Addr
	policy *policy // nil for one that everything opened is open to
}

// Numbers of ports: of their interfaces in the router, and of their addresses. They are handed out in turn,
// so that an address rests long.
const (
	firstPort = 1000
	lastPort  = 65000
)

// resolver is the router's address, the gateway of instances as well.
var resolver = netip.MustParseAddr(core.ResolverAddress)

var (
	gateway6    = netip.MustParseAddr("fe80::1")
	routerMAC   = net.HardwareAddr{0x02, 0x70, 0x73, 0x71, 0, 1}
	instanceMAC = net.HardwareAddr{0x02, 0x70, 0x73, 0x71, 0, 2}
)

// linkLocal is what the kernel would ask the instance's neighbours for: there is none but the router, which
// refuses.
var linkLocal = netip.MustParsePrefix("fe80::/64")

// inner is the instance's interface.
const inner = "eth0"

// Attach connects the instance whose network within enters. The caller closes the Port when the instance has
// ended.
func (r *Router) Attach(config core.SandboxConfig, within func(func() error) error) (*Port, error) {
	p := &Port{router: r, config: config}
	group, err := r.groupOf(p)
	if err != nil {
		return nil, err
	}
	if err := r.number(p); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	r.turns <- struct{}{}
	defer func() { <-r.turns }()
	if err := p.connect(group, within); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting %s: %w", config.ID, err), p.Close())
	}
	return p, nil
}

// number gives a port its number, by which everything else finds it.
func (r *Router) number(p *Port) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range lastPort - firstPort {
		n := r.next
		if r.next++; r.next == lastPort {
			r.next = firstPort
		}
		if r.indexes[int(n)] == nil {
			p.number, p.four, p.six = n, addressAt(own4, n), addressAt(own6, n)
			r.indexes[int(n)], r.ports[p.four], r.ports[p.six] = p, p, p
			return nil
		}
	}
	return errors.New("all ports of the router are in use")
}

// connect makes the pair of interfaces and everything that packets need to find their way, neighbours too:
// nobody has to ask for one.
func (p *Port) connect(group uint32, within func(func() error) error) (err error) {
	r := p.router
	var inside *netlink.Handle
	var space *os.File
	if err := within(func() (err error) {
		if space, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		inside, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	}); err != nil {
		if space != nil {
			space.Close()
		}
		return err
	}
	defer space.Close()
	defer inside.Close()
	outer := netlink.NewLinkAttrs()
	outer.Name, outer.Index, outer.Group, outer.Flags = fmt.Sprintf("p%d", p.number), int(p.number), group, net.FlagUp
	outer.HardwareAddr, outer.NumTxQueues, outer.NumRxQueues = routerMAC, 1, 1
	if err := r.handle.LinkAdd(&netlink.Veth{LinkAttrs: outer, PeerName: inner, PeerHardwareAddr: instanceMAC, PeerNamespace: netlink.NsFd(space.Fd())}); err != nil {
		return err
	}
	defer func() {
		if err != nil { // or the instance could not be connected again
			err = errors.Join(err, r.handle.LinkDel(&netlink.Device{LinkAttrs: outer}))
		}
	}()
	eth, err := inside.LinkByName(inner)
	if err != nil {
		return err
	}
	if err := inside.LinkSetUp(eth); err != nil {
		return err
	}
	if r.six {
		if err := join(inside, r.handle, eth.Attrs().Index, int(p.number), p.six, gateway6); err != nil {
			return err
		}
	}
	if err := join(inside, r.handle, eth.Attrs().Index, int(p.number), p.four, resolver); err != nil {
		return err
	}
	return p.await(inside)
}

// await waits until packets arrive. The router sends by its end only when the kernel has noted that the other
// one was started; to be asked makes it do so, since Linux 6.8. And the instance has its address of IPv6 only
// a moment after it was given it. A packet that is sent before is lost, and the first one of TCP is sent
// again after a second.
func (p *Port) await(inside *netlink.Handle) error {
	for range 1000 {
		outer, err := p.router.handle.LinkByIndex(int(p.number))
		if err != nil {
			return err
		}
		ready := outer.Attrs().OperState == netlink.OperUp
		if ready && p.router.six {
			routes, err := inside.RouteGet(p.six.AsSlice())
			ready = err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
		}
		if ready {
			return nil
		}
		time.Sleep(50 * time.Microsecond)
	}
	return errors.New("its interface does not come up")
}

// join gives the instance an address and a way out, and the router the way back.
func join(inside, router *netlink.Handle, in, out int, address, gateway netip.Addr) error {
	whole := netip.PrefixFrom(address, address.BitLen())
	if err := inside.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: in}}, addressOf(whole)); err != nil {
		return err
	}
	if err := inside.NeighAdd(neighbour(in, gateway, routerMAC)); err != nil {
		return err
	}
	ways := []netlink.Route{{Dst: everything(address)}}
	if address.Is6() {
		ways = append(ways, netlink.Route{Dst: network(linkLocal), Priority: 1}) // before the kernel's own
	}
	for _, way := range ways {
		way.LinkIndex, way.Gw, way.Flags = in, gateway.AsSlice(), int(netlink.FLAG_ONLINK)
		if err := inside.RouteAdd(&way); err != nil {
			return err
		}
	}
	back := netlink.Route{LinkIndex: out, Dst: network(whole), Scope: netlink.SCOPE_LINK}
	if err := router.RouteAdd(&back); err != nil {
		return err
	}
	return router.NeighAdd(neighbour(out, address, instanceMAC))
}

func neighbour(link int, address netip.Addr, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: link, State: netlink.NUD_PERMANENT, IP: address.AsSlice(), HardwareAddr: mac}
}

func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func everything(like netip.Addr) *net.IPNet {
	zero := netip.IPv4Unspecified()
	if like.Is6() {
		zero = netip.IPv6Unspecified()
	}
	return network(netip.PrefixFrom(zero, 0))
}

func addressOf(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: network(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// portRest is how long a port is known after its instance has ended: what it was refused last is told late.
const portRest = 2 * time.Second

// Close forgets the port. Its interfaces go with the instance's network.
func (p *Port) Close() error {
	r := p.router
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.policy != nil {
		p.policy.users--
	}
	if p.number == 0 {
		return nil
	}
	delete(r.ports, p.four)
	delete(r.ports, p.six)
	time.AfterFunc(portRest, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.indexes, int(p.number))
	})
	return nil
}

// policy is what functions with the same destinations share: a group of interfaces, a chain of rules, and the
// addresses of its names.
type policy struct {
	group uint32
	names map[string][]uint16 // ports of each
	users int                 // ports of instances
}

// maxPolicies is how many are kept beyond those in use.
const maxPolicies = 256

// groupOf returns the group of a port's interface, and makes its rules when it is the first one there.
func (r *Router) groupOf(p *Port) (uint32, error) {
	switch {
	case p.config.Network == core.NetworkHost:
		return groupHost, nil
	case len(p.config.Egress) == 0:
		return groupEgress, nil
	}
	key := strings.Join(p.config.Egress, " ")
	r.rules.Lock()
	defer r.rules.Unlock()
	r.mu.Lock()
	known := r.policies[key]
	if known != nil {
		known.users++
	}
	r.mu.Unlock()
	if known != nil {
		p.policy = known
		return known.group, nil
	}
	made := &policy{group: r.groups, names: map[string][]uint16{}, users: 1}
	rules, err := made.rules(p.config.Egress)
	if err != nil {
		return 0, err
	}
	r.groups++
	if err := r.change(context.Background(), r.collect()+rules); err != nil {
		return 0, err
	}
	r.mu.Lock()
	r.policies[key] = made
	r.mu.Unlock()
	p.policy = made
	return made.group, nil
}

// collect forgets policies that nobody uses, when there are many. The caller carries out the text.
func (r *Router) collect() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var text strings.Builder
	for key, p := range r.policies {
		if len(r.policies) > maxPolicies && p.users == 0 {
			delete(r.policies, key)
			fmt.Fprintf(&text, "delete element inet egress lists { %[1]d }\ndelete chain inet egress list%[1]d\n"+
				"delete set inet egress names%[1]d_4\ndelete set inet egress names%[1]d_6\n", p.group)
		}
	}
	return text.String()
}

// rules returns the text of a policy's rules, and takes note of its names.
func (p *policy) rules(destinations []string) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "table inet egress {\n")
	for _, kind := range []struct{ suffix, of string }{{"4", "ipv4_addr"}, {"6", "ipv6_addr"}} {
		fmt.Fprintf(&text, "set names%d_%s { type %s . inet_service; flags timeout; }\n", p.group, kind.suffix, kind.of)
	}
	fmt.Fprintf(&text, "chain list%d {\n", p.group)
	for _, one := range destinations {
		d, err := core.ParseDestination(one)
		if err != nil {
			return "", err
		}
		switch {
		case d.Name != "":
			if !slices.Contains(p.names[d.Name], d.Port) {
				p.names[d.Name] = append(p.names[d.Name], d.Port)
			}
		case d.Prefix.Addr().Is4():
			fmt.Fprintf(&text, "ip daddr %s th dport %d accept\n", d.Prefix, d.Port)
		default:
			fmt.Fprintf(&text, "ip6 daddr %s th dport %d accept\n", d.Prefix, d.Port)
		}
	}
	fmt.Fprintf(&text, "ip daddr . th dport @names%[1]d_4 accept\nip6 daddr . th dport @names%[1]d_6 accept\n}\n", p.group)
	fmt.Fprintf(&text, "}\nadd element inet egress lists { %[1]d : jump list%[1]d }\n", p.group)
	return text.String(), nil
}
