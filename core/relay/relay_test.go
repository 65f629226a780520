package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestAddresses(t *testing.T) {
	for registry, want := range map[string]string{
		"https://pypi.org":                     "pypi.org:443",
		"https://user:word@Files.Example.ORG/": "files.example.org:443",
		"http://deb.debian.org/debian":         "deb.debian.org:80",
		"http://mirror:8080/simple":            "mirror:8080",
		"mirror.example.org:8443":              "mirror.example.org:8443",
		"mirror.example.org.":                  "mirror.example.org:443",
		"10.1.2.3:80":                          "10.1.2.3:80",
		"http://[::1]:8080":                    "[::1]:8080",
		"http://[::ffff:127.0.0.1]:8080":       "127.0.0.1:8080",
	} {
		if got, err := Addresses([]string{registry}); err != nil || got[0] != want {
			t.Errorf("%s is %v, %v, and not %s", registry, got, err, want)
		}
	}
	for _, registry := range []string{"", "https://", "ftp://example.org", "file:///srv", "https://*.example.org", "a b", "http://[::1", ":80", "http://" + core.RelayAddress, "localhost:3128"} {
		got, err := Addresses([]string{registry})
		if e := core.AsError(err); err == nil || e.Kind != core.KindInvalid || e.Fault != core.FaultWorker {
			t.Errorf("%q is %v, %v", registry, got, err)
		}
	}
	if _, err := Addresses([]string{"ftp://user:word@example.org"}); err == nil || strings.Contains(err.Error(), "word") {
		t.Errorf("the error tells the password, or there is none: %v", err)
	}
}

// fixture is a relay outside of any sandbox.
type fixture struct {
	*Relay
	address string
	mu      sync.Mutex
	refused []string
	failed  map[string]error  // what was asked last of each address
	local   map[string]string // where it listens, by the address that it was asked for
}

func open(t *testing.T, registries ...string) *fixture {
	t.Helper()
	addresses, err := Addresses(registries)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{failed: map[string]error{}, local: map[string]string{}}
	f.Relay, err = Open(addresses, func(asked string) (net.Listener, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			f.local[asked] = l.Addr().String()
			f.address = f.local[core.RelayAddress]
		}
		return l, err
	}, func(address string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.refused = append(f.refused, address)
	}, func(address string, failed error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.failed[address] = failed
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// say sends a request to the proxy and returns the connection and the answer, whose body has been read unless
// it is a tunnel.
func (f *fixture) say(t *testing.T, request string) (net.Conn, *http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(iotest.OneByteReader(conn)), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodConnect && response.StatusCode == http.StatusOK {
		return conn, response, ""
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return conn, response, string(body)
}

// host returns the address of a server by the name localhost.
func host(server *httptest.Server) string {
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	return net.JoinHostPort("localhost", port)
}

func greeter(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
			return
		}
		fmt.Fprintf(w, "hello %s at %s %q", r.URL.Path, r.Host, r.Header["Proxy-Authorization"])
	}))
	t.Cleanup(s.Close)
	return s
}

