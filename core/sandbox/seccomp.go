package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A seccomp filter is inherited, and every filter that a process has is asked at each system call. An instance has its zygote's
// already; what it installs itself is only the difference to its own profile. That is a twentieth of the whole, and the kernel
// takes 0.25 ms to check and compile a whole one.
//
// A filter is a block for each call that has rules with conditions, and then a search in the numbers of all others. A block
// always ends in a verdict: a condition loads an argument where the number of the call was, and nothing may look for the
// number after that. (The assembler of go-seccomp-bpf v1.6.0 does, and lets through clone with a new user namespace.)

// Where struct seccomp_data has its parts.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// assembleFilter turns the seccomp part of a Spec into the struct sock_filter array that a process hands to the kernel.
// inherited is the profile of the filter that the process has already, nil for none. System calls that this machine's
// architecture does not have are left out: they cannot be made.
func assembleFilter(profile, inherited *specs.LinuxSeccomp) ([]byte, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	rest, err := verdict(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	rules, before := rulesByName(profile), map[string][]rule{}
	others := rest // of the calls that no rule names
	if inherited != nil {
		if inherited.DefaultAction != profile.DefaultAction {
			return nil, errors.New("a seccomp filter cannot be the difference of profiles with different default actions")
		}
		before, others = rulesByName(inherited), unix.SECCOMP_RET_ALLOW // the filter before has the last word
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: dataArch, Size: 4}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1}, bpf.RetConstant{Val: rest},
		bpf.LoadAbsolute{Off: dataNumber, Size: 4},
	}
	if info.ID == arch.X86_64.ID {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: uint32(arch.X32.SeccompMask), SkipFalse: 1}, bpf.RetConstant{Val: rest})
	}
	plain := map[uint32]uint32{}
	for _, name := range slices.Sorted(maps.Keys(info.SyscallNames)) {
		number := uint32(info.SyscallNames[name])
		switch calls := rules[name]; {
		case inherited != nil && reflect.DeepEqual(calls, before[name]):
		case len(calls) == 0:
			plain[number] = rest
		case len(calls[0].args) == 0:
			if plain[number], err = verdict(calls[0].action, calls[0].errno); err != nil {
				return nil, err
			}
		default:
			code, err := block(number, calls, rest)
			if err != nil {
				return nil, fmt.Errorf("system call %s: %w", name, err)
			}
			program = append(program, code...)
		}
	}
	search, err := searchFor(ranges(plain, others))
	if err != nil {
		return nil, err
	}
	return encode(append(program, search...))
}

func encode(program []bpf.Instruction) ([]byte, error) {
	raw, err := bpf.Assemble(program)
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

// verdict is what a filter returns for an action.
func verdict(action specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	switch {
	case action == specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case action == specs.ActErrno && errno == nil:
		return unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), nil
	case action == specs.ActErrno && *errno < 4096:
		return unix.SECCOMP_RET_ERRNO | uint32(*errno), nil
	}
	return 0, fmt.Errorf("seccomp action %s is not supported", action)
}

// block decides one call by its rules, each with conditions that must all hold, and otherwise as rest says.
func block(number uint32, rules []rule, rest uint32) ([]bpf.Instruction, error) {
	var code []bpf.Instruction
	for _, r := range rules {
		action, err := verdict(r.action, r.errno)
		if err != nil {
			return nil, err
		}
		one := []bpf.Instruction{bpf.RetConstant{Val: action}}
		for _, arg := range slices.Backward(r.args) {
			check, err := condition(arg, len(one))
			if err != nil {
				return nil, err
			}
			one = append(check, one...)
		}
		code = append(code, one...)
	}
	code = append(code, bpf.RetConstant{Val: rest})
	if len(code) > 255 {
		return nil, errors.New("too many seccomp conditions")
	}
	return append([]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpEqual, Val: number, SkipFalse: uint8(len(code))}}, code...), nil
}

