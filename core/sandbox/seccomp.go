package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"syscall"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// A seccomp filter is inherited, and every filter that a process has is asked at each system call. An instance has its zygote's
// already; what it installs itself is only the difference to its own profile. That is a twentieth of the whole, and the kernel
// takes 0.25 ms to check and compile a whole one.

// assembleFilter turns the seccomp part of a Spec into the struct sock_filter array that a process hands to the kernel.
// inherited is the profile of the filter that the process has already, nil for none. System calls that this machine's
// architecture does not have are left out: they cannot be made.
func assembleFilter(profile, inherited *specs.LinuxSeccomp) ([]byte, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	rules, before := rulesByName(profile), map[string][]rule{}
	if inherited != nil {
		if inherited.DefaultAction != profile.DefaultAction {
			return nil, errors.New("a seccomp filter cannot be the difference of profiles with different default actions")
		}
		before = rulesByName(inherited)
	}
	policy := seccomp.Policy{}
	if policy.DefaultAction, err = action(profile.DefaultAction, profile.DefaultErrnoRet); err != nil {
		return nil, err
	}
	rest := seccomp.SyscallGroup{Action: policy.DefaultAction}
	for _, name := range slices.Sorted(maps.Keys(info.SyscallNames)) {
		if inherited != nil && reflect.DeepEqual(rules[name], before[name]) {
			continue
		}
		groups, complete, err := groupsOf(name, rules[name])
		if err != nil {
			return nil, err
		}
		policy.Syscalls = append(policy.Syscalls, groups...)
		if !complete {
			rest.Names = append(rest.Names, name)
		}
	}
	policy.Syscalls = merge(policy.Syscalls)
	if inherited != nil {
		policy.Syscalls = append(policy.Syscalls, rest)
		policy.DefaultAction = seccomp.ActionAllow // the filter before has the last word
	}
	instructions, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, err
	}
	filter := make([]byte, 0, 8*len(raw))
	for _, i := range raw {
		filter = binary.NativeEndian.AppendUint16(filter, i.Op)
		filter = append(filter, i.Jt, i.Jf)
		filter = binary.NativeEndian.AppendUint32(filter, i.K)
	}
	return filter, nil
}

// rule is what a profile says of one system call.
type rule struct {
	action specs.LinuxSeccompAction
	errno  *uint
	args   []specs.LinuxSeccompArg
}

func rulesByName(profile *specs.LinuxSeccomp) map[string][]rule {
	out := map[string][]rule{}
	for _, call := range profile.Syscalls {
		for _, name := range call.Names {
			out[name] = append(out[name], rule{call.Action, call.ErrnoRet, call.Args})
		}
	}
	// A rule without conditions makes the others of its call void.
	for name, rules := range out {
		if i := slices.IndexFunc(rules, func(r rule) bool { return len(r.args) == 0 }); i >= 0 {
			out[name] = rules[i : i+1]
		}
	}
	return out
}

// groupsOf returns the rules as the assembler has them, and whether they decide every use of the call.
func groupsOf(name string, rules []rule) (groups []seccomp.SyscallGroup, complete bool, err error) {
	for _, r := range rules {
		group := seccomp.SyscallGroup{}
		if group.Action, err = action(r.action, r.errno); err != nil {
			return nil, false, err
		}
		if len(r.args) == 0 {
			group.Names = []string{name}
			complete = true
		} else {
			conditions, err := conditions(r.args)
			if err != nil {
				return nil, false, err
			}
			group.NamesWithCondtions = []seccomp.NameWithConditions{{Name: name, Conditions: conditions}}
		}
		groups = append(groups, group)
	}
	return groups, complete, nil
}

// merge joins groups with the same action. A call's rules exclude each other, so their order says nothing.
func merge(groups []seccomp.SyscallGroup) []seccomp.SyscallGroup {
	var out []seccomp.SyscallGroup
	for _, g := range groups {
		i := slices.IndexFunc(out, func(o seccomp.SyscallGroup) bool { return o.Action == g.Action })
		if i < 0 {
			out = append(out, g)
			continue
		}
		out[i].Names = append(out[i].Names, g.Names...)
		out[i].NamesWithCondtions = append(out[i].NamesWithCondtions, g.NamesWithCondtions...)
	}
	return out
}

func action(a specs.LinuxSeccompAction, errno *uint) (seccomp.Action, error) {
	switch a {
	case specs.ActAllow:
		return seccomp.ActionAllow, nil
	case specs.ActErrno:
		if errno == nil || *errno == uint(syscall.EPERM) {
			return seccomp.ActionErrno, nil // the library's own reading, and the only one it takes as a default
		}
		return seccomp.ActionErrno | seccomp.Action(*errno), nil
	}
	return 0, fmt.Errorf("seccomp action %s is not supported", a)
}

func conditions(args []specs.LinuxSeccompArg) (seccomp.ArgumentConditions, error) {
	operations := map[specs.LinuxSeccompOperator]seccomp.Operation{
		specs.OpNotEqual: seccomp.NotEqual, specs.OpLessThan: seccomp.LessThan, specs.OpLessEqual: seccomp.LessOrEqual,
		specs.OpEqualTo: seccomp.Equal, specs.OpGreaterEqual: seccomp.GreaterOrEqual, specs.OpGreaterThan: seccomp.GreaterThan,
		specs.OpMaskedEqual: seccomp.BitsNotSet,
	}
	var out seccomp.ArgumentConditions
	for _, arg := range args {
		operation, ok := operations[arg.Op]
		if !ok || arg.Op == specs.OpMaskedEqual && arg.ValueTwo != 0 {
			return nil, errors.New("seccomp condition with operator " + string(arg.Op) + " is not supported")
		}
		out = append(out, seccomp.Condition{Argument: uint32(arg.Index), Operation: operation, Value: arg.Value})
	}
	return out, nil
}
