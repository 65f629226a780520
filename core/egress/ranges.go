package egress

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// closed are the addresses that are not of the internet: private, special and local ones, those of clouds'
// metadata among them, and what leads to them in another form. (IANA's registries of special-purpose
// addresses; of IPv6, only 2000::/3 is given out.)
var closed = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/3", "4000::/2", "8000::/1", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")

// The router's own addresses, of which no packet leaves it: benchmarking's, which no network should have, and
// unique local ones.
var (
	own4 = netip.MustParsePrefix("198.18.0.0/15")
	own6 = netip.MustParsePrefix("fd50:7073:7175::/48")
	// Each worker of a machine has eight addresses of these for its link to the machine.
	links4 = netip.MustParsePrefix("198.19.0.0/16")
	links6 = netip.MustParsePrefix("fd50:7073:7175:1::/64")
)

// never are those that no operator can open: they are not of any network that a worker forwards to, or the
// router's own.
var never = prefixes("0.0.0.0/8", "127.0.0.0/8", own4.String(), "224.0.0.0/3", "::/96", "::ffff:0:0/96", own6.String(), "fe80::/10", "ff00::/8")

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// ParseAllow reads what an operator opens: addresses and CIDRs.
func ParseAllow(texts []string) (out []netip.Prefix, err error) {
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if address, e := netip.ParseAddr(text); e == nil && address.Zone() == "" {
			p, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "--egress-allow %q is no address and no CIDR; such as 10.2.0.0/16", text)
		}
		if p != p.Masked() {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "--egress-allow %q has bits behind its prefix; write %s", text, p.Masked())
		}
		for _, n := range never {
			if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
				return nil, core.Errorf(core.KindInvalid, core.FaultCaller,
					"--egress-allow %s cannot be opened: %s is nobody's that an instance could reach; leave it out", p, n)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// The rules by which connections are refused, as packets are marked with them, and what they are called in a
// function's log.
const (
	ruleInside  = "inside"
	ruleMachine = "machine"
	ruleClosed  = "closed"
	ruleListed  = "listed"
	ruleMany    = "many"
	ruleCrowd   = "crowd"
)

var ruleTexts = map[string]string{
	ruleInside:  "it is the worker's own, or another instance's",
	ruleMachine: "it is an address of the worker's machine",
	ruleClosed:  "it is private, special or local, and the operator has not opened it (serve --egress-allow)",
	ruleMany:    fmt.Sprintf("the instance has %d connections, or flows of UDP in the last half minute", maxFlows),
	ruleCrowd:   fmt.Sprintf("all instances together have half of the connections that the kernel keeps, and then one opens %d more", crowdedFlows),
	ruleListed:  "it is not in the function's egress (pipsqueak.yaml)",
}

// judge returns the rule by which an address is refused to every function of network egress, empty if by
// none. It says in Go what router.nft says in packets, for names are judged before they are answered.
func judge(address netip.Addr, machine, opened []netip.Prefix) string {
	address = address.Unmap()
	in := func(p netip.Prefix) bool { return p.Contains(address) }
	switch {
	case in(own4) || in(own6):
		return ruleInside
	case slices.ContainsFunc(machine, in):
		return ruleMachine
	case slices.ContainsFunc(opened, in):
		return ""
	case slices.ContainsFunc(closed, in):
		return ruleClosed
	}
	return ""
}

// family returns those prefixes of IPv4, or of IPv6.
func family(all []netip.Prefix, six bool) (out []string) {
	for _, p := range all {
		if p.Addr().Is6() == six {
			out = append(out, p.String())
		}
	}
	return out
}

func addressAt(p netip.Prefix, n uint32) netip.Addr {
	b := p.Addr().AsSlice()
	for i := len(b) - 1; n > 0; i-- {
		n += uint32(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
