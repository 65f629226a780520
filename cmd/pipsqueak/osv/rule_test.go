package osv

import (
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TestRule has the names and versions by which people and advisories speak of packages.
func TestRule(t *testing.T) {
	pandas := core.Locked{Name: "pandas", Version: "2.2.3", URL: "pkg:pypi/pandas@2.2.3"}
	numpy := core.Locked{Name: "numpy", Version: "2.0.0rc1", URL: "pkg:pypi/numpy@2.0.0rc1"}
	dotted := core.Locked{Name: "zope-interface", Version: "6.0", URL: "pkg:pypi/zope-interface@6.0"}
	esbuild := core.Locked{Name: "@esbuild+linux-x64", Version: "0.25.12", URL: "pkg:npm/%40esbuild/linux-x64@0.25.12"}
	debug := core.Locked{Name: "debug", Version: "2.6.9+3f2a91", URL: "pkg:npm/debug@2.6.9"}
	alias := core.Locked{Name: "old-ms", Version: "2.0.0", URL: "pkg:npm/ms@2.0.0"}
	rack := core.Locked{Name: "rack", Version: "2.2.3.1", URL: "pkg:gem/rack@2.2.3.1"}
	native := core.Locked{Name: "nokogiri", Version: "1.16.0-x86_64-linux", URL: "pkg:gem/nokogiri@1.16.0?platform=x86_64-linux"}
	ssl := core.Locked{Name: "debian+libssl3", Version: "3.0.11-1~deb12u2", URL: "pkg:deb/debian/libssl3@3.0.11-1~deb12u2?arch=amd64&distro=debian-12&upstream=openssl"}
	libc := core.Locked{Name: "debian+libc6", Version: "2.36-9+deb12u4+b1", URL: "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4%2Bb1?upstream=glibc%402.36-9%2Bdeb12u4"}
	nobody := core.Locked{Name: "luafoo", Version: "1.10"}
	for _, test := range []struct {
		name, versions string
		of             core.Locked
		want           bool
	}{
		{"Pandas", "2.2.3", pandas, true},
		{"pandas", "==2.2.3", pandas, true},
		{"pandas", "2.2.3.0", pandas, true}, // the same version
		{"pandas", "", pandas, true},
		{"pandas", "*", pandas, true},
		{"pandas", ">=2,<2.2.3", pandas, false},
		{"pandas", ">= 2, < 3", pandas, true},
		{"pandas", "!=2.2.3", pandas, false},
		{"pandas", "==2.2.*", pandas, true},
		{"pandas", "==2.1.*", pandas, false},
		{"pandas", "~=2.2", pandas, true},
		{"pandas", "~=2.1.0", pandas, false},
		{"pandas", "<2 || >=2.2.3", pandas, true},
		{"panda", "2.2.3", pandas, false},
		{"pkg:pypi/Pandas", "2.2.3", pandas, true},
		{"pkg:pypi/pandas@2.2.3", "", pandas, true},
		{"pkg:npm/pandas", "2.2.3", pandas, false},
		{"Zope.Interface", "6", dotted, true},
		{"zope_interface", "<6", dotted, false},
		{"numpy", "<2", numpy, true}, // before 2, as in advisories
		{"numpy", ">=2.0.0", numpy, false},
		{"@esbuild/linux-x64", "0.25.12", esbuild, true},
		{"@esbuild/linux-x64", "^0.25.2", esbuild, true},
		{"@esbuild/linux-x64", "^0.24.2", esbuild, false},
		{"@esbuild/linux-x64", "0.25.x", esbuild, true},
		{"@esbuild/linux-x64", "0.25", esbuild, true}, // npm's own meaning
		{"@esbuild/linux-x64", "0.25.1 - 0.25.13", esbuild, true},
		{"@esbuild+linux-x64", "0.25.12", esbuild, true}, // as the store calls it
		{"pkg:npm/%40esbuild/linux-x64@0.25.12", "", esbuild, true},
		{"@esbuild/linux-x86", "0.25.12", esbuild, false},
		{"debug", "2.6.9", debug, true},
		{"debug", ">=2.6.8 <2.6.10", debug, true},
		{"debug", "2.6.9+3f2a91", debug, true},
		{"debug", "~2.6.0", debug, true},
		{"debug", "2.6.8", debug, false},
		{"ms", "<2.1", alias, true},
		{"rack", "~> 2.2.3", rack, true},
		{"rack", "~> 2.1.0", rack, false},
		{"rack", "< 2.2.3.1", rack, false},
		{"rack", "2.2.3.1", rack, true},
		{"nokogiri", "1.16.0", native, true},
		{"openssl", "<< 3.0.13", ssl, true},
		{"libssl3", "3.0.11-1~deb12u2", ssl, true},
		{"libssl3", "<3.0.11-1~deb12u2", ssl, false},
		{"libssl3", ">=3.0.11-1~", ssl, true},
		{"debian+libssl3", "3.0.11-1~deb12u2", ssl, true},
		{"pkg:deb/debian/openssl", "<1:1", ssl, true},
		{"pkg:deb/debian/libssl3", "3.0.11-1~deb12u2", ssl, true},
		{"glibc", "2.36-9+deb12u4", libc, true},
		{"libc6", "2.36-9+deb12u4+b1", libc, true},
		{"@Esbuild/Linux-X64", "<1", esbuild, true}, // capitals do not count
		{"Rack", "<3", rack, true},
		{"OpenSSL", "<3.0.13", ssl, true},
		{"pandas", "2.2.2, 2.2.3", pandas, true}, // one of several
		{"pandas", "2.2.2 2.2.3", pandas, true},
		{"pandas", "2.2.1,2.2.2", pandas, false},
		{"debug", "2.6.8, 2.6.9", debug, true},
		{"luafoo", "1.10", nobody, true},
		{"luafoo", ">1.9", nobody, true},
		{"luafoo", "<1.9", nobody, false},
	} {
		covers, err := Rule(test.name, test.versions)
		if err != nil {
			t.Errorf("%s %s: %v", test.name, test.versions, err)
			continue
		}
		if got := covers(test.of); got != test.want {
			t.Errorf("%s %q covers %s: %v, want %v", test.name, test.versions, test.of, got, test.want)
		}
	}
}

// TestRuleRefused has what would forbid nothing, or nobody knows what.
func TestRuleRefused(t *testing.T) {
	for _, test := range [][2]string{{"", "1"}, {" ", ""}, {"pandas", "newest"}, {"pandas", ">="}, {"pandas", ">=1,,"}, {"pandas", "|| "}, {"pandas", "=>1"},
		{"pkg:nothing", ""}, {"pandas newest", ""}, {"pandas,numpy", ""}, {"pandas (<2)", ""}, {"pkg:deb/ubuntu/openssl", ""}, {"pkg:pypi/pandas", "^1.2"}, {"pkg:npm/debug", "~> 1.2 banana"}} {
		if _, err := Rule(test[0], test[1]); !core.IsKind(err, core.KindInvalid) || core.AsError(err).Fault != core.FaultCaller {
			t.Errorf("%q %q: %v", test[0], test[1], err)
		}
	}
}
