package egress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The rules log what they refuse to this group of the kernel's (NFLOG), which the router reads.
// linux/netfilter/nfnetlink_log.h
const logGroup = 1

const (
	logPacket, logConfig                  = 0, 1 // messages
	logCommand, logMode, logEach          = 1, 2, 5
	logIndev, logPayload, logPrefix       = 4, 9, 10
	logBind                         uint8 = 1
	logCopy                         uint8 = 2
	logHeaders                            = 64 // bytes of a packet that are of interest
)

// listen tells of what the rules refuse.
func (r *Router) listen() error {
	fd := -1
	if err := r.do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
		return err
	}); err != nil {
		return err
	}
	socket := os.NewFile(uintptr(fd), "refused")
	r.sockets = append(r.sockets, socket)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	copied := append(binary.BigEndian.AppendUint32(nil, logHeaders), logCopy, 0)
	for _, attribute := range []*nl.RtAttr{nl.NewRtAttr(logCommand, []byte{logBind}), nl.NewRtAttr(logMode, copied), nl.NewRtAttr(logEach, []byte{0, 0, 0, 1})} {
		request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_ULOG<<8|logConfig, 0)
		request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, ResId: logGroup << 8}) // in network order
		request.AddData(attribute)
		if _, err := socket.Write(request.Serialize()); err != nil {
			return fmt.Errorf("listening to what the router refuses: %w", err)
		}
	}
	r.running.Go(func() { r.hear(socket) })
	return nil
}

func (r *Router) hear(socket *os.File) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := socket.Read(buffer)
		if errors.Is(err, unix.ENOBUFS) {
			continue // some are lost
		}
		if err != nil {
			return
		}
		messages, err := parseMessages(buffer[:n])
		if err != nil {
			continue
		}
		for _, m := range messages {
			r.told(m)
		}
	}
}

func parseMessages(packet []byte) (bodies [][]byte, err error) {
	for len(packet) >= unix.SizeofNlMsghdr {
		length := int(binary.NativeEndian.Uint32(packet))
		if length < unix.SizeofNlMsghdr || length > len(packet) {
			return nil, errors.New("a message of the kernel that is cut")
		}
		if binary.NativeEndian.Uint16(packet[4:]) == unix.NFNL_SUBSYS_ULOG<<8|logPacket {
			bodies = append(bodies, packet[unix.SizeofNlMsghdr:length])
		}
		packet = packet[min((length+3)&^3, len(packet)):]
	}
	return bodies, nil
}

// told tells of one packet that was refused.
func (r *Router) told(body []byte) {
	if len(body) < nl.SizeofNfgenmsg {
		return
	}
	attributes, err := nl.ParseRouteAttr(body[nl.SizeofNfgenmsg:])
	if err != nil {
		return
	}
	var index int
	var packet []byte
	var rule string
	for _, a := range attributes {
		switch a.Attr.Type {
		case logIndev:
			if len(a.Value) >= 4 {
				index = int(binary.BigEndian.Uint32(a.Value))
			}
		case logPayload:
			packet = a.Value
		case logPrefix:
			rule = strings.TrimRight(string(a.Value), "\x00")
		}
	}
	protocol, to, ok := destinationOf(packet)
	r.mu.Lock()
	p := r.indexes[index]
	r.mu.Unlock()
	if ok && p != nil {
		r.tell(p, fmt.Sprintf("refused %s to %s: %s", protocol, to, ruleTexts[rule]))
	}
}

// destinationOf reads where a packet was to go.
func destinationOf(packet []byte) (protocol string, to netip.AddrPort, ok bool) {
	var next byte
	var address netip.Addr
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		next, address = packet[9], netip.AddrFrom4([4]byte(packet[16:20]))
		packet = packet[min(int(packet[0]&15)*4, len(packet)):]
	case len(packet) >= 40 && packet[0]>>4 == 6:
		next, address = packet[6], netip.AddrFrom16([16]byte(packet[24:40]))
		packet = packet[40:]
	default:
		return "", to, false
	}
	protocol = map[byte]string{unix.IPPROTO_TCP: "TCP", unix.IPPROTO_UDP: "UDP"}[next]
	if protocol == "" || len(packet) < 4 {
		return "", to, false
	}
	return protocol, netip.AddrPortFrom(address, binary.BigEndian.Uint16(packet[2:])), true
}

// tell passes on what an instance was refused.
func (r *Router) tell(p *Port, text string) { r.config.Refused(p.config, text) }