// condition continues after itself when it holds, and otherwise skips as many instructions more.
func condition(arg specs.LinuxSeccompArg, skip int) ([]bpf.Instruction, error) {
	if arg.Index > 5 || skip > 200 {
		return nil, errors.New("a seccomp condition on an argument that cannot be, or too many of them")
	}
	high, low := uint32(arg.Value>>32), uint32(arg.Value)
	offset := dataArgs + 8*uint32(arg.Index)
	loadLow, loadHigh := bpf.LoadAbsolute{Off: offset, Size: 4}, bpf.LoadAbsolute{Off: offset + 4, Size: 4}
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		loadLow, loadHigh = loadHigh, loadLow
	}
	fail := func(more int) uint8 { return uint8(skip + more) }
	switch arg.Op {
	case specs.OpEqualTo:
		return []bpf.Instruction{loadHigh, bpf.JumpIf{Cond: bpf.JumpEqual, Val: high, SkipFalse: fail(2)},
			loadLow, bpf.JumpIf{Cond: bpf.JumpEqual, Val: low, SkipFalse: fail(0)}}, nil
	case specs.OpNotEqual:
		return []bpf.Instruction{loadHigh, bpf.JumpIf{Cond: bpf.JumpEqual, Val: high, SkipFalse: 2},
			loadLow, bpf.JumpIf{Cond: bpf.JumpEqual, Val: low, SkipTrue: fail(0)}}, nil
	case specs.OpMaskedEqual:
		return []bpf.Instruction{loadHigh, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: high},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(arg.ValueTwo >> 32), SkipFalse: fail(3)},
			loadLow, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: low},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(arg.ValueTwo), SkipFalse: fail(0)}}, nil
	case specs.OpGreaterThan, specs.OpGreaterEqual:
		last := bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: low, SkipFalse: fail(0)}
		if arg.Op == specs.OpGreaterEqual {
			last.Cond = bpf.JumpGreaterOrEqual
		}
		return []bpf.Instruction{loadHigh, bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: high, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: high, SkipFalse: fail(2)}, loadLow, last}, nil
	case specs.OpLessThan, specs.OpLessEqual:
		last := bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: low, SkipTrue: fail(0)}
		if arg.Op == specs.OpLessEqual {
			last.Cond = bpf.JumpGreaterThan
		}
		return []bpf.Instruction{loadHigh, bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: high, SkipTrue: fail(3)},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: high, SkipFalse: 2}, loadLow, last}, nil
	}
	return nil, fmt.Errorf("seccomp condition with operator %s is not supported", arg.Op)
}

// span is the numbers from its first on, up to the next span's, that have one verdict.
type span struct{ first, verdict uint32 }

func ranges(plain map[uint32]uint32, others uint32) []span {
	out := []span{{0, others}}
	next := uint32(0)
	add := func(first, verdict uint32) {
		switch last := &out[len(out)-1]; {
		case last.first == first:
			last.verdict = verdict
		case last.verdict != verdict:
			out = append(out, span{first, verdict})
		}
	}
	for _, number := range slices.Sorted(maps.Keys(plain)) {
		if number > next {
			add(next, others)
		}
		add(number, plain[number])
		next = number + 1
	}
	add(next, others)
	return out
}

// searchFor finds the span of a number by halves.
func searchFor(spans []span) ([]bpf.Instruction, error) {
	if len(spans) == 1 {
		return []bpf.Instruction{bpf.RetConstant{Val: spans[0].verdict}}, nil
	}
	half := len(spans) / 2
	below, err := searchFor(spans[:half])
	if err != nil {
		return nil, err
	}
	above, err := searchFor(spans[half:])
	if err != nil {
		return nil, err
	}
	if len(below) > 255 {
		return nil, errors.New("a seccomp profile with too many rules")
	}
	return slices.Concat([]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[half].first, SkipTrue: uint8(len(below))}}, below, above), nil
}
