package core

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Network is what the processes of an instance can reach besides each other.
type Network string

// The networks.
const (
	NetworkNone   Network = "none"   // nothing: they have their own loopback
	NetworkEgress Network = "egress" // the internet, and what the operator opens besides
	NetworkHost   Network = "host"   // whatever the worker's machine can reach, and that machine itself
)

// Networks are all of them, each with more than the one before.
var Networks = []Network{NetworkNone, NetworkEgress, NetworkHost}

// Exceeds reports whether it reaches more than another one. An empty one is as none.
func (n Network) Exceeds(other Network) bool {
	return slices.Index(Networks, n) > max(slices.Index(Networks, other), 0)
}

// Under returns what a function reaches that asks for the network, on a worker that allows another one at
// most: egress when it asks for nothing, and never more than that.
func (n Network) Under(ceiling Network) Network {
	if n == "" {
		n = NetworkEgress
	}
	if !n.Exceeds(ceiling) {
		return n
	} else if ceiling == "" {
		return NetworkNone
	}
	return ceiling
}

// ResolverAddress is the name server of instances that have a network. In other sandboxes nobody has that
// address.
const ResolverAddress = "198.18.0.1"

// Destination is where a function may connect to: the addresses of a name or of a prefix, at one port of TCP
// and UDP.
type Destination struct {
	Name   string       // of a host, in small letters, without a dot at its end; empty with a Prefix
	Prefix netip.Prefix // of addresses
	Port   uint16
}

// ParseDestination reads NAME:PORT, ADDRESS:PORT or CIDR:PORT; IPv6 in brackets.
func ParseDestination(text string) (Destination, error) {
	const form = "write it as api.example.com:443, 10.2.0.0/16:5432 or [2001:db8::/32]:443"
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return Destination{}, fmt.Errorf("%q has no port; %s", text, form)
	}
	port, err := strconv.ParseUint(text[colon+1:], 10, 16)
	if err != nil || port == 0 {
		return Destination{}, fmt.Errorf("%q has no port from 1 to 65535; %s", text, form)
	}
	d := Destination{Port: uint16(port)}
	host, bracketed := text[:colon], false
	if inner, is := strings.CutPrefix(host, "["); is {
		host, bracketed = strings.CutSuffix(inner, "]")
	}
	prefix, err := netip.ParsePrefix(host)
	if address, isAddress := netip.ParseAddr(host); isAddress == nil && address.Zone() == "" {
		prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
	}
	switch {
	case err == nil && prefix.Addr().Is4In6():
		return d, fmt.Errorf("%q is IPv4 written as IPv6; write the IPv4 address", text)
	case err == nil && prefix.Addr().Is6() != bracketed:
		return d, fmt.Errorf("%q: IPv6, and nothing else, stands in brackets; %s", text, form)
	case err == nil && prefix != prefix.Masked():
		return d, fmt.Errorf("%q has bits behind its prefix; write %s", text, prefix.Masked())
	case err == nil:
		d.Prefix = prefix
		return d, nil
	case bracketed || !validHost(host):
		return d, fmt.Errorf("%q is no name of a host, address or CIDR; %s", text, form)
	}
	d.Name = strings.ToLower(strings.TrimSuffix(host, "."))
	return d, nil
}

// validHost reports whether a text can be the name of a host: labels as in DNS, and at least one letter, so
// that no mistyped address is one.
func validHost(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if len(name) > 253 || !strings.ContainsFunc(name, unicode.IsLetter) {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || strings.Trim(label, "-") != label {
			return false
		}
		for _, r := range label {
			if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' {
				return false
			}
		}
	}
	return true
}
