package sandbox

import (
	"encoding/binary"
	"maps"
	"slices"
	"syscall"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	allow  = 0x7fff0000
	eperm  = 0x00050000 | uint32(syscall.EPERM)
	enosys = 0x00050000 | uint32(syscall.ENOSYS)
)

// architectures are those that a worker runs on. Filters for both are run here, whatever this machine is.
var architectures = []*arch.Info{arch.X86_64, arch.AARCH64}

// call is struct seccomp_data.
type call struct {
	Number, Arch uint32
	_            uint64
	Args         [6]uint64
}

// run is the kernel's side of a filter: classic BPF on little-endian words. It returns the number of its
// steps too.
func run(t *testing.T, filter []byte, c call) (verdict uint32, steps int) {
	t.Helper()
	data, _ := binary.Append(nil, binary.LittleEndian, c)
	var a uint32
	for pc := 0; pc*8 < len(filter); pc++ {
		steps++
		i := filter[pc*8:]
		op, jt, jf, k := binary.LittleEndian.Uint16(i), int(i[2]), int(i[3]), binary.LittleEndian.Uint32(i[4:])
		jump := func(taken bool) {
			if taken {
				pc += jt
			} else {
				pc += jf
			}
		}
		switch op {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = binary.LittleEndian.Uint32(data[k:])
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(k)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == k)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= k)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(a&k != 0)
		case unix.BPF_RET | unix.BPF_K:
			return k, steps
		default:
			t.Fatalf("instruction %d has the unknown code %#x", pc, op)
		}
	}
	t.Fatal("a filter without an end")
	return 0, 0
}

// together is what the kernel does when a process has several filters, the newest last: the most severe
// action wins, and of equal ones the newest. Of allow and errno the lower number is the more severe.
func together(t *testing.T, c call, filters ...[]byte) uint32 {
	t.Helper()
	verdict := uint32(allow)
	for _, filter := range slices.Backward(filters) {
		if v, _ := run(t, filter, c); v&0xffff0000 < verdict&0xffff0000 {
			verdict = v
		}
	}
	return verdict
}

// meaning is what rules say of a call, read as the policy explains itself.
func meaning(r rule, args [6]uint64) uint32 {
	if r.errno != 0 {
		return 0x00050000 | uint32(r.errno)
	}
	holds := func(c condition) bool {
		value := uint32(args[c.argument])
		switch c.operator {
		case "in":
			return slices.Contains(c.values, value)
		case "not in":
			return !slices.Contains(c.values, value)
		}
		return !slices.ContainsFunc(c.values, func(bits uint32) bool { return value&bits != 0 })
	}
	for _, way := range r.ways {
		if !slices.ContainsFunc(way, func(c condition) bool { return !holds(c) }) {
			return allow
		}
	}
	return eperm
}

// stack is the filters of a process: an instance has its zygote's too.
func stack(t *testing.T, info *arch.Info, role core.Role, asked ...string) (filters [][]byte) {
	t.Helper()
	roles := []core.Role{role}
	if role == core.RoleInstance {
		roles = []core.Role{core.RoleZygote, core.RoleInstance}
	}
	for _, r := range roles {
		filter, err := filterFor(info, r, false, asked)
		if err != nil {
			t.Fatal(err)
		}
		filters = append(filters, filter)
	}
	return filters
}

// arguments are those that some rule tells from others, and some around them.
func arguments(t *testing.T, all rules) [][6]uint64 {
	t.Helper()
	// 41, 54, 135 and 308 are numbers of calls that have conditions: what is an argument must not be taken
	// for one.
	values := map[uint64]struct{}{0: {}, 1: {}, ^uint64(0): {}, 1 << 32: {}, 1 << 31: {}, 41: {}, 54: {}, 135: {}, 308: {}, 41 << 32: {}, 308 << 32: {}}
	for _, r := range all {
		for _, way := range r.ways {
			for _, c := range way {
				for _, value := range c.values {
					v := uint64(value)
					for _, v := range []uint64{v, v - 1, v + 1, ^v, v | 1<<40, v << 32, v & -v} {
						values[v] = struct{}{}
					}
				}
			}
		}
	}
	var out [][6]uint64
	for v := range values {
		out = append(out, [6]uint64{v, v, v, v, v, v})
		for i := range 6 {
			one := [6]uint64{0: unix.AF_INET, 1: unix.SOCK_STREAM}
			one[i] = v
			out = append(out, one)
		}
	}
	return out
}

