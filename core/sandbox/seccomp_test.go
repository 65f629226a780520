package sandbox

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	allow = 0x7fff0000
	deny  = 0x00050000 // with an errno in the lower half
)

// call is struct seccomp_data.
type call struct {
	Number, Arch uint32
	_            uint64
	Args         [6]uint64
}

// run is the kernel's side of a filter: classic BPF on native-endian words.
func run(t *testing.T, filter []byte, c call) uint32 {
	t.Helper()
	data, _ := binary.Append(nil, binary.NativeEndian, c)
	var a uint32
	for pc := 0; pc*8 < len(filter); pc++ {
		i := filter[pc*8:]
		op, jt, jf, k := binary.NativeEndian.Uint16(i), int(i[2]), int(i[3]), binary.NativeEndian.Uint32(i[4:])
		jump := func(taken bool) {
			if taken {
				pc += jt
			} else {
				pc += jf
			}
		}
		switch op {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = binary.NativeEndian.Uint32(data[k:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= k
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(k)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == k)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(a > k)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= k)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(a&k != 0)
		case unix.BPF_RET | unix.BPF_K:
			return k
		default:
			t.Fatalf("instruction %d has the unknown code %#x", pc, op)
		}
	}
	t.Fatal("a filter without an end")
	return 0
}

// together is what the kernel does when a process has several filters, the newest last: the most severe action wins, and of
// equal ones the newest. Of allow and errno the lower number is the more severe.
func together(t *testing.T, c call, filters ...[]byte) uint32 {
	t.Helper()
	verdict := uint32(allow)
	for _, filter := range slices.Backward(filters) {
		if v := run(t, filter, c); v&0xffff0000 < verdict&0xffff0000 {
			verdict = v
		}
	}
	return verdict
}

// meaning is what the profile says of a call, read as the OCI specification has it.
func meaning(profile *specs.LinuxSeccomp, rules []rule, args [6]uint64) uint32 {
	verdict := func(a specs.LinuxSeccompAction, errno *uint) uint32 {
		switch {
		case a == specs.ActAllow:
			return allow
		case errno != nil:
			return deny | uint32(*errno)
		}
		return deny | uint32(syscall.EPERM)
	}
	for _, r := range rules {
		matches := true
		for _, arg := range r.args {
			value := args[arg.Index]
			switch arg.Op {
			case specs.OpEqualTo:
				matches = matches && value == arg.Value
			case specs.OpNotEqual:
				matches = matches && value != arg.Value
			case specs.OpLessThan:
				matches = matches && value < arg.Value
			case specs.OpLessEqual:
				matches = matches && value <= arg.Value
			case specs.OpGreaterEqual:
				matches = matches && value >= arg.Value
			case specs.OpGreaterThan:
				matches = matches && value > arg.Value
			case specs.OpMaskedEqual:
				matches = matches && value&arg.Value == arg.ValueTwo
			}
		}
		if matches {
			return verdict(r.action, r.errno)
		}
	}
	return verdict(profile.DefaultAction, profile.DefaultErrnoRet)
}

type filters struct {
	info                     *arch.Info
	profiles                 map[core.Role]*specs.LinuxSeccomp
	zygote, instance, differ []byte
	installer                []byte
}

func allFilters(t *testing.T) filters {
	t.Helper()
	info, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	f := filters{info: info}
	if f.profiles, err = seccompProfiles(); err != nil {
		t.Fatal(err)
	}
	assemble := func(role core.Role, inherited *specs.LinuxSeccomp) []byte {
		filter, err := assembleFilter(f.profiles[role], inherited)
		if err != nil {
			t.Fatal(err)
		}
		return filter
	}
	f.zygote, f.instance, f.installer = assemble(core.RoleZygote, nil), assemble(core.RoleInstance, nil), assemble(core.RoleInstaller, nil)
	f.differ = assemble(core.RoleInstance, f.profiles[core.RoleZygote])
	return f
}

// arguments are those that some rule of the profiles tells from others, and some around them.
func arguments(profiles map[core.Role]*specs.LinuxSeccomp) [][6]uint64 {
	// 41, 135 and 308 are numbers of calls that have conditions: what is an argument must not be taken for one.
	values := map[uint64]struct{}{0: {}, 1: {}, ^uint64(0): {}, 1 << 32: {}, 1 << 31: {}, 41: {}, 135: {}, 308: {}, 41 << 32: {}, 308 << 32: {}}
	for _, p := range profiles {
		for _, s := range p.Syscalls {
			for _, arg := range s.Args {
				for _, v := range []uint64{arg.Value, arg.Value - 1, arg.Value + 1, ^arg.Value, arg.Value | 1<<40, arg.Value & -arg.Value} {
					values[v] = struct{}{}
				}
			}
		}
	}
	var out [][6]uint64
	for v := range values {
		out = append(out, [6]uint64{v, v, v, v, v, v})
		for i := range 6 {
			var one [6]uint64
			one[i] = v
			out = append(out, one)
		}
	}
	return out
}

