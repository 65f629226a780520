package sandbox

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// A name that is no system call's would allow nothing, and nobody would see it.
func TestPolicyNamesSystemCalls(t *testing.T) {
	policy, err := parsePolicy(policyText)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(policy)), []string{ofZygote, ofConnected, everyProcess, onRequest}; !slices.Equal(got, want) {
		t.Errorf("sections %q, not %q", got, want)
	}
	for section, rules := range policy {
		for name := range rules {
			_, amd64 := arch.X86_64.SyscallNames[name]
			_, arm64 := arch.AARCH64.SyscallNames[name]
			if !amd64 && !arm64 {
				t.Errorf("%s: no architecture has a system call %s", section, name)
			}
			again := section == ofConnected || section == ofZygote && name == "seccomp"
			if _, twice := policy[everyProcess][name]; section != everyProcess && twice != again {
				t.Errorf("%s is said of every process: %v, and again of %s: %v", name, twice, section, again)
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(policy[onRequest])), slices.Sorted(slices.Values(everyRequest)); !slices.Equal(got, want) {
		t.Errorf("drivers can ask for %q, not %q", got, want)
	}
}

// One call can have two names: what is newfstatat on amd64 is fstatat on arm64. So each name that only one
// architecture has is in the policy, or among those that are refused.
func TestPolicyNamesCallsOfEachArchitecture(t *testing.T) {
	policy, err := parsePolicy(policyText)
	if err != nil {
		t.Fatal(err)
	}
	for own, other := range map[*arch.Info]*arch.Info{arch.X86_64: arch.AARCH64, arch.AARCH64: arch.X86_64} {
		var refused []string
		for name := range own.SyscallNames {
			_, both := other.SyscallNames[name]
			if !both && len(policy[everyProcess][name].ways) == 0 && !strings.HasSuffix(name, "time64") { // those are of 32 bits
				refused = append(refused, name)
			}
		}
		slices.Sort(refused)
		want := "_sysctl afs_syscall create_module epoll_ctl_old epoll_wait_old get_kernel_syms get_thread_area getpmsg ioperm iopl modify_ldt " +
			"putpmsg query_module security set_thread_area sysfs tuxcall uselib ustat vserver"
		if own == arch.AARCH64 {
			want = "arch_specific_syscall"
		}
		if got := strings.Join(refused, " "); got != want {
			t.Errorf("of the calls that only %s has are refused:\n%s\nand not\n%s", own.Name, got, want)
		}
	}
}

func TestBadPolicies(t *testing.T) {
	for _, r := range []struct{ text, says string }{
		{"read\nread", "line 3: system call read is there twice"},
		{"read\nread: arg0 in 1", "there twice"},
		{"clone: return ENOSYS\nclone: arg0 in 1", "there twice"},
		{"clone: return EODD", `unknown error "EODD"`},
		{"clone: arg6 in 1", "is not about arg0 to arg5"},
		{"clone: flags in 1", "is not about arg0 to arg5"},
		{"clone: arg0 is 1", "has no operator, or no value"},
		{"clone: arg0 in", "has no operator, or no value"},
		{"clone: arg0 in CLONE_ODD", `unknown value "CLONE_ODD"`},
		{"clone: arg0 in 0x100000000", "unknown value"},
		{"clone: arg0 in 1 and 2", "has no operator, or no value"},
		{"clone: arg0 in 1\nclone: arg0 lacks 2", ""},
	} {
		_, err := parsePolicy("[every process]\n" + r.text)
		if r.says == "" && err != nil || r.says != "" && (err == nil || !strings.Contains(err.Error(), r.says)) {
			t.Errorf("%q: %v", r.text, err)
		}
	}
}

func TestCallsOnRequest(t *testing.T) {
	for _, info := range architectures {
		for _, name := range everyRequest {
			c := call{Number: uint32(info.SyscallNames[name]), Arch: uint32(info.ID)}
			for _, role := range []core.Role{core.RoleZygote, core.RoleInstance, core.RoleInstaller} {
				if got := together(t, c, stack(t, info, role)...); got != eperm {
					t.Errorf("%s: %s of a %s that did not ask for it: %#x", info.Name, name, role, got)
				}
				if got := together(t, c, stack(t, info, role, "read", name)...); got != allow {
					t.Errorf("%s: %s of a %s that asked for it: %#x", info.Name, name, role, got)
				}
			}
		}
	}
	for _, name := range []string{"mount", "bpf", "no_such_call", ""} {
		_, err := filterFor(arch.X86_64, core.RoleInstance, false, []string{name})
		coretest.WantError(t, err, core.KindUnsupported, core.FaultDriver, "asks for the system call", "ptrace")
	}
}
