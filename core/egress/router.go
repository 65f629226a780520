// Package egress connects instances to the network outside of the worker's machine, by a router: a network
// namespace with all of the policy in it. An instance gets an interface there when one of its processes makes
// its first socket, and not before.
//
//	instance                         router                         machine
//	eth0 198.18.x.y  ───── veth ─────  p<n>: who is it?  may it?
//	                                  outside  198.19.x.2  ── veth ──  psq-<worker>  198.19.x.1 ── masquerade ──▶
//	resolv.conf ────────── port 53 ──▶  resolver, which is the worker
//
// Mutex order: Router.rules before Router.mu.
package egress

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"text/template"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/netns"
)

//go:embed router.nft
var routerRules string

//go:embed machine.nft
var machineRules string

// Config configures a Router.
type Config struct {
	Name      string         // of the worker on its machine, at most 15 bytes: its interface and its table of rules have it
	Opened    []netip.Prefix // what functions reach besides the internet
	AllowHost bool           // functions with network host are allowed
	// Refused is called for what an instance was refused, at most some fifty times a second for each. It must
	// not block.
	Refused func(config core.SandboxConfig, text string)
	Log     *slog.Logger
}

// Router connects instances. It ends with the worker, however that ends; only its table of rules stays then,
// until the next worker of that name.
type Router struct {
	config  Config
	space   *os.File        // the namespace
	handle  *netlink.Handle // in it
	link    link
	six     bool // IPv6 goes out
	closing context.CancelFunc
	running sync.WaitGroup
	sockets []io.Closer

	turns chan struct{} // of those who connect an instance
	room  atomic.Int64  // connections of all instances together, half of what the kernel keeps

	rules sync.Mutex // one change at a time

	mu       sync.Mutex
	machine  []netip.Prefix // its addresses
	next     uint32         // number of a port
	ports    map[netip.Addr]*Port
	indexes  map[int]*Port
	policies map[string]*policy // by the list of destinations
	groups   uint32
}

// link is how the router and the machine are connected.
type link struct {
	Machine4, From4, HostFrom4 netip.Addr
	Machine6, From6, HostFrom6 netip.Addr
}

const linkSize = 8 // addresses

func linkAt(slot uint32) link {
	four := func(n uint32) netip.Addr { return addressAt(links4, slot*linkSize+n) }
	six := func(n uint32) netip.Addr { return addressAt(links6, slot*linkSize+n) }
	return link{four(1), four(2), four(3), six(1), six(2), six(3)}
}

// Where the router's end of the link and of each instance's interface is found.
const outside = "outside"

// Groups of interfaces in the router. Those from groupLists on are of functions with destinations of their
// own.
const (
	groupHost   = 1
	groupEgress = 2
	groupLists  = 16
)

// maxFlows is how many connections an instance may have at once, and flows of UDP in the last half minute:
// the kernel keeps all of them in one table, for all instances.
const maxFlows = 4096

// maxAttaches is how many instances are connected at once. Each takes the kernel's network lock, which starts
// need too.
const maxAttaches = 2

// Open makes a router. What a worker of that name has left is removed. The caller closes the Router.
func Open(config Config) (*Router, error) {
	r, err := open(config)
	if err != nil {
		return nil, core.Errorf(core.KindUnsupported, core.FaultWorker,
			"this machine cannot connect functions to a network: %w; serve --network none does without", err)
	}
	return r, nil
}

func open(config Config) (*Router, error) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Router{config: config, closing: cancel, next: firstPort, groups: groupLists, turns: make(chan struct{}, maxAttaches),
		ports: map[netip.Addr]*Port{}, indexes: map[int]*Port{}, policies: map[string]*policy{}}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Router) open(ctx context.Context) (err error) {
	if err := forwards("ipv4/ip_forward"); err != nil {
		return err
	}
	r.six = forwards("ipv6/conf/all/forwarding") == nil
	if r.space, err = netns.New(); err != nil {
		return err
	}
	if err := r.do(func() error {
		if r.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		return settle()
	}); err != nil {
		return err
	}
	if err := r.connect(); err != nil {
		return fmt.Errorf("linking the router to the machine: %w", err)
	}
	if err := r.install(ctx); err != nil {
		return err
	}
	if err := r.follow(ctx); err != nil {
		return err
	}
	if err := r.relieve(ctx); err != nil {
		return err
	}
	if err := r.resolve(ctx); err != nil {
		return fmt.Errorf("the resolver of the router: %w", err)
	}
	return r.listen()
}

