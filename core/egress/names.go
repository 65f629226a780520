package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// The resolver answers instances. It has names looked up as the worker's machine does, and tells nothing that
// the asking function cannot reach: no other addresses, no other kinds of records, which may have anything in
// them.
const (
	answerTTL = 30 // s; the worker's own look-ups do not tell how long their answers hold
	// How long a function with destinations of its own can connect to an address after it has been told it.
	// Connections stay.
	namesHold = 10 * time.Minute
	// A look-up takes as long as the machine's resolver tries, but not longer than programs wait.
	lookupTime = 10 * time.Second
	// How many questions of one instance, and of all, are looked up at once. More get no answer, as from a
	// busy server; programs ask again.
	questionsEach = 32
	questionsAll  = 1024
	maxQuestion   = 512 // bytes
	idleStream    = 5 * time.Second
)

// resolve has the resolver listen in the router.
func (r *Router) resolve(ctx context.Context) error {
	var packets net.PacketConn
	var streams net.Listener
	at := netip.AddrPortFrom(resolver, 53).String()
	err := r.do(func() (err error) {
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		if packets, err = config.ListenPacket(ctx, "udp4", at); err != nil {
			return err
		}
		r.sockets = append(r.sockets, packets)
		if streams, err = config.Listen(ctx, "tcp4", at); err == nil {
			r.sockets = append(r.sockets, streams)
		}
		return err
	})
	if err != nil {
		return err
	}
	q := &questions{router: r, each: map[*Port]int{}}
	r.running.Go(func() { q.servePackets(ctx, packets) })
	r.running.Go(func() { q.serveStreams(ctx, streams) })
	return nil
}

func (q *questions) servePackets(ctx context.Context, packets net.PacketConn) {
	buffer := make([]byte, maxQuestion)
	for {
		n, from, err := packets.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if p := q.router.portAt(from); err == nil && p != nil {
			q.answer(ctx, p, slices.Clone(buffer[:n]), func(answer []byte) { _, _ = packets.WriteTo(answer, from) })
		}
	}
}

func (q *questions) serveStreams(ctx context.Context, streams net.Listener) {
	for {
		conn, err := streams.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // no descriptor is left
			continue
		}
		p := q.router.portAt(conn.RemoteAddr())
		if p == nil || !q.begin(p) {
			conn.Close()
			continue
		}
		go func() {
			defer q.end(p)
			defer conn.Close()
			q.serveStream(ctx, p, conn)
		}()
	}
}

// serveStream answers one question after the other.
func (q *questions) serveStream(ctx context.Context, p *Port, conn net.Conn) {
	for {
		_ = conn.SetDeadline(time.Now().Add(idleStream))
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(length[:]))
		if len(question) > maxQuestion {
			return
		}
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		answer := q.router.answer(ctx, p, question)
		_ = conn.SetDeadline(time.Now().Add(idleStream))
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil || len(answer) == 0 {
			return
		}
	}
}

// answer answers a question in a goroutine of its own, or not at all.
func (q *questions) answer(ctx context.Context, p *Port, question []byte, say func([]byte)) {
	if !q.begin(p) {
		return
	}
	go func() {
		defer q.end(p)
		if answer := q.router.answer(ctx, p, question); answer != nil {
			say(answer)
		}
	}()
}

// answer returns the answer to a question, nil for what is none.
func (r *Router) answer(ctx context.Context, p *Port, message []byte) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(message)
	if err != nil || header.Response {
		return nil
	}
	question, err := parser.Question()
	if err != nil {
		return nil
	}
	answer := dnsmessage.Message{Header: dnsmessage.Header{ID: header.ID, Response: true, OpCode: header.OpCode, RecursionDesired: header.RecursionDesired,
		RecursionAvailable: true}, Questions: []dnsmessage.Question{question}}
	if header.OpCode != 0 || question.Class != dnsmessage.ClassINET {
		answer.RCode = dnsmessage.RCodeNotImplemented
	} else {
		answer.Answers, answer.RCode = r.look(ctx, p, question)
	}
	packed, err := answer.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// maxAnswers is how many addresses are told; with that a packet of UDP is not too small.
const maxAnswers = 12

// look looks a name up, and opens its addresses to the function if it is one of its destinations.
func (r *Router) look(ctx context.Context, p *Port, question dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode) {
	name := strings.ToLower(strings.TrimSuffix(question.Name.String(), "."))
	var ports []uint16
	if p.policy != nil {
		if ports = p.policy.names[name]; ports == nil {
			r.tell(p, fmt.Sprintf("refused to look up %q: %s", name, ruleTexts[ruleListed]))
			return nil, dnsmessage.RCodeNameError
		}
	}
	if question.Type != dnsmessage.TypeA && question.Type != dnsmessage.TypeAAAA {
		return nil, dnsmessage.RCodeSuccess
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	// Both families are asked for, for a name that has only one of them is no unknown name. The dot keeps the
	// machine's search list out.
	all, err := lookups.LookupNetIP(ctx, "ip", name+".")
	var failed *net.DNSError
	if errors.As(err, &failed) && failed.IsNotFound {
		return nil, dnsmessage.RCodeNameError
	} else if err != nil {
		return nil, dnsmessage.RCodeServerFailure
	}
	var told []netip.Addr
	refused := ""
	for _, address := range all {
		address = address.Unmap()
		rule := r.judge(address)
		switch {
		case rule != "" && p.config.Network != core.NetworkHost:
			refused = fmt.Sprintf("refused to look up %q, which is at %s: %s", name, address, ruleTexts[rule])
		case address.Is4() == (question.Type == dnsmessage.TypeA) && (address.Is4() || r.six) && len(told) < maxAnswers:
			told = append(told, address)
		}
	}
	if refused != "" && len(told) == 0 {
		r.tell(p, refused)
		return nil, dnsmessage.RCodeNameError
	}
	if err := r.openNames(ctx, p.policy, told, ports); err != nil {
		r.config.Log.Warn("egress", "fn", p.config.Function, "err", err)
		return nil, dnsmessage.RCodeServerFailure
	}
	var records []dnsmessage.Resource
	for _, address := range told {
		records = append(records, recordOf(question, address))
	}
	return records, dnsmessage.RCodeSuccess
}

// lookups asks as the machine is set up, and never through the C library, whose threads it would take.
var lookups = net.Resolver{PreferGo: true}

func recordOf(question dnsmessage.Question, address netip.Addr) dnsmessage.Resource {
	header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: dnsmessage.ClassINET, TTL: answerTTL}
	if address.Is4() {
		return dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: address.As4()}}
	}
	return dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}}
}

// openNames opens addresses to the functions of a policy, before they are told. An element that is there
// already begins its time again.
func (r *Router) openNames(ctx context.Context, p *policy, told []netip.Addr, ports []uint16) error {
	if p == nil || len(told) == 0 {
		return nil
	}
	set := fmt.Sprintf("names%d_6", p.group)
	if told[0].Is4() {
		set = fmt.Sprintf("names%d_4", p.group)
	}
	var text strings.Builder
	for _, address := range told {
		for _, port := range ports {
			fmt.Fprintf(&text, "add element inet egress %[1]s { %[2]s . %[3]d timeout %[4]s }\ndelete element inet egress %[1]s { %[2]s . %[3]d }\n"+
				"add element inet egress %[1]s { %[2]s . %[3]d timeout %[4]s }\n", set, address, port, namesHold)
		}
	}
	return r.change(ctx, text.String())
}
