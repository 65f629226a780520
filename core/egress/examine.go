package egress

import (
	"log/slog"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Examine reports whether this machine can connect functions, and what to do. As root it opens a router of
// that name, and leaves nothing.
func Examine(name string) core.Finding {
	const finding = "egress"
	r, err := open(Config{Name: name, Refused: func(core.SandboxConfig, string) {}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return core.Finding{Name: finding, Status: core.StatusWarn, Detail: "functions can have no network: " + err.Error(),
			Fix: "needed for a network of functions: nftables, net.ipv4.ip_forward=1, CAP_NET_ADMIN and a writable /proc/sys"}
	}
	six := r.six
	if err := r.Close(); err != nil {
		return core.Finding{Name: finding, Status: core.StatusWarn, Detail: err.Error(), Fix: "remove it by hand: ip link, nft list ruleset"}
	}
	if !six {
		return core.Finding{Name: finding, Status: core.StatusOK, Detail: "IPv4 only (net.ipv6.conf.all.forwarding is 0)"}
	}
	return core.Finding{Name: finding, Status: core.StatusOK, Detail: "IPv4 and IPv6"}
}