func TestWhatIsReached(t *testing.T) {
	listed, other := greeter(t), greeter(t)
	f := open(t, "http://"+host(listed))
	literal := listed.Listener.Addr().String() // the same, by another name
	_, port, _ := net.SplitHostPort(literal)
	for _, c := range []struct {
		request string
		status  int
		says    string
	}{
		{"GET http://" + host(listed) + "/a?b HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: x\r\n\r\n", 200, "hello /a at " + host(listed) + " []"},
		{"GET http://LOCALHOST.:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n", 200, "hello"},
		{"GET http://" + host(listed) + "/away HTTP/1.1\r\nHost: x\r\n\r\n", 302, "169.254.169.254"},
		{"GET http://" + host(listed) + "/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tunnel\r\n\r\n", 200, "hello"},
		{"GET http://" + host(other) + "/ HTTP/1.1\r\nHost: " + host(listed) + "\r\n\r\n", 403, "PIPSQUEAK_REGISTRIES=" + host(other)},
		{"GET http://" + literal + "/ HTTP/1.1\r\nHost: x\r\n\r\n", 403, literal},
		{"GET http://0/ HTTP/1.1\r\nHost: x\r\n\r\n", 403, "0:80"},
		{"GET http://" + host(listed) + "@" + host(other) + "/ HTTP/1.1\r\nHost: x\r\n\r\n", 403, host(other)},
		{"GET http://169.254.169.254/latest HTTP/1.1\r\nHost: x\r\n\r\n", 403, "169.254.169.254:80"},
		{"GET https://" + host(listed) + "/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, "no server"},
		{"GET / HTTP/1.1\r\nHost: " + host(listed) + "\r\n\r\n", 400, "no server"},
		{"CONNECT " + host(listed) + " HTTP/1.1\r\nHost: x\r\n\r\n", 200, ""},
		{"CONNECT " + host(other) + " HTTP/1.1\r\nHost: " + host(listed) + "\r\n\r\n", 403, host(other)},
		{"CONNECT " + literal + " HTTP/1.1\r\nHost: x\r\n\r\n", 403, literal},
		{"CONNECT localhost:" + port + "1 HTTP/1.1\r\nHost: x\r\n\r\n", 403, port + "1"},
		{"CONNECT localhost HTTP/1.1\r\nHost: x\r\n\r\n", 403, "localhost"},
		{"CONNECT [::ffff:a9fe:a9fe]:80 HTTP/1.1\r\nHost: x\r\n\r\n", 403, "169.254.169.254:80"},
	} {
		f.refused = nil
		_, response, body := f.say(t, c.request)
		if response.StatusCode != c.status || !strings.Contains(body+response.Header.Get("Location"), c.says) {
			t.Errorf("%q is answered %d %q", c.request, response.StatusCode, body)
		}
		if told := len(f.refused) == 1 && strings.Contains(body, f.refused[0]); told != (c.status == http.StatusForbidden) {
			t.Errorf("%q: refused %v", c.request, f.refused)
		}
	}
}

// TestNamedTwice names one registry on the loopback in several ways: the relay listens once for each address,
// and can do without IPv6.
func TestNamedTwice(t *testing.T) {
	server := greeter(t)
	literal := server.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(literal)
	addresses, err := Addresses([]string{host(server), "http://" + literal + "/simple", literal, "http://LOCALHOST.:" + port, "[::1]:" + port, "http://[::1]:" + port, "http://[::ffff:127.0.0.1]:" + port})
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]net.Listener{}
	r, err := Open(addresses, func(address string) (net.Listener, error) {
		if asked[address] != nil {
			return nil, &net.OpError{Op: "listen", Err: syscall.EADDRINUSE}
		}
		if strings.HasPrefix(address, "[::1]") {
			return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)}
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		asked[address] = l
		return l, err
	}, func(string) {}, func(string, error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	local := asked[literal]
	if len(asked) != 2 || local == nil {
		t.Fatalf("it listens at %v", asked)
	}
	response, err := http.Get("http://" + local.Addr().String() + "/x")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", response, err)
	}
	response.Body.Close()
}

func TestUnreachableRegistry(t *testing.T) {
	closed := greeter(t)
	closed.Close()
	f := open(t, host(closed))
	for _, request := range []string{"GET http://" + host(closed) + "/ HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT " + host(closed) + " HTTP/1.1\r\nHost: x\r\n\r\n"} {
		if _, response, body := f.say(t, request); response.StatusCode != http.StatusBadGateway || !strings.Contains(body, "the worker cannot reach "+host(closed)) {
			t.Errorf("%q is answered %d %q", request, response.StatusCode, body)
		}
		if failed := f.failed[host(closed)]; failed == nil || !strings.Contains(failed.Error(), "connection refused") {
			t.Errorf("%q: it is told that %v", request, failed)
		}
		clear(f.failed)
	}
}