// do runs f in the router's namespace.
func (r *Router) do(f func() error) error { return netns.Do(int(r.space.Fd()), f) }

// forwards reports whether the machine forwards packets. That is the operator's to say: it concerns all of
// the machine's networks.
func forwards(setting string) error {
	text, err := os.ReadFile("/proc/sys/net/" + setting)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(text)) == "0" {
		name := "net." + strings.ReplaceAll(setting, "/", ".")
		return fmt.Errorf("it does not forward packets: %s is 0; sysctl -w %s=1", name, name)
	}
	return nil
}

// settle makes the namespace that it runs in one of a router. Refusals are sent as often as there are
// connections to refuse: no kind of message is limited, or for IPv6, which has no empty list of them, only
// one that there is not.
func settle() error {
	for _, s := range []struct {
		file, value string
		optional    bool
	}{
		{"ipv4/ip_forward", "1", false},
		{"ipv6/conf/all/forwarding", "1", true}, // a machine without IPv6
		{"ipv4/conf/all/rp_filter", "0", false},
		{"ipv4/conf/default/rp_filter", "0", false},
		{"ipv6/conf/default/accept_dad", "0", true},
		{"ipv4/icmp_ratemask", "0", false},
		{"ipv6/icmp/ratemask", "0", true},
	} {
		if err := os.WriteFile("/proc/sys/net/"+s.file, []byte(s.value), 0); err != nil && !s.optional {
			return fmt.Errorf("setting up the router: %w", err)
		}
	}
	return nil
}

// connect makes the link.
func (r *Router) connect() error {
	if left, err := netlink.LinkByName(r.config.Name); err == nil { // its worker was killed, and the kernel has not got to it
		if err := netlink.LinkDel(left); err != nil {
			return err
		}
	}
	taken, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	slot := uint32(0)
	for _, c := range []byte(r.config.Name) {
		slot = slot*31 + uint32(c)
	}
	for slot %= 8192; ; slot = (slot + 1) % 8192 {
		r.link = linkAt(slot)
		free := true
		for _, a := range taken {
			free = free && a.IP.String() != r.link.Machine4.String()
		}
		if free {
			break
		}
	}
	own := netlink.NewLinkAttrs()
	own.Name = r.config.Name
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: own, PeerName: outside, PeerNamespace: netlink.NsFd(r.space.Fd())}); err != nil {
		return err
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer host.Close()
	if err := setUp(host, r.config.Name, netip.PrefixFrom(r.link.Machine4, 29), netip.PrefixFrom(r.link.Machine6, 125)); err != nil {
		return err
	}
	if err := setUp(r.handle, "lo", netip.PrefixFrom(resolver, 32)); err != nil {
		return err
	}
	if err := setUp(r.handle, outside, netip.PrefixFrom(r.link.From4, 29), netip.PrefixFrom(r.link.HostFrom4, 29),
		netip.PrefixFrom(r.link.From6, 125), netip.PrefixFrom(r.link.HostFrom6, 125)); err != nil {
		return err
	}
	out, err := r.handle.LinkByName(outside)
	if err != nil {
		return err
	}
	for _, via := range []netip.Addr{r.link.Machine4, r.link.Machine6} {
		err := r.handle.RouteAdd(&netlink.Route{LinkIndex: out.Attrs().Index, Gw: via.AsSlice(), Dst: everything(via)})
		if err != nil && via.Is4() {
			return err
		} else if err != nil {
			r.six = false
		}
	}
	return nil
}

// setUp gives an interface addresses, and starts it. A machine without IPv6 has none of that.
func setUp(h *netlink.Handle, name string, addresses ...netip.Prefix) error {
	l, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(l); err != nil {
		return err
	}
	for _, a := range addresses {
		if err := h.AddrAdd(l, addressOf(a)); err != nil && a.Addr().Is4() {
			return fmt.Errorf("address %s of %s: %w", a, name, err)
		}
	}
	return nil
}

