package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// assembleFilter turns the seccomp part of a Spec into the struct sock_filter array that a process hands to the kernel.
// System calls that this machine's architecture does not have are left out: they cannot be made.
func assembleFilter(profile *specs.LinuxSeccomp) ([]byte, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	policy := seccomp.Policy{}
	if policy.DefaultAction, err = action(profile.DefaultAction, profile.DefaultErrnoRet); err != nil {
		return nil, err
	}
	unconditional := map[string]bool{}
	for _, rule := range profile.Syscalls {
		for _, name := range rule.Names {
			unconditional[name] = unconditional[name] || len(rule.Args) == 0
		}
	}
	for _, rule := range profile.Syscalls {
		group := seccomp.SyscallGroup{}
		if group.Action, err = action(rule.Action, rule.ErrnoRet); err != nil {
			return nil, err
		}
		conditions, err := conditions(rule.Args)
		if err != nil {
			return nil, err
		}
		for _, name := range rule.Names {
			if _, known := info.SyscallNames[name]; !known {
				continue
			}
			switch {
			case len(conditions) == 0:
				group.Names = append(group.Names, name)
			case !unconditional[name]:
				group.NamesWithCondtions = append(group.NamesWithCondtions, seccomp.NameWithConditions{Name: name, Conditions: conditions})
			}
		}
		policy.Syscalls = append(policy.Syscalls, group)
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
