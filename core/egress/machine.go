package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// follow keeps the addresses of the machine out of reach, also those that it gets later.
func (r *Router) follow(ctx context.Context) error {
	changes := make(chan netlink.AddrUpdate, 64)
	if err := netlink.AddrSubscribe(changes, ctx.Done()); err != nil {
		return fmt.Errorf("following the machine's addresses: %w", err)
	}
	if err := r.readMachine(ctx); err != nil {
		return err
	}
	r.running.Go(func() {
		for range changes {
			time.Sleep(changePause) // several come at once
			for len(changes) > 0 {
				<-changes
			}
			if err := r.readMachine(ctx); err != nil && ctx.Err() == nil {
				r.config.Log.Warn("egress", "err", err, "effect", "a new address of the machine is refused without a line in the function's log")
			}
		}
	})
	return nil
}

const changePause = 20 * time.Millisecond

// readMachine reads the machine's addresses. One that the operator has opened by itself is not among them.
func (r *Router) readMachine(ctx context.Context) error {
	r.rules.Lock()
	defer r.rules.Unlock()
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("the machine's addresses: %w", err)
	}
	var machine []netip.Prefix
	for _, a := range all {
		address, ok := netip.AddrFromSlice(a.IP)
		address = address.Unmap()
		whole := netip.PrefixFrom(address, address.BitLen())
		if ok && !address.IsLinkLocalUnicast() && !address.IsLoopback() && !slices.Contains(r.config.Opened, whole) && !slices.Contains(machine, whole) {
			machine = append(machine, whole)
		}
	}
	if err := r.change(ctx, elementsOf("machine4", family(machine, false))+elementsOf("machine6", family(machine, true))); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.machine = machine
	return nil
}

// elementsOf has a set of rules hold these addresses and no others.
func elementsOf(set string, prefixes []string) string {
	text := "flush set inet egress " + set + "\n"
	if len(prefixes) > 0 {
		var addresses []string
		for _, p := range prefixes {
			address, _, _ := strings.Cut(p, "/")
			addresses = append(addresses, address)
		}
		text += fmt.Sprintf("add element inet egress %s { %s }\n", set, strings.Join(addresses, ", "))
	}
	return text
}

// judge returns the rule by which an address is refused.
func (r *Router) judge(address netip.Addr) string {
	r.mu.Lock()
	machine := r.machine
	r.mu.Unlock()
	return judge(address, machine, r.config.Opened)
}

// portAt returns the port of an instance's address, nil when there is none.
func (r *Router) portAt(from net.Addr) *Port {
	at, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ports[at.Addr().Unmap()]
}