// install puts the rules in place, in the router and on the machine.
func (r *Router) install(ctx context.Context) error {
	values := struct {
		link
		Name, Own4, Own6, Resolver         string
		Opened4, Opened6, Closed4, Closed6 []string
		Single4, Single6                   []string
		AllowHost                          bool
		Host, Egress, LogGroup, Flows      int
		Rules                              map[string]string
	}{link: r.link, Name: r.config.Name, Own4: own4.String(), Own6: own6.String(), Resolver: resolver.String(), AllowHost: r.config.AllowHost, Host: groupHost, Egress: groupEgress, LogGroup: logGroup,
		Opened4: family(r.config.Opened, false), Opened6: family(r.config.Opened, true), Closed4: family(closed, false), Closed6: family(closed, true),
		Flows: maxFlows, Rules: map[string]string{"many": ruleMany, "crowd": ruleCrowd, "inside": ruleInside, "machine": ruleMachine, "closed": ruleClosed, "unlisted": ruleListed}}
	single := func(p netip.Prefix) bool { return p.IsSingleIP() }
	values.Single4, values.Single6 = family(only(r.config.Opened, single), false), family(only(r.config.Opened, single), true)
	inner, err := fill(routerRules, values)
	if err != nil {
		return err
	}
	if err := r.change(ctx, inner); err != nil {
		return err
	}
	outer, err := fill(machineRules, values)
	if err != nil {
		return err
	}
	return nft(ctx, fmt.Sprintf("table inet %[1]s {}\ndelete table inet %[1]s\n%[2]s", r.config.Name, outer))
}

func only(all []netip.Prefix, which func(netip.Prefix) bool) (out []netip.Prefix) {
	for _, p := range all {
		if which(p) {
			out = append(out, p)
		}
	}
	return out
}

func fill(text string, values any) (string, error) {
	var out strings.Builder
	t, err := template.New("rules").Funcs(template.FuncMap{"elements": func(all []string) string {
		if len(all) == 0 {
			return "" // nft knows no empty list of them
		}
		return "elements = { " + strings.Join(all, ", ") + " }"
	}}).Parse(text)
	if err == nil {
		err = t.Execute(&out, values)
	}
	return out.String(), err
}

// change changes the rules in the router.
func (r *Router) change(ctx context.Context, rules string) error {
	return r.do(func() error { return nft(ctx, rules) })
}

// Remove removes what a router of that name has left that was killed: its table. It is no error if there is
// none.
func Remove(name string) error {
	err := nft(context.Background(), "delete table inet "+name)
	if err == nil || errors.Is(err, errNoProgram) || strings.Contains(err.Error(), "No such file or directory") {
		return nil
	}
	return err
}

var errNoProgram = errors.New("there is no program nft: install nftables")

// nft has the rules of the namespace that it runs in changed, by all that the text says or by nothing.
func nft(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	path, err := exec.LookPath("nft")
	if err != nil {
		path = "/usr/sbin/nft"
	}
	cmd := exec.CommandContext(ctx, path, "-f", "-")
	cmd.Stdin, cmd.Env = strings.NewReader(text), []string{}
	if said, err := cmd.CombinedOutput(); errors.Is(err, os.ErrNotExist) {
		return errNoProgram
	} else if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
		return fmt.Errorf("nft: %w: %s", err, first)
	}
	return nil
}

// Close removes the router, and so the interfaces of instances that are left.
func (r *Router) Close() error {
	r.closing()
	var err error
	for _, s := range r.sockets {
		err = errors.Join(err, s.Close())
	}
	r.running.Wait()
	if r.handle != nil {
		r.handle.Close()
	}
	if r.space == nil {
		return err
	}
	if l, gone := netlink.LinkByName(r.config.Name); gone == nil {
		err = errors.Join(err, netlink.LinkDel(l))
	}
	err = errors.Join(err, nft(context.Background(), fmt.Sprintf("table inet %[1]s {}\ndelete table inet %[1]s\n", r.config.Name)))
	return errors.Join(err, r.space.Close())
}
