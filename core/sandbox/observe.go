package sandbox

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Observation is everything that the processes of a sandbox hold at one moment, as the kernel shows it from
// outside.
type Observation struct {
	Processes map[int]Process // by their numbers on the host
	Network   Network
	Memory    core.Usage
}

// Process is one process of an Observation. Files has its open files by descriptor, and by address the memory
// that it would share with its forks, each as the kernel names it; for a socket the protocol, the addresses
// and the state.
type Process struct {
	Threads int
	Signals uint64 // that it handles: signal n is bit n-1
	Files   map[string]string
}

// Network counts what processes tried on the network of a sandbox. The network has no way out: all but
// Unreachable stayed inside.
type Network struct {
	Unreachable int64 // packets and connections for which there was no way
	Connections int64 // that were begun
	Datagrams   int64 // that were sent
}

// Observe looks at all processes of the sandbox except init. It takes milliseconds for a large sandbox.
func (s *Sandbox) Observe() (o Observation, err error) {
	if o.Network, err = networkOf(s.pid); err != nil {
		return o, err
	}
	s.mu.Lock()
	init := s.init
	s.mu.Unlock()
	others := func() []int {
		return slices.DeleteFunc(members(s.cgroup.dirs[0]), func(pid int) bool { return pid == init })
	}
	if o.Processes, err = processesOf(others); err != nil {
		return o, err
	}
	o.Memory, err = s.Usage()
	return o, err
}

// maxRounds bounds how often it is looked whom processes that ended while they were looked at may have left
// behind.
const maxRounds = 10

// processesOf looks at the processes with the numbers that list returns. One that has ended before it was
// looked at is left out, but may have forked another after the list was made, so there is another list then.
// What goes on like that for many rounds is a process without anything.
func processesOf(list func() []int) (map[int]Process, error) {
	found := map[int]Process{}
	for round := 1; ; round++ {
		again := 0
		for _, pid := range list() {
			if _, seen := found[pid]; seen {
				continue
			}
			p, err := processOf(pid)
			switch {
			case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH):
				again = pid
			case err != nil:
				return nil, err
			default:
				found[pid] = p
			}
		}
		switch {
		case again == 0:
			return found, nil
		case round == maxRounds:
			found[again] = Process{}
			return found, nil
		}
	}
}

func processOf(pid int) (p Process, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return p, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		switch name {
		case "Threads":
			p.Threads, err = strconv.Atoi(value)
		case "SigCgt":
			p.Signals, err = strconv.ParseUint(value, 16, 64)
		}
		if err != nil {
			return p, err
		}
	}
	if p.Files, err = filesOf(pid); err != nil {
		return p, err
	}
	return p, addSharedMemory(pid, p.Files)
}

// filesOf returns the open files of a process.
func filesOf(pid int) (map[string]string, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	sockets := socketsOf(pid)
	files := map[string]string{}
	for _, entry := range entries {
		name, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		switch kind, inode, _ := strings.Cut(strings.TrimSuffix(name, "]"), ":["); kind {
		case "socket":
			name = cmp.Or(sockets[inode], kind)
		case "pipe":
			name = kind
		}
		files[entry.Name()] = name
	}
	return files, nil
}

// addSharedMemory adds the mappings that a process can write to and that a fork of it would share.
func addSharedMemory(pid int, files map[string]string) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	for line := range strings.Lines(string(text)) {
		field := strings.Fields(line)
		if len(field) < 5 || len(field[1]) < 4 || field[1][1] != 'w' || field[1][3] != 's' {
			continue
		}
		address, _, _ := strings.Cut(field[0], "-")
		files[address] = strings.TrimSpace("shared memory " + strings.Join(field[5:], " "))
	}
	return err
}

var tcpStates = map[string]string{"01": "connected", "0A": "listening"}

// socketsOf names the sockets of the network namespace of a process, by their inodes. It leaves out those
// that cannot be read.
func socketsOf(pid int) map[string]string {
	names := map[string]string{}
	for _, protocol := range []string{"tcp", "tcp6", "udp", "udp6"} {
		eachLine(fmt.Sprintf("/proc/%d/net/%s", pid, protocol), func(field []string) {
			if len(field) < 10 {
				return
			}
			name := protocol + " " + address(field[1])
			if to := address(field[2]); to != "" && !strings.HasSuffix(to, ":0") {
				name += " to " + to
			}
			names[field[9]] = strings.TrimSpace(name + " " + tcpStates[field[3]])
		})
	}
	eachLine(fmt.Sprintf("/proc/%d/net/unix", pid), func(field []string) {
		if len(field) > 6 {
			names[field[6]] = strings.Join(append([]string{"unix socket"}, field[7:]...), " ")
		}
	})
	return names
}

func eachLine(path string, do func(field []string)) {
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		do(strings.Fields(line))
	}
}

// address reads what the kernel prints as hexadecimal words of the machine's own byte order, a colon, and the
// port.
func address(text string) string {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	number, bad := strconv.ParseUint(port, 16, 16)
	if err != nil || bad != nil {
		return ""
	}
	for word := range slices.Chunk(raw, 4) {
		if len(word) == 4 {
			binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
		}
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return ""
	}
	return netip.AddrPortFrom(ip, uint16(number)).String()
}

// networkOf reads the counters of the network namespace of a process.
func networkOf(pid int) (n Network, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp", pid))
	if err != nil {
		return n, err
	}
	var names []string
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		field := strings.Fields(lines.Text())
		if len(names) != len(field) || len(field) == 0 || names[0] != field[0] {
			names = field // the first of two lines with the same beginning has the names
			continue
		}
		for i, name := range names {
			n.count(field[0]+name, field[i])
		}
		names = nil
	}
	eachLine(fmt.Sprintf("/proc/%d/net/snmp6", pid), func(field []string) { // a kernel without IPv6 has none
		if len(field) == 2 {
			n.count(field[0], field[1])
		}
	})
	return n, nil
}

func (n *Network) count(name, value string) {
	number, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return
	}
	switch name {
	case "Ip:OutNoRoutes", "Ip6OutNoRoutes":
		n.Unreachable += number
	case "Tcp:ActiveOpens":
		n.Connections += number
	case "Udp:OutDatagrams", "Udp6OutDatagrams":
		n.Datagrams += number
	}
}