var everyRequest = []string{"io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
	"pkey_alloc", "pkey_free", "pkey_mprotect",
	"get_mempolicy", "mbind", "set_mempolicy", "process_vm_readv", "process_vm_writev", "ptrace"}

func TestFiltersMeanThePolicy(t *testing.T) {
	for _, info := range architectures {
		for _, role := range []core.Role{core.RoleZygote, core.RoleInstance, core.RoleInstaller} {
			for _, asked := range [][]string{nil, everyRequest} {
				own, err := rulesFor(role, false, asked)
				if err != nil {
					t.Fatal(err)
				}
				filters, vectors := stack(t, info, role, asked...), arguments(t, own)
				for name, number := range info.SyscallNames {
					tried := vectors
					if !slices.ContainsFunc(own[name].ways, func(way []condition) bool { return len(way) > 0 }) {
						tried = vectors[:20]
					}
					for _, args := range tried {
						c := call{Number: uint32(number), Arch: uint32(info.ID), Args: args}
						if got, want := together(t, c, filters...), meaning(own[name], args); got != want {
							t.Fatalf("%s, %s of a runtime with %v: %s %x: %#x and not %#x", info.Name, role, asked, name, args, got, want)
						}
					}
				}
			}
		}
	}
}

// What is refused and what is not, said here once more and by hand.
func TestVerdicts(t *testing.T) {
	type row struct {
		name             string
		args             [6]uint64
		zygote, instance uint32
	}
	rows := []row{
		{"read", [6]uint64{}, allow, allow},
		{"clone", [6]uint64{uint64(syscall.SIGCHLD)}, allow, allow},
		{"clone", [6]uint64{0: unix.CLONE_VM | unix.CLONE_THREAD | 1<<40}, allow, allow},
		{"clone3", [6]uint64{}, enosys, enosys},
		{"statmount", [6]uint64{}, enosys, enosys},
		{"listmount", [6]uint64{}, enosys, enosys},
		{"move_mount", [6]uint64{}, allow, eperm},
		{"pivot_root", [6]uint64{}, allow, eperm},
		{"chroot", [6]uint64{}, allow, eperm},
		{"umount2", [6]uint64{}, allow, eperm},
		{"sethostname", [6]uint64{}, allow, eperm},
		{"mount", [6]uint64{}, allow, eperm},
		{"mount", [6]uint64{3: unix.MS_BIND | unix.MS_REC}, allow, eperm},
		{"mount", [6]uint64{3: unix.MS_BIND | unix.MS_REMOUNT}, eperm, eperm},
		{"mount", [6]uint64{3: unix.MS_REMOUNT}, eperm, eperm},
		{"setns", [6]uint64{1: unix.CLONE_NEWPID}, eperm, eperm},
		{"setns", [6]uint64{1: unix.CLONE_NEWNET}, allow, eperm},
		{"setns", [6]uint64{1: unix.CLONE_NEWUSER}, allow, eperm},
		{"setns", [6]uint64{1: unix.CLONE_NEWNS}, eperm, eperm},
		{"setns", [6]uint64{}, eperm, eperm},
		{"unshare", [6]uint64{unix.CLONE_NEWPID}, allow, eperm},
		{"unshare", [6]uint64{unix.CLONE_NEWPID | unix.CLONE_NEWUSER}, eperm, eperm},
		{"unshare", [6]uint64{unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}, allow, eperm},
		{"personality", [6]uint64{0xffffffff}, allow, allow},
		{"personality", [6]uint64{0}, allow, allow},
		{"personality", [6]uint64{0x0040000}, eperm, eperm}, // addresses without randomness
		{"personality", [6]uint64{0x0400000}, eperm, eperm}, // what is read is run
		{"seccomp", [6]uint64{unix.SECCOMP_SET_MODE_FILTER}, allow, allow},
		{"seccomp", [6]uint64{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}, allow, eperm},
		{"prctl", [6]uint64{unix.PR_SET_NAME}, allow, allow},
		{"prctl", [6]uint64{unix.PR_SET_MM}, eperm, eperm},
		{"prctl", [6]uint64{unix.PR_SCHED_CORE}, eperm, eperm},
		{"setsockopt", [6]uint64{1: unix.IPPROTO_IPV6, 2: unix.IPV6_V6ONLY}, allow, allow},
		{"setsockopt", [6]uint64{1: unix.SOL_SOCKET, 2: unix.SO_LINGER}, allow, allow},
		{"setsockopt", [6]uint64{1: unix.IPPROTO_IPV6, 2: 32}, eperm, eperm}, // labels of flows
		{"setsockopt", [6]uint64{1: 1<<32 | unix.IPPROTO_IPV6, 2: 1<<32 | 32}, eperm, eperm},
		{"ioctl", [6]uint64{1: unix.TCGETS}, allow, allow},
		{"ioctl", [6]uint64{1: unix.TIOCINQ}, allow, allow},
	}
	for _, high := range []uint64{0, 1 << 32, 1 << 63} { // the kernel does not look at the upper half, and so it helps nobody
		rows = append(rows, row{"ioctl", [6]uint64{1: high | unix.TIOCSTI}, eperm, eperm}, row{"ioctl", [6]uint64{1: high | 0x541c}, eperm, eperm})
		for _, flag := range []uint64{unix.CLONE_NEWNS, unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWCGROUP} {
			rows = append(rows, row{"clone", [6]uint64{high | flag | uint64(syscall.SIGCHLD)}, eperm, eperm})
		}
	}
	for _, family := range []uint64{unix.AF_INET, unix.AF_INET6} {
		for _, kind := range []uint64{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC} {
			for _, protocol := range []uint64{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP} {
				rows = append(rows, row{"socket", [6]uint64{family, kind, protocol}, allow, allow})
			}
			for _, protocol := range []uint64{unix.IPPROTO_MPTCP, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE, unix.IPPROTO_RAW, 1<<32 | unix.IPPROTO_MPTCP} {
				rows = append(rows, row{"socket", [6]uint64{family, kind, protocol}, eperm, eperm})
			}
		}
		for _, kind := range []uint64{unix.SOCK_SEQPACKET, unix.SOCK_DCCP, unix.SOCK_RDM, unix.SOCK_PACKET | unix.SOCK_CLOEXEC} {
			rows = append(rows, row{"socket", [6]uint64{family, kind, 0}, eperm, eperm})
		}
	}
	for family := range uint64(64) {
		if family != unix.AF_UNIX && family != unix.AF_INET && family != unix.AF_INET6 && family != unix.AF_NETLINK {
			rows = append(rows, row{"socket", [6]uint64{family, unix.SOCK_RAW, 0}, eperm, eperm})
		}
		if family != unix.AF_UNIX {
			rows = append(rows, row{"socketpair", [6]uint64{family, unix.SOCK_STREAM, 0}, eperm, eperm})
		}
	}
	for protocol := range uint64(32) { // NETLINK_ROUTE is 0
		verdict := map[bool]uint32{true: allow, false: eperm}[protocol == unix.NETLINK_ROUTE]
		rows = append(rows, row{"socket", [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, protocol}, verdict, verdict})
	}
	for _, name := range slices.Concat(everyRequest, []string{"bpf", "keyctl", "add_key", "request_key", "mount_setattr", "open_tree", "open_tree_attr",
		"fsopen", "fspick", "fsmount", "fsconfig", "perf_event_open", "userfaultfd", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
		"reboot", "swapon", "swapoff", "syslog", "quotactl", "quotactl_fd", "open_by_handle_at", "name_to_handle_at", "fanotify_init", "fanotify_mark",
		"io_uring_setup", "io_uring_enter", "io_uring_register", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "nfsservctl", "lookup_dcookie",
		"memfd_secret", "mq_open", "mq_unlink", "kcmp", "pidfd_getfd", "process_madvise", "process_mrelease", "vmsplice", "remap_file_pages", "cachestat", "modify_ldt", "ioperm",
		"iopl", "vhangup", "setdomainname", "move_pages", "migrate_pages", "uselib", "ustat", "sysfs", "lsm_set_self_attr", "set_mempolicy_home_node"}) {
		rows = append(rows, row{name, [6]uint64{}, eperm, eperm})
	}
	for _, info := range architectures {
		zygote, instance, installer := stack(t, info, core.RoleZygote), stack(t, info, core.RoleInstance), stack(t, info, core.RoleInstaller)
		for _, r := range rows {
			number, found := info.SyscallNames[r.name]
			if !found {
				continue // some are of one architecture only
			}
			c := call{Number: uint32(number), Arch: uint32(info.ID), Args: r.args}
			for who, got := range map[string]uint32{"zygote": together(t, c, zygote...), "instance": together(t, c, instance...), "installer": together(t, c, installer...)} {
				want := r.instance
				if who == "zygote" {
					want = r.zygote
				}
				if got != want {
					t.Errorf("%s: %s %x: %#x for a %s, not %#x", info.Name, r.name, r.args, got, who, want)
				}
			}
		}
	}
}

