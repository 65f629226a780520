package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// The numbers of enter.h.
const (
	kindUser = iota + 1
	kindGo
	kindHello
	kindOrders
	kindEntered
	kindFailed
	kindNetwork
)

const (
	networkJoin  = 1
	networkMake  = 2
	networkRelay = 3 // make one, and wait for the relay in it
	maxRlimits   = 16
	maxOrders    = 1 << 16
)

// note is struct ps_note.
type note struct {
	Kind uint32
	Err  int32
	Step [56]byte
}

func (n note) step() string {
	s, _, _ := strings.Cut(string(n.Step[:]), "\x00")
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?' // whoever sends it may have been taken over
		}
		return r
	}, s)
}

func parseNote(packet []byte) (note, error) {
	var n note
	_, err := binary.Decode(packet, binary.NativeEndian, &n)
	return n, err
}

func (n note) bytes() []byte {
	b, _ := binary.Append(nil, binary.NativeEndian, n)
	return b
}

type rlimit struct {
	Resource, _ uint32
	Soft, Hard  uint64
}

// orders is struct ps_orders.
type orders struct {
	Kind, Unshare   uint32
	UID, GID        uint32
	Zygote, Network uint32
	Endpoint        uint32
	OOMScoreAdj     int32
	Scratch         uint64
	Capabilities    uint64
	Rlimits, Masked uint32
	Filter          uint32
	Accounts        uint32
	Rlimit          [maxRlimits]rlimit
	Hostname        [64]byte
	Directory       [64]byte
	Terminals, _    uint32
}

var unshareFlags = map[specs.LinuxNamespaceType]uint32{
	specs.CgroupNamespace: unix.CLONE_NEWCGROUP,
	// Not by this flag: a process at the gate has the first five; the network comes with the orders.
	specs.UserNamespace: 0, specs.PIDNamespace: 0, specs.MountNamespace: 0, specs.IPCNamespace: 0, specs.UTSNamespace: 0,
	specs.NetworkNamespace: 0,
}

// networkOffset is where a packet of orders has its Network.
const networkOffset = 20

var capabilityBits = map[string]int{"CAP_SETGID": unix.CAP_SETGID, "CAP_SETUID": unix.CAP_SETUID, "CAP_SETPCAP": unix.CAP_SETPCAP,
	"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN}

var rlimitNumbers = map[string]uint32{"RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE}

// newOrders turns a Spec into the packet that makes a process carry it out on itself.
func newOrders(spec *specs.Spec, filter []byte, role core.Role) ([]byte, error) {
	o := orders{
		Kind: kindOrders, UID: spec.Process.User.UID, GID: spec.Process.User.GID,
		OOMScoreAdj: int32(*spec.Process.OOMScoreAdj), Filter: uint32(len(filter)),
	}
	for _, ns := range spec.Linux.Namespaces {
		flag, ok := unshareFlags[ns.Type]
		if !ok {
			return nil, fmt.Errorf("namespace %q is not supported", ns.Type)
		}
		o.Unshare |= flag
		if ns.Type == specs.NetworkNamespace {
			o.Network = networkMake
		}
	}
	for _, name := range spec.Process.Capabilities.Effective {
		bit, ok := capabilityBits[name]
		if !ok {
			return nil, fmt.Errorf("capability %s is not supported", name)
		}
		o.Capabilities |= 1 << bit
	}
	switch role {
	case core.RoleZygote:
		o.Zygote = 1
	case core.RoleInstance:
		o.Endpoint = 1
	}
	copy(o.Hostname[:63], spec.Hostname)
	copy(o.Directory[:63], spec.Process.Cwd)
	for _, r := range spec.Process.Rlimits {
		number, ok := rlimitNumbers[r.Type]
		if !ok || o.Rlimits == maxRlimits {
			return nil, fmt.Errorf("rlimit %s is not supported", r.Type)
		}
		o.Rlimit[o.Rlimits] = rlimit{Resource: number, Soft: r.Soft, Hard: r.Hard}
		o.Rlimits++
	}
	var accounts string
	for _, m := range spec.Mounts {
		switch m.Destination {
		case core.ScratchDir:
			size, err := sizeOf(m)
			if err != nil {
				return nil, err
			}
			o.Scratch = uint64(size)
		case terminalsDir:
			o.Terminals = 1
		case accountsFile:
			accounts = accountsOf(spec.Process.User)
		}
	}
	o.Accounts = uint32(len(accounts))
	var masked bytes.Buffer
	for _, p := range spec.Linux.MaskedPaths {
		masked.WriteString(p)
		masked.WriteByte(0)
	}
	o.Masked = uint32(masked.Len())
	packet, err := binary.Append(nil, binary.NativeEndian, o)
	if err != nil {
		return nil, err
	}
	packet = append(append(append(packet, masked.Bytes()...), filter...), accounts...)
	if len(packet) > maxOrders {
		return nil, fmt.Errorf("orders of %d bytes; at most %d are possible", len(packet), maxOrders)
	}
	return packet, nil
}

// sizeOf returns how large a tmpfs of a Spec may become.
func sizeOf(m specs.Mount) (size int64, err error) {
	for _, option := range m.Options {
		if text, ok := strings.CutPrefix(option, "size="); ok {
			if size, err = strconv.ParseInt(text, 10, 64); err != nil {
				return 0, fmt.Errorf("mount %s: %w", m.Destination, err)
			}
		}
	}
	return size, nil
}
