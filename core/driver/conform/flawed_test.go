package conform_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

// The test binary is also a driver with a flaw: started under a driver's name, it passes every call on to a
// real driver, and breaks the protocol on the way.
const (
	realEnv    = "KIT_REAL"    // program of the real driver
	flawEnv    = "KIT_FLAW"    // "leaky" or "careless"
	socketsEnv = "KIT_SOCKETS" // directory for the real driver's sockets
)

func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), driver.Prefix) {
		serveFlawed()
	}
	os.Exit(m.Run())
}

func serveFlawed() {
	env := []string{}
	if libexec := os.Getenv("PIPSQUEAK_LIBEXEC"); libexec != "" {
		env = append(env, "PIPSQUEAK_LIBEXEC="+libexec)
	}
	inner, err := driver.Open(context.Background(), os.Getenv(realEnv), driver.Options{Dir: os.Getenv(socketsEnv), Env: env,
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	switch os.Getenv(flawEnv) {
	case "leaky":
		driver.Serve(&leaky{proxy: through(inner)})
	case "careless":
		driver.Serve(&careless{inner: inner, stdout: os.NewFile(1, "stdout")})
	}
	driver.Serve(through(inner))
}

// proxy is a driver behind another program, with the parts that it has.
type proxy struct {
	core.Driver
	core.Installer
	core.Builder
	core.Compiler
	core.Scanner
}

func through(inner *driver.Client) proxy {
	parts := inner.Parts()
	return proxy{inner, parts.Installer, parts.Builder, parts.Compiler, parts.Scanner}
}

// leaky keeps a descriptor for each fork. (Its zygotes share their randomness besides: see sameRandomness.)
type leaky struct {
	proxy
	mu   sync.Mutex
	kept []*os.File
}

func (l *leaky) Fork(ctx context.Context, id, parent core.NodeID, door core.Door) error {
	if f, err := os.Open(os.DevNull); err == nil {
		l.mu.Lock()
		l.kept = append(l.kept, f)
		l.mu.Unlock()
	}
	return l.proxy.Fork(ctx, id, parent, door)
}

// careless prints on the stdout that is the handshake's, forgets the kinds of errors, and does not hear that
// a call is given up.
type careless struct {
	inner  *driver.Client
	stdout *os.File
}

func bare(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(err.Error())
}

func (c *careless) Describe(ctx context.Context) (core.Description, error) {
	return c.inner.Describe(ctx)
}

func (c *careless) Preload(ctx context.Context, id core.NodeID, runtime core.RuntimeID, door core.Door) error {
	return bare(c.inner.Preload(context.WithoutCancel(ctx), id, runtime, door))
}

func (c *careless) Fork(ctx context.Context, id, parent core.NodeID, door core.Door) error {
	fmt.Fprintln(c.stdout, "forking", id)
	return bare(c.inner.Fork(context.WithoutCancel(ctx), id, parent, door))
}

func (c *careless) Import(ctx context.Context, id core.NodeID, load core.Load) (core.Report, error) {
	r, err := c.inner.Import(context.WithoutCancel(ctx), id, load)
	r.Asks = nil // it forgets what code looks for
	return r, bare(err)
}

func (c *careless) Resolve(ctx context.Context, request core.ResolveRequest) (core.Resolution, error) {
	r, err := c.inner.Parts().Installer.Resolve(context.WithoutCancel(ctx), request)
	return r, bare(err)
}

func (c *careless) Install(ctx context.Context, request core.InstallRequest, progress func(core.Progress)) ([]core.Receipt, error) {
	receipts, err := c.inner.Parts().Installer.Install(context.WithoutCancel(ctx), request, progress)
	return receipts, bare(err)
}