// What a newer kernel has is absent, not forbidden: then programs do without it.
func TestUnknownCallsAreAbsent(t *testing.T) {
	for _, info := range architectures {
		last := slices.Max(slices.Collect(maps.Keys(info.SyscallNumbers)))
		for _, number := range []int{last + 1, last + 2, last + 1000, 0x40000000, 0x40000000 + 56} { // the last two are x32
			for _, role := range []core.Role{core.RoleZygote, core.RoleInstance, core.RoleInstaller} {
				c := call{Number: uint32(number), Arch: uint32(info.ID)}
				if got := together(t, c, stack(t, info, role)...); got != enosys {
					t.Errorf("%s: call %d of a %s: %#x", info.Name, number, role, got)
				}
			}
		}
	}
}

func TestOtherArchitecturesAreDenied(t *testing.T) {
	for _, info := range architectures {
		for _, role := range []core.Role{core.RoleZygote, core.RoleInstance, core.RoleInstaller} {
			filters := stack(t, info, role)
			for number := range uint32(500) {
				for what, other := range map[string]uint32{"i386": unix.AUDIT_ARCH_I386, "arm": unix.AUDIT_ARCH_ARM, "s390x": unix.AUDIT_ARCH_S390X} {
					if got := together(t, call{Number: number, Arch: other}, filters...); got != eperm {
						t.Fatalf("%s call %d: %#x", what, number, got)
					}
				}
			}
		}
	}
}

// The kernel takes 4096 instructions of an unprivileged process. An install takes time for each, and for each
// step to the verdict of each call.
func TestFilterSizes(t *testing.T) {
	for _, info := range architectures {
		for role, most := range map[core.Role]struct{ size, steps int }{
			core.RoleZygote: {320, 13}, core.RoleInstance: {42, 7}, core.RoleInstaller: {320, 13},
		} {
			filters := stack(t, info, role)
			filter := filters[len(filters)-1]
			if size := len(filter) / 8; size > most.size {
				t.Errorf("%s: the filter that a %s installs has %d instructions, more than %d", info.Name, role, size, most.size)
			}
			for name, number := range info.SyscallNames {
				if _, steps := run(t, filter, call{Number: uint32(number), Arch: uint32(info.ID)}); steps > most.steps && len(conditional(t, role, name)) == 0 {
					t.Errorf("%s: the verdict about %s of a %s takes %d steps, more than %d", info.Name, name, role, steps, most.steps)
				}
			}
		}
	}
}

// conditional returns the conditions of a call.
func conditional(t *testing.T, role core.Role, name string) [][]condition {
	t.Helper()
	own, err := rulesFor(role, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(own[name].ways, func(way []condition) bool { return len(way) == 0 })
}
