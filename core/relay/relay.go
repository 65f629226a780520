// Package relay lets the programs of a sandbox reach the registries of packages, and nothing else. It is an
// HTTP proxy of the worker's that listens in the network of one sandbox: what it is asked for by a name that
// is not listed, or by a bare address, it refuses. It does not look into what it carries; that is for digests
// and signatures.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

const (
	maxConnections = 128              // of one sandbox at a time; more wait
	dialTime       = 30 * time.Second // to reach a registry
	headerTime     = 30 * time.Second // for a request's header
)

// Relay is the way out of one sandbox, from Open until Close.
type Relay struct {
	allowed   []string
	refused   func(address string)
	asked     func(address string, failed error)
	ctx       context.Context // until Close
	cancel    context.CancelFunc
	server    *http.Server
	plain     *httputil.ReverseProxy
	listeners []net.Listener
	slots     chan struct{} // one for each connection out of the sandbox

	mu    sync.Mutex
	conns map[net.Conn]struct{} // of tunnels
}

// Open listens with listen, which is of the sandbox's network, at core.RelayAddress, and lets those addresses
// be reached that Addresses returned. A registry on the loopback of the worker can also be reached as itself,
// for there are programs that ask no proxy for one. Refused is told of each attempt at anything else, and
// asked of what came of the others: of each connection to a registry, or of an answer to plain HTTP, whether
// it failed for a reason of the network's, a proxy's or the registry's own. The worker's own HTTP_PROXY,
// HTTPS_PROXY and NO_PROXY count.
func Open(addresses []string, listen func(address string) (net.Listener, error), refused func(address string), asked func(address string, failed error)) (*Relay, error) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Relay{allowed: addresses, refused: refused, asked: asked, ctx: ctx, cancel: cancel, slots: make(chan struct{}, maxConnections), conns: map[net.Conn]struct{}{}}
	silent := log.New(io.Discard, "", 0) // what a client or a registry does wrong is the installer's to tell
	r.plain = &httputil.ReverseProxy{
		ErrorLog:  silent,
		Rewrite:   func(*httputil.ProxyRequest) {}, // but for the headers that are a proxy's
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, DisableCompression: true, IdleConnTimeout: time.Minute},
		ModifyResponse: func(response *http.Response) error {
			var failed error
			if response.StatusCode >= http.StatusInternalServerError || response.StatusCode == http.StatusProxyAuthRequired {
				failed = errors.New(response.Status)
			}
			r.tell(response.Request.URL.Host, failed)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, request *http.Request, err error) {
			r.tell(request.URL.Host, err)
			http.Error(w, unreachable(request.URL.Host, err), http.StatusBadGateway)
		},
	}
	r.server = &http.Server{Handler: r, ErrorLog: silent, ReadHeaderTimeout: headerTime, IdleTimeout: time.Minute, ConnState: r.freed,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	listener, err := r.listen(listen, core.RelayAddress)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	go func() { _ = r.server.Serve(listener) }()
	for local, address := range locals(addresses) {
		listener, err := r.listen(listen, local)
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			continue // a sandbox without IPv6: by the proxy it is reached all the same
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the registry %s: %w", address, err), r.Close())
		}
		go r.forward(listener, address)
	}
	return r, nil
}

// locals returns where registries on the loopback of the worker listen, by the addresses to listen at for
// them: one may be named several times, and by several names, of which an address is surer than a name.
func locals(addresses []string) map[string]string {
	found := map[string]string{}
	for _, address := range addresses {
		if local, is := loopback(address); is && (found[local] == "" || address == local) {
			found[local] = address
		}
	}
	return found
}

var dialer = &net.Dialer{Timeout: dialTime}

// listen returns a listener that has no more than the relay's connections at a time.
func (r *Relay) listen(listen func(string) (net.Listener, error), address string) (net.Listener, error) {
	listener, err := listen(address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	r.listeners = append(r.listeners, listener)
	return bounded{listener, r}, nil
}

type bounded struct {
	net.Listener
	relay *Relay
}

func (b bounded) Accept() (net.Conn, error) {
	conn, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case b.relay.slots <- struct{}{}:
		return conn, nil
	case <-b.relay.ctx.Done():
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
}

// freed frees the slot of a connection of the server's. One that has become a tunnel frees its own.
func (r *Relay) freed(_ net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		<-r.slots
	}
}

