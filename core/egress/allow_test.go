package egress

import (
	"fmt"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/egress/egresstest"
)

// What the operator opens is reached, and an address of the machine only when it is opened by itself.
func TestEgressAllow(t *testing.T) {
	opened, err := ParseAllow([]string{"10.0.0.0/8", "169.254.169.254", "fd00:1::/64", "9.9.9.0/24"})
	coretest.Must(t, err)
	x := newRig(t, func(c *Config) { c.Opened = opened })
	i := x.attach(t, core.NetworkEgress)
	for _, address := range []string{"10.1.2.3", "169.254.169.254", "fd00:1::3", "93.184.216.34"} {
		if _, err := i.try("tcp", at(address)); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"169.254.9.9", "172.16.0.9", "fd00:ec2::254", egresstest.Machine[0]} {
		refusedAtOnce(t, i, "tcp", at(address))
	}
}

func TestEgressAllowMachine(t *testing.T) {
	opened, err := ParseAllow([]string{egresstest.Machine[0], egresstest.Machine[1]})
	coretest.Must(t, err)
	x := newRig(t, func(c *Config) { c.Opened = opened })
	i := x.attach(t, core.NetworkEgress)
	for _, address := range egresstest.Machine {
		if _, err := i.try("tcp", at(address)); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestParseAllow(t *testing.T) {
	for text, says := range map[string]string{
		"": "is no address", "10.0.0.0/33": "is no address", "10.1.0.0/8": "write 10.0.0.0/8", "127.0.0.1": "cannot be opened", "127.0.0.0/16": "cannot be opened",
		"::1": "cannot be opened", "224.0.0.1": "cannot be opened", "fe80::/64": "cannot be opened", "198.18.5.0/24": "cannot be opened",
		"::ffff:10.0.0.1": "cannot be opened", "fe80::1%eth0": "is no address", "example.com": "is no address",
	} {
		_, err := ParseAllow([]string{"10.2.0.0/16", text})
		coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, "--egress-allow", says)
	}
	got, err := ParseAllow([]string{"10.2.0.0/16", "10.3.0.7", "fd00::/8"})
	if err != nil || fmt.Sprint(got) != "[10.2.0.0/16 10.3.0.7/32 fd00::/8]" {
		t.Errorf("%v, %v", got, err)
	}
}
