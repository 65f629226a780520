package driver

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/driverpb"
)

const (
	startTimeout = 30 * time.Second // for a start with its first Describe, which may look at many interpreters
	leaveTimeout = 2 * time.Second  // for a driver that was asked to leave
)

// Options says how a driver is opened.
type Options struct {
	// Dir is where the sockets are: a directory of ours with mode 0700, made when it does not exist. What a
	// killed host left in it is the caller's to remove. Its path has at most 69 bytes.
	Dir string
	// Env is what the driver gets of an environment, as "KEY=value", besides a plain PATH and LANG. Nothing
	// of the host's environment is passed on.
	Env []string
	// Log gets what the driver logs; nil for slog.Default.
	Log *slog.Logger
	// Stdout and Stderr get a copy of what the program writes there, as it comes; nil for none. They are for
	// those who judge drivers.
	Stdout, Stderr io.Writer
}

// Client is a running driver: a core.Driver, with its Parts. It is safe for concurrent use. Every error of
// its methods, and of those of its parts, is a *core.Error.
type Client struct {
	name        string // file name, for messages
	process     *process
	plugin      *goplugin.Client
	driver      driverpb.DriverClient
	installer   driverpb.InstallerClient
	description core.Description
	closing     atomic.Bool
	cleaned     chan struct{} // closed after the process has ended and everything of it is gone
}

var _ core.Driver = (*Client)(nil)

// Open starts the driver's program and asks it for its description. It takes 30 s at most, or until ctx ends;
// later the end of ctx means nothing to the client. The caller closes the client. The driver dies with this
// process, whatever kills it.
func Open(ctx context.Context, path string, options Options) (*Client, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultWorker, "the driver's path %q has no absolute form: %w", path, err)
	}
	if err := checkProgram(path); err != nil {
		return nil, err
	}
	if err := checkDir(options.Dir); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	c := &Client{name: filepath.Base(path), cleaned: make(chan struct{})}
	conn, err := c.start(ctx, path, options)
	if err != nil {
		return nil, err
	}
	c.driver, c.installer = driverpb.NewDriverClient(conn), driverpb.NewInstallerClient(conn)
	if c.description, err = c.Describe(ctx); err == nil && c.process.release() {
		return c, nil
	}
	var said *core.Error
	if errors.As(err, &said) && errors.Is(said.Err, context.DeadlineExceeded) {
		<-ctx.Done() // gRPC keeps the deadline by a clock of its own
	}
	if ctx.Err() != nil || !errors.As(err, &said) || said.Kind == core.KindUnavailable {
		said = diagnoseStart(ctx, c.process, err) // otherwise these are the driver's own words about its machine
	}
	c.Close()
	return nil, said
}

// start brings the program to where it answers calls.
//
// There is no TLS on the wire (go-plugin's AutoMTLS): the socket is in a directory that only we and root may
// enter, and both could read the keys out of memory. Without it the start is shorter and a driver in another
// language needs no TLS either.
func (c *Client) start(ctx context.Context, path string, options Options) (*grpc.ClientConn, error) {
	lines := newLineLog(cmp.Or(options.Log, slog.Default()).With("driver", c.name))
	// What a driver prints through os.Stdout and os.Stderr while it serves comes over the wire.
	printed, print := io.Pipe()
	go newLineLog(lines.log).read(printed)

	var sockets string
	c.plugin = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: versions(nil, previousVersion, currentVersion),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     startTimeout,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: options.Dir},
		Logger:           hclog.NewNullLogger(), // it would tell again what we tell better
		SyncStdout:       print,
		SyncStderr:       print,
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, dir string) (runner.Runner, error) {
			sockets = dir
			c.process = newProcess(ctx, path, dir, slices.Concat(environment, options.Env, spec.Env), lines)
			c.process.stdoutCopy, c.process.stderrCopy = options.Stdout, options.Stderr
			return c.process, nil
		},
	})
	clean := func() {
		c.plugin.Kill() // of a dead process: closes the connection and ends go-plugin's goroutines
		print.Close()
		os.RemoveAll(sockets)
		close(c.cleaned)
	}
	protocol, err := c.plugin.Client()
	switch {
	case c.process == nil: // no directory for the socket
		clean()
		return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "the driver %s cannot be started: %w", path, err)
	case c.process.startErr != nil:
		clean()
		return nil, diagnoseStart(ctx, c.process, err)
	}
	go func() {
		<-c.process.done
		clean()
		c.process.close()
	}()
	if err == nil {
		var conn any
		if conn, err = protocol.Dispense(pluginName); err == nil {
			return conn.(*grpc.ClientConn), nil
		}
	}
	// A moment for a program that is ending by itself: how it ends is the better diagnosis.
	select {
	case <-c.process.done:
	case <-time.After(drain):
	}
	e := diagnoseStart(ctx, c.process, err)
	c.Close()
	return nil, e
}

