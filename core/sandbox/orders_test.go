package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// layout is a C program that prints what enter.h makes of its structs.
const layout = `
#include "enter.h"
#include <stddef.h>
#include <stdio.h>
#define AT(s, f) printf(#s "." #f ": %zu %zu\n", offsetof(struct s, f), sizeof(((struct s *)0)->f))
#define IS(n) printf(#n ": %zu 0\n", (size_t)(n))
int main(void) {
	AT(ps_note, kind); AT(ps_note, err); AT(ps_note, step);
	AT(ps_rlimit, resource); AT(ps_rlimit, soft); AT(ps_rlimit, hard);
	AT(ps_orders, kind); AT(ps_orders, unshare); AT(ps_orders, uid); AT(ps_orders, gid);
	AT(ps_orders, network); AT(ps_orders, core); AT(ps_orders, oom_score_adj); AT(ps_orders, terminals); AT(ps_orders, scratch);
	AT(ps_orders, rlimits); AT(ps_orders, masked); AT(ps_orders, filter); AT(ps_orders, writable);
	AT(ps_orders, rlimit); AT(ps_orders, hostname); AT(ps_orders, directory); AT(ps_orders, landlock); AT(ps_orders, listener); AT(ps_orders, pages);
	IS(sizeof(struct ps_note)); IS(sizeof(struct ps_rlimit)); IS(sizeof(struct ps_orders));
	IS(PS_USER); IS(PS_GO); IS(PS_HELLO); IS(PS_ORDERS); IS(PS_ENTERED); IS(PS_FAILED); IS(PS_NETWORK); IS(PS_FORK);
	IS(PS_MAX_RLIMITS); IS(PS_MAX_ORDERS);
}`

func TestOrdersLieAsInC(t *testing.T) {
	coretest.Requires(t, coretest.Compiler())
	dir := t.TempDir()
	source, program := filepath.Join(dir, "layout.c"), filepath.Join(dir, "layout")
	if err := os.WriteFile(source, []byte(layout), 0o644); err != nil {
		t.Fatal(err)
	}
	coretest.CompileC(t, program, "-I", "enter", source)
	text, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	var o orders
	var n note
	var r rlimit
	type place struct{ offset, size uintptr }
	want := map[string]place{
		"sizeof(struct ps_note)": {uintptr(binary.Size(n)), 0}, "sizeof(struct ps_rlimit)": {uintptr(binary.Size(r)), 0},
		"sizeof(struct ps_orders)": {uintptr(binary.Size(o)), 0},
		"PS_USER":                  {kindUser, 0}, "PS_GO": {kindGo, 0}, "PS_HELLO": {kindHello, 0}, "PS_ORDERS": {kindOrders, 0},
		"PS_ENTERED": {kindEntered, 0}, "PS_FAILED": {kindFailed, 0}, "PS_NETWORK": {kindNetwork, 0}, "PS_FORK": {kindFork, 0},
		"PS_MAX_RLIMITS": {maxRlimits, 0}, "PS_MAX_ORDERS": {maxOrders, 0},
	}
	for name, value := range map[string]any{"ps_note": n, "ps_rlimit": r, "ps_orders": o} {
		for field := range reflect.TypeOf(value).Fields() {
			if field.Name != "_" {
				c := strings.ToLower(field.Name)
				if c == "oomscoreadj" {
					c = "oom_score_adj"
				}
				want[name+"."+c] = place{field.Offset, field.Type.Size()}
			}
		}
	}
	for line := range strings.Lines(string(text)) {
		var p place
		name, numbers, _ := strings.Cut(line, ":")
		if _, err := fmt.Sscan(numbers, &p.offset, &p.size); err != nil {
			t.Fatal(line, err)
		}
		if got, found := want[name]; !found || got != p {
			t.Errorf("%s: %v here and %v in C", name, got, p)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is not in C", name)
	}
	if networkOffset != unsafe.Offsetof(o.Network) || int(unsafe.Sizeof(o)) != binary.Size(o) {
		t.Errorf("the network lies at %d, or the structs have holes", unsafe.Offsetof(o.Network))
	}
}

func someSpec() *specs.Spec {
	score := 700
	return &specs.Spec{
		Hostname: strings.Repeat("h", 80),
		Process: &specs.Process{User: specs.User{UID: 7, GID: 8}, OOMScoreAdj: &score,
			Capabilities: &specs.LinuxCapabilities{},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 5, Hard: 6}}},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.NetworkNamespace}, {Type: specs.CgroupNamespace}}, MaskedPaths: []string{"/a", "/b c"}},
		Mounts: []specs.Mount{{Destination: "/tmp", Options: []string{"nosuid", "size=4096"}}, {Destination: "/proc", Type: "proc"},
			{Destination: "/usr", Options: []string{"rbind", "ro"}}, {Destination: "/out", Options: []string{"rbind", "rw"}}},
	}
}

func TestOrdersSayWhatTheSpecSays(t *testing.T) {
	packet, err := newOrders(someSpec(), []byte("12345678"), core.RoleInstance, 7, true)
	if err != nil {
		t.Fatal(err)
	}
	var o orders
	n, err := binary.Decode(packet, binary.NativeEndian, &o)
	if err != nil {
		t.Fatal(err)
	}
	want := orders{Kind: kindOrders, Unshare: 0x02000000, UID: 7, GID: 8, Network: networkMake, Core: coreEndpoint, OOMScoreAdj: 700, Scratch: 4096,
		Rlimits: 1, Masked: 8, Filter: 8, Landlock: 7, Writable: 10, Listener: 1}
	want.Rlimit[0] = rlimit{Resource: 7, Soft: 5, Hard: 6}
	copy(want.Hostname[:], strings.Repeat("h", 63))
	if o != want {
		t.Errorf("%+v\nand not\n%+v", o, want)
	}
	if rest := packet[n:]; !bytes.Equal(rest, []byte("/a\x00/b c\x0012345678/tmp\x00/out\x00")) {
		t.Errorf("%q", rest)
	}
}

func TestOrdersRefuseWhatCannotBeEnforced(t *testing.T) {
	for says, change := range map[string]func(*specs.Spec){
		`namespace "time" is not supported`: func(s *specs.Spec) { s.Linux.Namespaces[0].Type = specs.TimeNamespace },
		"CAP_BPF is not supported":          func(s *specs.Spec) { s.Process.Capabilities.Effective = []string{"CAP_BPF"} },
		"RLIMIT_CPU is not supported":       func(s *specs.Spec) { s.Process.Rlimits[0].Type = "RLIMIT_CPU" },
		"RLIMIT_CORE is not supported": func(s *specs.Spec) {
			for range maxRlimits {
				s.Process.Rlimits = append(s.Process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_CORE"})
			}
		},
		"mount /tmp":    func(s *specs.Spec) { s.Mounts[0].Options[1] = "size=1g" },
		"at most 65536": func(s *specs.Spec) { s.Linux.MaskedPaths[0] = strings.Repeat("x", maxOrders) },
	} {
		spec := someSpec()
		change(spec)
		if _, err := newOrders(spec, nil, core.RoleZygote, 0, false); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, which does not say %q", err, says)
		}
	}
}

func TestStepIsPrintable(t *testing.T) {
	var n note
	copy(n.Step[:], "a\n\x1b[31mb\xff\x00hidden")
	if n.step() != "a??[31mb?" && n.step() != "a??[31mb\ufffd" {
		t.Errorf("%q", n.step())
	}
	if _, err := parseNote(n.bytes()[:20]); err == nil {
		t.Error("a short packet was taken")
	}
}
