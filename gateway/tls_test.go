package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// lines is a log that is written to by several goroutines.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// secured serves a gateway with the files, and returns its address.
func secured(t *testing.T, files TLSFiles, log *lines) string {
	t.Helper()
	certificates, err := LoadCertificates(files, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	g := newGateway(echo)
	g.TLS(certificates)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// serial returns the number of the certificate that a server shows.
func serial(t *testing.T, address string, config *tls.Config) (string, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		return "", core.Errorf(core.KindInvalid, core.FaultWorker, "%.80q: %w", answer, err)
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

func trusting(t *testing.T, authority *coretest.Authority) *tls.Config {
	t.Helper()
	content, err := os.ReadFile(authority.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(content)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that: " + what)
		}
	}
}

// A certificate is served from the moment at which it is there, also when a link is switched to it. A broken
// one is told, and changes nothing.
func TestCertificateIsReloaded(t *testing.T) {
	dir, log, authority, later := t.TempDir(), &lines{}, coretest.NewAuthority(t), time.Now().Add(time.Hour)
	config := trusting(t, authority)
	authority.Issue(t, filepath.Join(dir, "one"), later, "localhost")
	authority.Issue(t, filepath.Join(dir, "two"), later, "localhost")
	link := filepath.Join(dir, "live")
	if err := os.Symlink("one", link); err != nil {
		t.Fatal(err)
	}
	address := secured(t, TLSFiles{Cert: filepath.Join(link, "cert.pem"), Key: filepath.Join(link, "key.pem")}, log)
	first, err := serial(t, address, config)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "a warning", func() bool { return log.has("the certificate ends soon") })

	if err := os.Symlink("two", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	second := first
	until(t, "the certificate of the other link", func() bool { second, err = serial(t, address, config); return err != nil || second != first })
	if err != nil {
		t.Fatal(err)
	}

	for what, spoil := range map[string]func(){
		"a key of another certificate": func() {
			authority.Issue(t, filepath.Join(dir, "three"), later, "localhost")
			swap(t, dir, "three/key.pem", "two/key.pem")
		},
		"no certificate": func() { swap(t, dir, "", "two/cert.pem") },
		"an expired one": func() { authority.Issue(t, filepath.Join(dir, "two"), time.Now().Add(-time.Minute), "localhost") },
	} {
		log.mu.Lock()
		log.text.Reset()
		log.mu.Unlock()
		spoil()
		until(t, "a complaint about "+what, func() bool { return log.has("keep the certificate") })
		if now, err := serial(t, address, config); err != nil || now != second {
			t.Errorf("with %s: %s, %v", what, now, err)
		}
	}
	authority.Issue(t, filepath.Join(dir, "two"), later, "localhost")
	until(t, "a whole pair", func() bool { third, err := serial(t, address, config); return err == nil && third != second })
}

// swap replaces a file by another one, or by nothing.
func swap(t *testing.T, dir, by, file string) {
	t.Helper()
	content := []byte("none")
	if by != "" {
		var err error
		if content, err = os.ReadFile(filepath.Join(dir, by)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// With an authority for clients, only those are served that it vouches for, also after it was replaced.
func TestClientCertificates(t *testing.T) {
	dir, later := t.TempDir(), time.Now().Add(time.Hour)
	servers, clients, others := coretest.NewAuthority(t), coretest.NewAuthority(t), coretest.NewAuthority(t)
	cert, key := servers.Issue(t, filepath.Join(dir, "server"), later, "localhost")
	address := secured(t, TLSFiles{Cert: cert, Key: key, ClientCA: clients.CA}, &lines{})
	as := func(cert, key string) *tls.Config {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		config := trusting(t, servers)
		config.Certificates, config.ClientSessionCache = []tls.Certificate{pair}, tls.NewLRUClientSessionCache(4)
		return config
	}
	known := as(clients.Issue(t, filepath.Join(dir, "known"), later))
	for what, config := range map[string]*tls.Config{
		"none":                 trusting(t, servers),
		"one of another CA":    as(others.Issue(t, filepath.Join(dir, "other"), later)),
		"one that has expired": as(clients.Issue(t, filepath.Join(dir, "late"), time.Now().Add(-time.Minute))),
	} {
		if _, err := serial(t, address, config); err == nil || !strings.Contains(err.Error(), "remote error: tls") {
			t.Errorf("a client is served with %s: %v", what, err)
		}
	}
	for range 2 { // the second could resume the session of the first
		if _, err := serial(t, address, known); err != nil {
			t.Error(err)
		}
	}
	swap(t, "/", others.CA, clients.CA)
	until(t, "a refusal", func() bool { _, err := serial(t, address, known); return err != nil })
}

func TestTLSVersions(t *testing.T) {
	authority := coretest.NewAuthority(t)
	cert, key := authority.Issue(t, t.TempDir(), time.Now().Add(time.Hour), "localhost")
	address := secured(t, TLSFiles{Cert: cert, Key: key}, &lines{})
	for version, served := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		config := trusting(t, authority)
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, version
		if _, err := serial(t, address, config); (err == nil) != served {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
	response, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "HTTPS") {
		t.Errorf("without TLS: %s %s", response.Status, text)
	}
}

func TestUnusableCertificates(t *testing.T) {
	authority, dir := coretest.NewAuthority(t), t.TempDir()
	cert, key := authority.Issue(t, dir, time.Now().Add(time.Hour), "localhost")
	expired, itsKey := authority.Issue(t, filepath.Join(dir, "expired"), time.Now().Add(-time.Minute), "localhost")
	for told, files := range map[string]TLSFiles{
		"no such file":   {Cert: cert + "x", Key: key},
		"private key":    {Cert: cert, Key: itsKey},
		"has expired":    {Cert: expired, Key: itsKey},
		"no certificate": {Cert: cert, Key: key, ClientCA: key},
	} {
		_, err := LoadCertificates(files, slog.New(slog.DiscardHandler))
		if e := core.AsError(err); e == nil || e.Kind != core.KindInvalid || e.Fault != core.FaultCaller || !strings.Contains(e.Message, told) {
			t.Errorf("%+v: %v", files, err)
		}
	}
}
