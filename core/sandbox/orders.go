package sandbox

import (
	"encoding/binary"
	"fmt"
	"slices"
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
	kindFork
)

const (
	networkJoin  = 1
	networkMake  = 2
	networkRelay = 3 // make one, and wait for the relay in it
	coreEndpoint = 1 // the way to core is an endpoint
	coreForks    = 2 // it is where core asks for forks
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
	Kind, Unshare    uint32
	UID, GID         uint32
	Network, Core    uint32
	OOMScoreAdj      int32
	Terminals        uint32
	Scratch          uint64
	Rlimits, Masked  uint32
	Filter, Writable uint32
	Rlimit           [maxRlimits]rlimit
	Hostname         [64]byte
	Directory        [64]byte
	Landlock         uint32
	Listener         uint32
	Pages            uint32
	_                uint32
}

var unshareFlags = map[specs.LinuxNamespaceType]uint32{
	specs.CgroupNamespace: unix.CLONE_NEWCGROUP,
	// Not by this flag: a process at the gate has the first five; the network comes with the orders.
	specs.UserNamespace: 0, specs.PIDNamespace: 0, specs.MountNamespace: 0, specs.IPCNamespace: 0, specs.UTSNamespace: 0,
	specs.NetworkNamespace: 0,
}

// Where a packet of orders has its Network and Core.
const (
	networkOffset = 16
	coreOffset    = 20
)

var rlimitNumbers = map[string]uint32{"RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_NICE": unix.RLIMIT_NICE}

// newOrders turns a Spec into the packet that makes a process carry it out on itself. What forks into further
// sandboxes is not under Landlock, which would let none of its forks mount.
func newOrders(spec *specs.Spec, filter []byte, role core.Role, landlock uint32, listener bool) ([]byte, error) {
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
	if len(spec.Process.Capabilities.Effective) > 0 {
		return nil, fmt.Errorf("capability %s is not supported: no process of a sandbox has any", spec.Process.Capabilities.Effective[0])
	}
	if role == core.RoleInstance {
		o.Core = coreEndpoint
	}
	if listener {
		o.Listener = 1
	}
	copy(o.Hostname[:63], spec.Hostname)
	copy(o.Directory[:63], spec.Process.Cwd)
	if err := o.limit(spec.Process.Rlimits); err != nil {
		return nil, err
	}
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
		}
	}
	var writable []string
	if role != core.RoleZygote && landlock > 0 {
		o.Landlock = landlock
		writable = writableOf(spec)
	}
	hidden, open := terminated(spec.Linux.MaskedPaths), terminated(writable)
	o.Masked, o.Writable = uint32(len(hidden)), uint32(len(open))
	packet, err := binary.Append(nil, binary.NativeEndian, o)
	if err != nil {
		return nil, err
	}
	packet = slices.Concat(packet, hidden, filter, open)
	if len(packet) > maxOrders {
		return nil, fmt.Errorf("orders of %d bytes; at most %d are possible", len(packet), maxOrders)
	}
	return packet, nil
}

// limit adds the limits of a process.
func (o *orders) limit(limits []specs.POSIXRlimit) error {
	for _, r := range limits {
		number, ok := rlimitNumbers[r.Type]
		if !ok || o.Rlimits == maxRlimits {
			return fmt.Errorf("rlimit %s is not supported", r.Type)
		}
		o.Rlimit[o.Rlimits] = rlimit{Resource: number, Soft: r.Soft, Hard: r.Hard}
		o.Rlimits++
	}
	return nil
}

// writableOf returns the places of a sandbox that its process may write to.
func writableOf(spec *specs.Spec) (places []string) {
	for _, m := range spec.Mounts {
		if slices.Contains(m.Options, "rw") || m.Destination == core.ScratchDir {
			places = append(places, m.Destination)
		}
	}
	return places
}

// terminated returns the paths as C has them, each with a zero behind it.
func terminated(paths []string) (packed []byte) {
	for _, path := range paths {
		packed = append(append(packed, path...), 0)
	}
	return packed
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
