package core

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseDestination(t *testing.T) {
	for text, want := range map[string]Destination{
		"api.Example.com:443":  {Name: "api.example.com", Port: 443},
		"db:5432":              {Name: "db", Port: 5432},
		"a.example.:1":         {Name: "a.example", Port: 1},
		"_srv.x--y.example:80": {Name: "_srv.x--y.example", Port: 80},
		"10.2.0.0/16:5432":     {Prefix: netip.MustParsePrefix("10.2.0.0/16"), Port: 5432},
		"10.2.0.7:65535":       {Prefix: netip.MustParsePrefix("10.2.0.7/32"), Port: 65535},
		"[2600::/32]:443":      {Prefix: netip.MustParsePrefix("2600::/32"), Port: 443},
		"[2600::7]:443":        {Prefix: netip.MustParsePrefix("2600::7/128"), Port: 443},
	} {
		if got, err := ParseDestination(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, says := range map[string]string{
		"": "has no port", "a.example": "has no port", "a.example:": "has no port", "a.example:0": "has no port", "a.example:65536": "has no port",
		"a.example:http": "has no port", "10.2.0.1/16:1": "write 10.2.0.0/16", "10.2.0.0/33:1": "is no name", "2600::7:443": "in brackets",
		"[10.2.0.7]:443": "in brackets", "[a.example]:443": "is no name", "[::ffff:10.0.0.1]:443": "write the IPv4 address", "[fe80::1%eth0]:443": "is no name",
		"10.2.0:443": "is no name", "1.2.3.4.5:80": "is no name", "*.example.com:443": "is no name", "a..example:443": "is no name",
		"-a.example:443": "is no name", "a b:443": "is no name", "http://a.example:443": "is no name", "m\u00fcller.example:443": "is no name",
		strings.Repeat("a", 64) + ":443": "is no name", strings.Repeat("a.", 130) + "a:443": "is no name", "a.example} accept #:443": "is no name",
	} {
		if got, err := ParseDestination(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, %v, which does not say %q", text, got, err, says)
		}
	}
}

func TestNetworkUnder(t *testing.T) {
	for _, r := range []struct{ asked, ceiling, want Network }{
		{"", "", NetworkNone}, {"", NetworkNone, NetworkNone}, {"", NetworkEgress, NetworkEgress}, {"", NetworkHost, NetworkEgress},
		{NetworkNone, NetworkHost, NetworkNone}, {NetworkEgress, NetworkNone, NetworkNone}, {NetworkEgress, NetworkHost, NetworkEgress},
		{NetworkHost, NetworkEgress, NetworkEgress}, {NetworkHost, NetworkHost, NetworkHost},
	} {
		if got := r.asked.Under(r.ceiling); got != r.want {
			t.Errorf("%q under %q is %q, not %q", r.asked, r.ceiling, got, r.want)
		}
	}
}
