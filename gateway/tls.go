package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TLSFiles are what a server and its clients know each other by, each a file in PEM.
type TLSFiles struct {
	Cert     string // the server's certificate, and those between it and its authority
	Key      string // of the certificate
	ClientCA string // the authorities that vouch for clients; empty when clients need no certificate
}

// How often the files are read again, and how long before its end a certificate is warned of.
const (
	readAgain = time.Second
	endsSoon  = 14 * 24 * time.Hour
)

// LoadCertificates reads the files. It returns an error when they cannot be used.
func LoadCertificates(files TLSFiles, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{files: files, log: log}
	c.read = c.files.read()
	c.tried = c.read
	config, err := c.read.config()
	if err != nil {
		return nil, err
	}
	c.use(config)
	return c, nil
}

// TLS has Serve speak TLS. Each connection gets the certificates of its time. Call it before Serve.
func (g *Gateway) TLS(c *Certificates) { g.tls = c }

// Certificates are what a gateway speaks TLS with. While it serves, they are read again when their files
// change. Files that cannot be used change nothing.
type Certificates struct {
	files       TLSFiles
	log         *slog.Logger
	config      atomic.Pointer[tls.Config]
	read, tried tlsContents // when last looked at; when last used, or found unusable
	warned      time.Time   // the end of the certificate that was warned of
}

// tlsContents are the contents of the files, or why one could not be read.
type tlsContents struct {
	names               TLSFiles
	cert, key, clientCA string
	failed              string
}

func (f TLSFiles) read() tlsContents {
	c := tlsContents{names: f}
	for _, one := range []struct {
		name string
		to   *string
	}{{f.Cert, &c.cert}, {f.Key, &c.key}, {f.ClientCA, &c.clientCA}} {
		if one.name == "" {
			continue
		}
		content, err := os.ReadFile(one.name)
		if err != nil {
			c.failed = err.Error()
		}
		*one.to = string(content)
	}
	return c
}

// config returns a server's configuration. HTTP/1.1 alone is offered: connections are what the gateway bounds
// and ends, and a connection of HTTP/2 has many requests.
func (c tlsContents) config() (*tls.Config, error) {
	wrong := func(format string, args ...any) error {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "cannot serve TLS: "+format, args...)
	}
	if c.failed != "" {
		return nil, wrong("%s", c.failed)
	}
	pair, err := tls.X509KeyPair([]byte(c.cert), []byte(c.key))
	if err != nil {
		return nil, wrong("%s with the key %s: %w", c.names.Cert, c.names.Key, err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) {
		return nil, wrong("the certificate %s has expired on %s: renew it", c.names.Cert, pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if c.names.ClientCA != "" {
		config.SessionTicketsDisabled = true // a session that is resumed is not checked against the authorities of now
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !config.ClientCAs.AppendCertsFromPEM([]byte(c.clientCA)) {
			return nil, wrong("%s has no certificate in PEM", c.names.ClientCA)
		}
	}
	return config, nil
}

// look uses the files that have changed. Files that are being written differ from one look to the next, so
// they are left alone until they have been the same twice.
func (c *Certificates) look() {
	now := c.files.read()
	settled := now == c.read
	c.read = now
	if settled && now != c.tried {
		c.tried = now
		if config, err := now.config(); err != nil {
			c.log.Error("keep the certificate", "err", err)
		} else {
			c.use(config)
		}
	}
	if end := c.end(); time.Until(end) < endsSoon && !end.Equal(c.warned) {
		c.warned = end
		c.log.Warn("the certificate ends soon", "file", c.files.Cert, "end", end)
	}
}

func (c *Certificates) use(config *tls.Config) {
	c.config.Store(config)
	c.log.Info("use the certificate", "file", c.files.Cert, "names", config.Certificates[0].Leaf.DNSNames, "end", c.end())
}

// end is the time at which the certificate in use ends.
func (c *Certificates) end() time.Time { return c.config.Load().Certificates[0].Leaf.NotAfter }

// keep looks at the files until the context ends.
func (c *Certificates) keep(ctx context.Context) {
	ticks := time.NewTicker(readAgain)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			c.look()
		}
	}
}

// server is the configuration for a listener: each connection gets the one of its time.
func (c *Certificates) server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.config.Load(), nil }}
}