// TestToldWhatCame: a registry that answers, and one that has failed itself, are told of. What a tunnel
// carries is not seen.
func TestToldWhatCame(t *testing.T) {
	status := http.StatusBadGateway
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(s.Close)
	f := open(t, host(s))
	get := "GET http://" + host(s) + "/ HTTP/1.1\r\nHost: x\r\n\r\n"
	f.say(t, get)
	if failed := f.failed[host(s)]; failed == nil || failed.Error() != "502 Bad Gateway" {
		t.Errorf("%v", failed)
	}
	status = http.StatusNotFound
	f.say(t, get)
	if failed, told := f.failed[host(s)]; failed != nil || !told {
		t.Errorf("a registry that answers: %v, %v", failed, told)
	}
	f.failed[host(s)] = errors.New("earlier")
	f.say(t, "CONNECT "+host(s)+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if f.failed[host(s)] != nil {
		t.Errorf("a tunnel: %v", f.failed[host(s)])
	}
}

// echoes listens for connections and sends back what it gets, until its client has said all.
func echoes(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	return l
}

func TestTunnel(t *testing.T) {
	l := echoes(t)
	f := open(t, l.Addr().String())
	// The first bytes come together with the request.
	conn, response, _ := f.say(t, "CONNECT "+l.Addr().String()+" HTTP/1.1\r\nHost: x\r\n\r\nearly")
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
	const size = 8 << 20
	go func() {
		_, _ = io.WriteString(conn, strings.Repeat("x", size))
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	if text, err := io.ReadAll(conn); err != nil || len(text) != size+len("early") || !strings.HasPrefix(string(text), "earlyxxx") {
		t.Errorf("%d bytes came back, %v", len(text), err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	l := echoes(t)
	server := greeter(t)
	f := open(t, l.Addr().String(), server.URL)
	tunnel, _, _ := f.say(t, "CONNECT "+l.Addr().String()+" HTTP/1.1\r\nHost: x\r\n\r\n")
	idle, _, _ := f.say(t, "GET "+server.URL+"/ HTTP/1.1\r\nHost: x\r\n\r\n")
	local, err := net.Dial("tcp", f.local[l.Addr().String()])
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if _, err := io.WriteString(local, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(local, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for what, conn := range map[string]net.Conn{"a tunnel": tunnel, "an idle connection": idle, "a forwarded connection": local} {
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s is open: %v", what, err)
		}
	}
	if conn, err := net.Dial("tcp", f.address); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
	l.Close()
	server.Close()
	// Goroutines of earlier tests may have ended meanwhile, so their number alone does not tell that the
	// relay's have.
	for deadline := time.Now().Add(30 * time.Second); (runtime.NumGoroutine() > before || len(f.slots) > 0) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines more than before", now-before)
	}
	if len(f.slots) > 0 {
		t.Errorf("%d connections are still counted", len(f.slots))
	}
}

// More connections than there may be wait, and get their turn.
func TestConnectionsAreBounded(t *testing.T) {
	f := open(t, "http://"+host(greeter(t)))
	var all []net.Conn
	for range maxConnections {
		conn, err := net.Dial("tcp", f.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		all = append(all, conn)
	}
	more, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer more.Close()
	if _, err := io.WriteString(more, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = more.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := more.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("one connection too many is served")
	}
	all[0].Close()
	_ = more.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := more.Read(make([]byte, 1)); n != 1 {
		t.Errorf("it is not served when another has gone: %v", err)
	}
}

// The worker's own proxy is asked for a tunnel, with its password.
func TestUpstreamProxy(t *testing.T) {
	var asked []string
	answer := "HTTP/1.1 200 OK\r\n\r\n"
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, answer)
		_, _ = io.Copy(conn, conn)
	}))
	defer upstream.Close()
	proxy, err := url.Parse("http://me:word@" + upstream.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connect(context.Background(), proxy, "pypi.org:443")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if want := []string{"CONNECT pypi.org:443 Basic bWU6d29yZA=="}; !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
	for says, text := range map[string]string{"407 No": "HTTP/1.1 407 No\r\n\r\n", "speaks first": "HTTP/1.1 200 OK\r\n\r\nhello", "malformed": "hello\r\n\r\n"} {
		answer = text
		if conn, err := connect(context.Background(), proxy, "pypi.org:443"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, %v", text, conn, err)
		}
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := connect(canceled, proxy, "pypi.org:443"); err == nil {
		t.Error("a connection although nobody waits for it any more")
	}
	if _, err := connect(context.Background(), &url.URL{Scheme: "socks5", Host: "127.0.0.1:1"}, "pypi.org:443"); err == nil || !strings.Contains(err.Error(), "socks5 is not supported") {
		t.Error(err)
	}
}
