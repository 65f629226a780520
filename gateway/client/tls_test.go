package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// withTLS returns the URL of a server with a certificate for hosts, that asks clients for one of the
// authority when there is one.
func withTLS(t *testing.T, authority *coretest.Authority, until time.Time, clients *coretest.Authority, hosts ...string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(authority.Issue(t, t.TempDir(), until, hosts...))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]")) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients != nil {
		content, err := os.ReadFile(clients.CA)
		if err != nil {
			t.Fatal(err)
		}
		server.TLS.ClientAuth, server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		server.TLS.ClientCAs.AppendCertsFromPEM(content)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func TestTLS(t *testing.T) {
	ours, theirs, later := coretest.NewAuthority(t), coretest.NewAuthority(t), time.Now().Add(time.Hour)
	right := withTLS(t, ours, later, nil, "127.0.0.1")
	asking := withTLS(t, ours, later, theirs, "127.0.0.1")
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	dir := t.TempDir()
	cert, key := theirs.Issue(t, dir, later)
	stranger, itsKey := ours.Issue(t, filepath.Join(dir, "stranger"), later)
	whole := filepath.Join(dir, "whole.pem")
	both := make([]byte, 0, 4096)
	for _, file := range []string{cert, key} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, content...)
	}
	if err := os.WriteFile(whole, both, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		server string
		files  client.TLSFiles
		told   string // empty when it works
	}{
		"right":                  {right, client.TLSFiles{CA: ours.CA}, ""},
		"unknown":                {right, client.TLSFiles{}, "name the file of its authority in PIPSQUEAK_CA"},
		"of another":             {right, client.TLSFiles{CA: theirs.CA}, "name the file of its authority in PIPSQUEAK_CA"},
		"wrong name":             {withTLS(t, ours, later, nil, "worker.example"), client.TLSFiles{CA: ours.CA}, "is for another name"},
		"expired":                {withTLS(t, ours, time.Now().Add(-time.Minute), nil, "127.0.0.1"), client.TLSFiles{CA: ours.CA}, "its operator has to renew it"},
		"http for https":         {strings.Replace(right, "https", "http", 1), client.TLSFiles{}, "speaks TLS; write https://"},
		"https for http":         {strings.Replace(plain.URL, "http", "https", 1), client.TLSFiles{}, "speaks no TLS; write http://"},
		"no such CA":             {right, client.TLSFiles{CA: filepath.Join(dir, "none")}, "no such file"},
		"a CA that is none":      {right, client.TLSFiles{CA: key}, "has no certificate of an authority"},
		"known client":           {asking, client.TLSFiles{CA: ours.CA, Cert: cert, Key: key}, ""},
		"known client, one file": {asking, client.TLSFiles{CA: ours.CA, Cert: whole}, ""},
		"no client certificate":  {asking, client.TLSFiles{CA: ours.CA}, "name it in PIPSQUEAK_CERT"},
		"a stranger's":           {asking, client.TLSFiles{CA: ours.CA, Cert: stranger, Key: itsKey}, "name it in PIPSQUEAK_CERT"},
		"a key of another":       {asking, client.TLSFiles{CA: ours.CA, Cert: cert, Key: itsKey}, "cannot use"},
	} {
		_, err := client.New(c.server).TLS(c.files).Functions(t.Context())
		switch e := core.AsError(err); {
		case c.told == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.told != "" && (e == nil || e.Fault != core.FaultCaller || !strings.Contains(e.Message, c.told)):
			t.Errorf("%s: %v; want %q", name, err, c.told)
		}
	}
}