func TestFiltersMeanTheProfiles(t *testing.T) {
	f := allFilters(t)
	vectors := arguments(f.profiles)
	rules := [...]map[string][]rule{rulesByName(f.profiles[core.RoleZygote]), rulesByName(f.profiles[core.RoleInstance])}
	for _, name := range slices.Sorted(maps.Keys(f.info.SyscallNames)) {
		for _, args := range vectors {
			c := call{Number: uint32(f.info.SyscallNames[name]), Arch: uint32(f.info.ID), Args: args}
			zygote, instance := meaning(f.profiles[core.RoleZygote], rules[0][name], args), meaning(f.profiles[core.RoleInstance], rules[1][name], args)
			for _, r := range []struct {
				what      string
				got, want uint32
			}{
				{"a zygote's filter", run(t, f.zygote, c), zygote},
				{"an instance's whole filter", run(t, f.instance, c), instance},
				{"a zygote's filter and the difference", together(t, c, f.zygote, f.differ), instance},
				{"an installer's filter", run(t, f.installer, c), instance},
			} {
				if r.got != r.want {
					t.Fatalf("%s %x: %s: %#x and not %#x", name, args, r.what, r.got, r.want)
				}
			}
		}
	}
}

func TestOperators(t *testing.T) {
	info, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	values := []uint64{0, 1, 7, 8, 9, 1<<32 - 1, 1 << 32, 1<<32 + 7, 1<<32 + 8, 1<<32 + 9, 2<<32 + 8, 2<<32 + 7, ^uint64(0)}
	errno := uint(unix.EACCES)
	for _, op := range []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan,
		specs.OpGreaterEqual, specs.OpMaskedEqual} {
		for _, value := range values {
			first := specs.LinuxSeccompArg{Index: 1, Op: op, Value: value, ValueTwo: value & 0x1_0000_0008}
			profile := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
				{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{first, {Index: 5, Op: specs.OpLessThan, Value: 9}}},
				{Names: []string{"read"}, Action: specs.ActErrno, ErrnoRet: &errno, Args: []specs.LinuxSeccompArg{{Index: 5, Op: op, Value: value}}},
				{Names: []string{"write"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{first}},
			}}
			filter, err := assembleFilter(profile, nil)
			if err != nil {
				t.Fatal(err)
			}
			rules := rulesByName(profile)
			for _, a := range values {
				for _, b := range values {
					args := [6]uint64{1: a, 5: b}
					for _, name := range []string{"read", "write", "close"} {
						got := run(t, filter, call{Number: uint32(info.SyscallNames[name]), Arch: uint32(info.ID), Args: args})
						if want := meaning(profile, rules[name], args); got != want {
							t.Fatalf("%s %s %#x, arguments %#x and %#x: %#x and not %#x", name, op, value, a, b, got, want)
						}
					}
				}
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	f := allFilters(t)
	namespaces := []uint64{unix.CLONE_NEWNS, unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWCGROUP}
	eperm, enosys := deny|uint32(syscall.EPERM), deny|uint32(syscall.ENOSYS)
	type row struct {
		name             string
		args             [6]uint64
		zygote, instance uint32
	}
	rows := []row{
		{"read", [6]uint64{}, allow, allow},
		{"clone", [6]uint64{uint64(syscall.SIGCHLD)}, allow, allow},
		{"clone3", [6]uint64{}, enosys, enosys},
		{"move_mount", [6]uint64{}, allow, eperm},
		{"pivot_root", [6]uint64{}, allow, eperm},
		{"umount2", [6]uint64{}, allow, eperm},
		{"sethostname", [6]uint64{}, allow, eperm},
		{"mount", [6]uint64{}, allow, eperm},
		{"mount", [6]uint64{3: unix.MS_BIND | unix.MS_REC}, allow, eperm},
		{"mount", [6]uint64{3: unix.MS_BIND | unix.MS_REMOUNT}, eperm, eperm},
		{"mount", [6]uint64{3: unix.MS_REMOUNT}, eperm, eperm},
		{"setns", [6]uint64{1: unix.CLONE_NEWPID}, allow, eperm},
		{"setns", [6]uint64{1: unix.CLONE_NEWNET}, allow, eperm},
		{"setns", [6]uint64{1: unix.CLONE_NEWUSER}, eperm, eperm},
		{"setns", [6]uint64{}, eperm, eperm},
		{"unshare", [6]uint64{unix.CLONE_NEWPID}, allow, eperm},
		{"unshare", [6]uint64{unix.CLONE_NEWPID | unix.CLONE_NEWUSER}, eperm, eperm},
		{"unshare", [6]uint64{unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}, allow, eperm},
	}
	for _, flag := range namespaces {
		rows = append(rows, row{"clone", [6]uint64{flag | uint64(syscall.SIGCHLD)}, eperm, eperm})
	}
	for _, name := range []string{"bpf", "keyctl", "add_key", "request_key", "mount_setattr", "open_tree", "fsopen", "fspick", "fsmount",
		"fsconfig", "perf_event_open", "userfaultfd", "init_module", "finit_module", "kexec_load", "reboot", "swapon", "syslog", "quotactl",
		"open_by_handle_at", "fanotify_init", "io_uring_setup", "acct", "settimeofday", "nfsservctl", "lookup_dcookie", "chroot"} {
		if _, found := f.info.SyscallNames[name]; found {
			rows = append(rows, row{name, [6]uint64{}, eperm, eperm})
		}
	}
	for _, r := range rows {
		c := call{Number: uint32(f.info.SyscallNames[r.name]), Arch: uint32(f.info.ID), Args: r.args}
		if got := run(t, f.zygote, c); got != r.zygote {
			t.Errorf("%s %x: %#x for a zygote, not %#x", r.name, r.args, got, r.zygote)
		}
		if got := together(t, c, f.zygote, f.differ); got != r.instance {
			t.Errorf("%s %x: %#x for an instance, not %#x", r.name, r.args, got, r.instance)
		}
	}
}

func TestOtherArchitecturesAreDenied(t *testing.T) {
	f := allFilters(t)
	for number := range uint32(500) {
		for what, c := range map[string]call{
			"x32":   {Number: number | 0x40000000, Arch: uint32(f.info.ID)},
			"i386":  {Number: number, Arch: unix.AUDIT_ARCH_I386},
			"arm":   {Number: number, Arch: unix.AUDIT_ARCH_ARM},
			"s390x": {Number: number, Arch: unix.AUDIT_ARCH_S390X},
		} {
			for _, verdict := range []uint32{run(t, f.zygote, c), run(t, f.installer, c), together(t, c, f.zygote, f.differ)} {
				if verdict&0xffff0000 != deny {
					t.Fatalf("%s call %d: %#x", what, number, verdict)
				}
			}
		}
	}
}

// The kernel takes 4096 instructions of an unprivileged process, and time for each.
func TestFilterSizes(t *testing.T) {
	f := allFilters(t)
	for what, size := range map[string]struct{ filter, max int }{
		"zygote": {len(f.zygote) / 8, 1000}, "installer": {len(f.installer) / 8, 1000}, "difference": {len(f.differ) / 8, 40},
	} {
		if size.filter > size.max || size.filter == 0 {
			t.Errorf("the filter for a %s has %d instructions, not 1 to %d", what, size.filter, size.max)
		}
	}
}

func TestUnknownProfilesAreRefused(t *testing.T) {
	profile := func(action specs.LinuxSeccompAction, args ...specs.LinuxSeccompArg) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: action, Args: args}}}
	}
	good := profile(specs.ActAllow)
	for _, r := range []struct {
		what               string
		profile, inherited *specs.LinuxSeccomp
		says               string
	}{
		{"an action", profile(specs.ActNotify), nil, "SCMP_ACT_NOTIFY is not supported"},
		{"a default action", &specs.LinuxSeccomp{DefaultAction: specs.ActTrap, Syscalls: good.Syscalls}, nil, "SCMP_ACT_TRAP is not supported"},
		{"an operator", profile(specs.ActAllow, specs.LinuxSeccompArg{Op: "SCMP_CMP_ODD"}), nil, "SCMP_CMP_ODD is not supported"},
		{"no operator", profile(specs.ActAllow, specs.LinuxSeccompArg{}), nil, "is not supported"},
		{"an argument", profile(specs.ActAllow, specs.LinuxSeccompArg{Op: specs.OpEqualTo, Index: 6}), nil, "an argument that cannot be"},
		{"many conditions", profile(specs.ActAllow, slices.Repeat([]specs.LinuxSeccompArg{{Op: specs.OpEqualTo}}, 80)...), nil, "too many"},
		{"different defaults", good, &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}, "different default actions"},
	} {
		if _, err := assembleFilter(r.profile, r.inherited); err == nil || !strings.Contains(err.Error(), r.says) {
			t.Errorf("%s: %v", r.what, err)
		}
	}
	if _, err := assembleFilter(good, nil); err != nil {
		t.Error(fmt.Errorf("a good one: %w", err))
	}
}