// Close ends all connections and stops listening. It may be called once.
func (r *Relay) Close() error {
	r.cancel()
	err := r.server.Close()
	for _, listener := range r.listeners {
		if e := listener.Close(); !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	r.plain.Transport.(*http.Transport).CloseIdleConnections()
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.conns {
		conn.Close()
	}
	return err
}

// ServeHTTP implements http.Handler: a proxy's.
func (r *Relay) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	address := request.Host
	if request.Method != http.MethodConnect {
		if request.URL.Scheme != "http" || request.URL.Host == "" {
			http.Error(w, "this is a proxy of Pipsqueak's, and no server", http.StatusBadRequest)
			return
		}
		if address = request.URL.Host; request.URL.Port() == "" {
			address = net.JoinHostPort(request.URL.Hostname(), ports["http"])
		}
	}
	address = canonical(address)
	if !slices.Contains(r.allowed, address) {
		r.refused(address)
		http.Error(w, fmt.Sprintf("%s is no registry that an installation may reach: the operator of the worker allows it with PIPSQUEAK_REGISTRIES=%s", address, address), http.StatusForbidden)
		return
	}
	if request.Method == http.MethodConnect {
		r.tunnel(w, request, address)
		return
	}
	request.Header.Del("Upgrade") // into a tunnel: that is what CONNECT is for
	request.URL.Host = address
	r.plain.ServeHTTP(w, request)
}

// tell reports what came of asking a registry, unless nobody waits for that any more.
func (r *Relay) tell(address string, err error) {
	if !errors.Is(err, context.Canceled) {
		r.asked(address, err)
	}
}

func unreachable(address string, err error) string {
	return fmt.Sprintf("the worker cannot reach %s: %v", address, err)
}

// tunnel carries bytes between the client and the address, both ways.
func (r *Relay) tunnel(w http.ResponseWriter, request *http.Request, address string) {
	out, err := dial(request.Context(), address)
	r.tell(address, err)
	if err != nil {
		http.Error(w, unreachable(address, err), http.StatusBadGateway)
		return
	}
	in, early, err := http.NewResponseController(w).Hijack()
	if err != nil {
		out.Close()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { <-r.slots }()
	_, err = io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n")
	if err == nil && early.Reader.Buffered() > 0 {
		_, err = io.CopyN(out, early, int64(early.Reader.Buffered()))
	}
	if err != nil {
		in.Close()
		out.Close()
		return
	}
	r.carry(in, out)
}

// forward carries bytes between the connections to a listener and the same address of the worker's machine.
func (r *Relay) forward(listener net.Listener, address string) {
	for {
		in, err := listener.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer func() { <-r.slots }()
			out, err := dialer.DialContext(r.ctx, "tcp", address)
			r.tell(address, err)
			if err != nil {
				in.Close()
				return
			}
			r.carry(in, out)
		}()
	}
}

// carry copies between two connections until both have said all, and closes them. Between two of TCP the
// kernel does it.
func (r *Relay) carry(a, b net.Conn) {
	r.mu.Lock()
	r.conns[a], r.conns[b] = struct{}{}, struct{}{}
	r.mu.Unlock()
	if r.ctx.Err() != nil { // Close may have been before
		a.Close()
		b.Close()
	}
	var both sync.WaitGroup
	for to, from := range map[net.Conn]net.Conn{a: b, b: a} {
		both.Go(func() {
			_, err := io.Copy(to, from)
			if half, ok := to.(interface{ CloseWrite() error }); err == nil && ok {
				_ = half.CloseWrite()
				return
			}
			a.Close()
			b.Close()
		})
	}
	both.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range []net.Conn{a, b} {
		delete(r.conns, conn)
		conn.Close()
	}
}