// checkDir makes sure that nobody else can reach a socket in dir.
func checkDir(dir string) *core.Error {
	const longest = 107 - len("/plugin-dir4294967295/plugin4294967295") // sockaddr_un, and the names that go-plugin makes
	if !filepath.IsAbs(dir) || len(dir) > longest {
		return core.Errorf(core.KindInvalid, core.FaultWorker, "the directory for driver sockets %q must be an absolute path of at most %d bytes", dir, longest)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return core.Errorf(core.KindInvalid, core.FaultWorker, "the directory for driver sockets cannot be made: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return core.Errorf(core.KindInvalid, core.FaultWorker, "the directory for driver sockets cannot be examined: %w", err)
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return core.Errorf(core.KindInvalid, core.FaultWorker,
			"the directory for driver sockets %s is open to others (owner %d, mode %04o): chown it to user %d and chmod 700 it",
			dir, owner, info.Mode().Perm(), os.Geteuid())
	}
	return nil
}

// Description returns what the driver said of itself when it was opened.
func (c *Client) Description() core.Description { return c.description }

// Parts returns the optional parts of the driver, by the capabilities in its description.
func (c *Client) Parts() core.Parts { return core.PartsOf(parts{c}, c.description.Capabilities) }

// PID returns the driver's process, for people.
func (c *Client) PID() int { return c.process.pid() }

// Done is closed when the driver has ended, by itself or by Close.
func (c *Client) Done() <-chan struct{} { return c.process.done }

// Err returns why the driver ended, and nil while it lives.
func (c *Client) Err() error {
	select {
	case <-c.Done():
	default:
		return nil
	}
	if c.closing.Load() {
		return core.Errorf(core.KindUnavailable, core.FaultWorker, "the driver %s was closed", c.name).Again()
	}
	return core.Errorf(core.KindUnavailable, core.FaultDriver, "the driver %s (pid %d) died: %s%s",
		c.name, c.PID(), c.process.exit, c.process.log.lastWords()).Again()
}

// Close asks the driver to leave, kills it when it has not after two seconds, and returns when it is gone.
// Calls under way end with KindUnavailable. It may be called again.
func (c *Client) Close() {
	c.closing.CompareAndSwap(false, c.alive())
	c.process.ask()
	select {
	case <-c.process.done:
	case <-time.After(leaveTimeout):
		c.process.kill()
	}
	<-c.cleaned
}

func (c *Client) alive() bool {
	select {
	case <-c.Done():
		return false
	default:
		return true
	}
}

// failure turns the error of a call into a core.Error. The end of a connection is seen before the end of the
// process that held it; what the latter tells is worth a moment.
func (c *Client) failure(ctx context.Context, err error) error {
	e := decodeError(ctx, c.name, err)
	if e.Kind != core.KindUnavailable || e.Err == nil {
		return e
	}
	select {
	case <-c.Done():
		return c.Err()
	case <-time.After(leaveTimeout): // a machine that does much else takes its time
		return e
	}
}

// Protocol returns the version of the protocol that the driver speaks.
func (c *Client) Protocol() int { return c.plugin.NegotiatedVersion() }

// Describe implements core.Driver.
func (c *Client) Describe(ctx context.Context) (core.Description, error) {
	pb, err := c.driver.Describe(ctx, &driverpb.DescribeRequest{})
	if err != nil {
		return core.Description{}, c.failure(ctx, err)
	}
	return decodeDescription(pb), nil
}

// Preload implements core.Driver.
func (c *Client) Preload(ctx context.Context, id core.NodeID, runtime core.RuntimeID, door core.Door) error {
	_, err := c.driver.Preload(ctx, &driverpb.PreloadRequest{Id: string(id), Runtime: string(runtime), Sandbox: encodeDoor(door)})
	if err != nil {
		return c.failure(ctx, err)
	}
	return nil
}

// Fork implements core.Driver.
func (c *Client) Fork(ctx context.Context, id, parent core.NodeID, door core.Door) error {
	_, err := c.driver.Fork(ctx, &driverpb.ForkRequest{Id: string(id), Parent: string(parent), Sandbox: encodeDoor(door)})
	if err != nil {
		return c.failure(ctx, err)
	}
	return nil
}

// Import implements core.Driver.
func (c *Client) Import(ctx context.Context, id core.NodeID, load core.Load) (core.Report, error) {
	pb, err := c.driver.Import(ctx, &driverpb.ImportRequest{Id: string(id), Load: encodeLoad(load)})
	if err != nil {
		return core.Report{}, c.failure(ctx, err)
	}
	report := decodeReport(pb)
	if load.Watch && c.Protocol() < currentVersion { // it says nothing of that
		report.Asks = []string{core.AnyPackage, core.InDirectory}
	}
	return report, nil
}
