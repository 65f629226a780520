package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TLSFiles are what a client and its server know each other by, each a file in PEM or empty.
type TLSFiles struct {
	CA   string // the authorities that vouch for the server, instead of the system's
	Cert string // the client's own certificate, for a server that asks for one
	Key  string // of Cert; empty when it is in the same file
}

// TLS returns the client with those files. When they cannot be used, each of its requests fails with the
// reason.
func (c Client) TLS(files TLSFiles) Client {
	if files == (TLSFiles{}) || strings.HasPrefix(c.Base, unixScheme) {
		return c
	}
	config, err := files.config()
	if err != nil {
		c.HTTP = &http.Client{Transport: refuses{err}}
		return c
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	c.HTTP = &http.Client{Transport: transport}
	return c
}

// refuses sends nothing.
type refuses struct{ err error }

func (r refuses) RoundTrip(*http.Request) (*http.Response, error) { return nil, r.err }

func (f TLSFiles) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		content, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot read the file of authorities: %w", err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s has no certificate of an authority in PEM", f.CA)
		}
	}
	if f.Cert == "" && f.Key == "" {
		return config, nil
	}
	key := f.Key
	if key == "" {
		key = f.Cert
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, key)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot use %q as certificate of this client with the key %q: %w", f.Cert, key, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// spokenPlainly is what a server that speaks TLS answers to a request without it.
const spokenPlainly = "Client sent an HTTP request to an HTTPS server."

// untrusted says why client and server did not agree on TLS; nil when that was not the reason.
func (c Client) untrusted(err error) error {
	wrong := func(format string, args ...any) error {
		return core.Errorf(core.KindUnavailable, core.FaultCaller, format, append([]any{c.Base}, args...)...)
	}
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var way *net.OpError
	switch {
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, new(tls.RecordHeaderError)):
		return wrong("the server at %s speaks no TLS; write http:// in --server or PIPSQUEAK_SERVER")
	case errors.As(err, &authority):
		return wrong("nobody that this machine trusts vouches for the certificate of %s (%w); name the file of its authority in PIPSQUEAK_CA", authority)
	case errors.As(err, &name):
		return wrong("the certificate of %s is for another name (%w); use a name that it has in --server or PIPSQUEAK_SERVER", name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return wrong("the certificate of %s is valid from %s to %s, and it is %s here; its operator has to renew it, unless this clock is wrong",
			invalid.Cert.NotBefore.Format(time.RFC3339), invalid.Cert.NotAfter.Format(time.RFC3339), time.Now().Format(time.RFC3339))
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return wrong("the certificate of %s is not valid: %w", err)
	case errors.As(err, &way) && way.Op == "remote error":
		return wrong("the server at %s does not take this client's certificate, or wants one (%w); name it in PIPSQUEAK_CERT, and its key in PIPSQUEAK_KEY", way.Err)
	}
	return nil
}
