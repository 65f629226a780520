package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// A seccomp filter is inherited, and every filter that a process has is asked at each system call. An
// instance has its zygote's already; what it installs itself is only the difference to its own rules.
//
// A filter is a search by halves in the numbers of all calls. At an install the kernel follows a filter for
// each number once, to know those that it always allows and need not ask about again, so what an install
// takes grows with the steps to a verdict. A call with conditions has its own block at the end of its steps.
// A block always ends in a verdict: a condition loads an argument where the number of the call was, and
// nothing may look for the number after that. (The assembler of go-seccomp-bpf v1.6.0 does, and lets through
// clone with a new user namespace.)

// Where struct seccomp_data has its parts, on a machine whose words begin with the lower half, as amd64 and
// arm64 do.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

const (
	verdictAllow   = unix.SECCOMP_RET_ALLOW
	verdictRefused = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	verdictUnknown = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	verdictAsk     = unix.SECCOMP_RET_USER_NOTIF
)

// filters are those that were assembled, for each role and each list of calls that drivers ask for.
type filters struct {
	mu    sync.Mutex
	known map[string][]byte
}

// of returns the filter that a process of the role installs, connected or not, of a runtime whose driver asks
// for some calls.
func (f *filters) of(role core.Role, connected bool, asked []string) ([]byte, error) {
	key := fmt.Sprint(role, connected, asked)
	f.mu.Lock()
	defer f.mu.Unlock()
	if filter, found := f.known[key]; found {
		return filter, nil
	}
	info, err := arch.GetInfo("") // the architecture that this program was built for
	if err != nil {
		return nil, err
	}
	filter, err := filterFor(info, role, connected, asked)
	if err == nil {
		f.known[key] = filter
	}
	return filter, err
}

func filterFor(info *arch.Info, role core.Role, connected bool, asked []string) ([]byte, error) {
	own, err := rulesFor(role, connected, asked)
	if err != nil {
		return nil, err
	}
	var inherited rules
	if role == core.RoleInstance {
		if inherited, err = rulesFor(core.RoleZygote, false, asked); err != nil {
			return nil, err
		}
	}
	return assembleFilter(info, own, inherited)
}

// assembleFilter turns rules into the struct sock_filter array that a process hands to the kernel. inherited
// are the rules of the filter that the process has already, nil for none. System calls that the architecture
// does not have are left out: they cannot be made.
func assembleFilter(info *arch.Info, own, inherited rules) ([]byte, error) {
	leaves := map[uint32][]bpf.Instruction{} // by number; of all others others
	others := leaf(verdictUnknown)
	if inherited != nil {
		others = leaf(verdictAllow) // the filter before has the last word
	}
	for name, number := range info.SyscallNames {
		if inherited != nil && reflect.DeepEqual(own[name], inherited[name]) {
			continue
		}
		code, err := leafOf(own[name])
		if err != nil {
			return nil, fmt.Errorf("system call %s: %w", name, err)
		}
		leaves[uint32(number)] = code
	}
	program := slices.Concat([]bpf.Instruction{bpf.LoadAbsolute{Off: dataNumber, Size: 4}}, searchFor(spansOf(leaves, others)))
	if inherited == nil { // else the filter before refuses the calls of other architectures
		program = slices.Concat([]bpf.Instruction{bpf.LoadAbsolute{Off: dataArch, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1}, bpf.RetConstant{Val: verdictRefused}}, program)
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, err
	}
	filter := make([]byte, 0, 8*len(raw))
	for _, i := range raw {
		filter = binary.LittleEndian.AppendUint16(filter, i.Op)
		filter = append(filter, i.Jt, i.Jf)
		filter = binary.LittleEndian.AppendUint32(filter, i.K)
	}
	return filter, nil
}

func leaf(v uint32) []bpf.Instruction { return []bpf.Instruction{bpf.RetConstant{Val: v}} }

// leafOf decides about one call.
func leafOf(r rule) (code []bpf.Instruction, err error) {
	switch {
	case r.errno != 0:
		return leaf(unix.SECCOMP_RET_ERRNO | uint32(r.errno)), nil
	case slices.ContainsFunc(r.ways, func(way []condition) bool { return len(way) == 0 }):
		return leaf(verdictAllow), nil
	}
	code = leaf(verdictRefused)
	for _, way := range slices.Backward(r.ways) {
		one := leaf(verdictAllow)
		for _, c := range r.asked {
			ask, err := check(c, leaf(verdictAsk))
			if err != nil {
				return nil, err
			}
			one = append(ask, one...)
		}
		for _, c := range slices.Backward(way) {
			if one, err = check(c, one); err != nil {
				return nil, err
			}
		}
		code = append(one, code...)
	}
	return code, nil
}

// check puts a condition before the code that is for when it holds, which is skipped when it does not.
func check(c condition, then []bpf.Instruction) ([]bpf.Instruction, error) {
	if len(c.values)+len(then) > 200 {
		return nil, errors.New("too many conditions")
	}
	code := []bpf.Instruction{bpf.LoadAbsolute{Off: dataArgs + 8*c.argument, Size: 4}}
	for i, value := range c.values {
		left := len(c.values) - 1 - i // conditions that follow this one
		jump := bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: uint8(left + len(then))}
		switch c.operator {
		case "lacks":
			jump.Cond = bpf.JumpBitsSet
		case "in":
			jump.SkipTrue = uint8(left)
			if left == 0 {
				jump.SkipFalse = uint8(len(then))
			}
		}
		code = append(code, jump)
	}
	return append(code, then...), nil
}

// span is the numbers from its first on, up to the next span's, about which the same code decides.
type span struct {
	first uint32
	leaf  []bpf.Instruction
}

func spansOf(leaves map[uint32][]bpf.Instruction, others []bpf.Instruction) []span {
	var out []span
	add := func(first uint32, leaf []bpf.Instruction) {
		if len(out) == 0 || !reflect.DeepEqual(out[len(out)-1].leaf, leaf) {
			out = append(out, span{first, leaf})
		}
	}
	next := uint32(0)
	for _, number := range slices.Sorted(maps.Keys(leaves)) {
		if number > next {
			add(next, others)
		}
		add(number, leaves[number])
		next = number + 1
	}
	add(next, others) // also the numbers of x32, which are above all others
	return out
}

// searchFor finds the span of a number by halves.
func searchFor(spans []span) []bpf.Instruction {
	if len(spans) == 1 {
		return spans[0].leaf
	}
	half := len(spans) / 2
	below, above := searchFor(spans[:half]), searchFor(spans[half:])
	jump := []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[half].first, SkipTrue: uint8(len(below))}}
	if len(below) > 255 { // farther than a condition reaches
		jump = []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[half].first, SkipFalse: 1}, bpf.Jump{Skip: uint32(len(below))}}
	}
	return slices.Concat(jump, below, above)
}
