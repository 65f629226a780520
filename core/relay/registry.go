package relay

import (
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// ports are those that an address without one has.
var ports = map[string]string{"http": "80", "https": "443"}

// Addresses returns the registries, each a URL, host:port, or a host for its port 443, as host:port in lower
// case. One that is none of these is KindInvalid of the worker's.
func Addresses(registries []string) ([]string, error) {
	var out []string
	for _, registry := range registries {
		text := registry
		if !strings.Contains(text, "://") {
			text = "https://" + text
		}
		u, err := url.Parse(text)
		if err != nil || ports[u.Scheme] == "" || u.Hostname() == "" || strings.ContainsAny(u.Host, "*%") {
			return nil, core.Errorf(core.KindInvalid, core.FaultWorker,
				"%q is no registry: name an http or https address, or host:port, in the registry's configuration or in PIPSQUEAK_REGISTRIES", hide(registry))
		}
		port := u.Port()
		if port == "" {
			port = ports[u.Scheme]
		}
		address := canonical(net.JoinHostPort(u.Hostname(), port))
		if local, is := loopback(address); is && local == core.RelayAddress {
			return nil, core.Errorf(core.KindInvalid, core.FaultWorker, "a registry cannot be at %s, where installers have their proxy: serve it at another port", address)
		}
		out = append(out, address)
	}
	return out, nil
}

// hide takes the user and password out of an address that cannot be parsed.
func hide(registry string) string { return registry[strings.LastIndex(registry, "@")+1:] }

// canonical is the one way to write host:port.
func canonical(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return net.JoinHostPort(strings.TrimSuffix(strings.ToLower(host), "."), port)
}

// loopback returns where a registry on this very machine listens, as an address of the loopback.
func loopback(address string) (string, bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	return net.JoinHostPort(host, port), err == nil && ip.IsLoopback()
}
