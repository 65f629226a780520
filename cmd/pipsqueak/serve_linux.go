package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipsqueak/osv"
	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/access"
	"github.com/pipsqueak-faas/pipsqueak/core/egress"
	"github.com/pipsqueak-faas/pipsqueak/core/scan"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
	v1 "github.com/pipsqueak-faas/pipsqueak/gateway/v1"
	"github.com/pipsqueak-faas/pipsqueak/gateway/web"
)

func (p *program) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve functions on this machine",
		Long: `Serve functions on this machine until interrupted. It needs root, to make sandboxes; 'pipsqueak
doctor' checks whether the machine has everything else. Deployed functions stay in the data
directory and are there again after a restart.

Once it accepts requests it prints one line, 'listening on http://ADDRESS' (https:// with --tls-cert), to
standard output; its log goes to standard error.

As long as nobody has made a token, it listens on this machine alone, and whoever reaches the address
can deploy and run code. Root makes the first token over the socket in the data directory ('pipsqueak
token create'). From then on every request over TCP needs one.`,
		Example: "  sudo pipsqueak serve\n  sudo pipsqueak serve --listen 127.0.0.1:9000 --data /srv/pipsqueak --memory 2G",
		GroupID: groupServer,
		Args:    cobra.NoArgs,
	}
	flags := newServeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := p.needRoot(cmd); err != nil {
			return err
		}
		flags.config.Log = slog.New(slog.NewTextHandler(p.err, nil))
		if err := flags.read(cmd); err != nil {
			return err
		}
		guard, err := openGuard(*flags.config, *flags.each)
		if err != nil {
			return err
		}
		return p.serveAt(cmd.Context(), *flags.listen, *flags.hosts, flags.files, *flags.config, guard, settingsOf(cmd))
	}
	return cmd
}

// serveFlags are those of serve. Those that say what a worker is opened with go to its config.
type serveFlags struct {
	listen             *string
	hosts              *[]string
	files              gateway.TLSFiles
	config             *workerConfig
	policy, secretKeys *string
	memory             size
	unused             age
	limit, free        size
	each               *float64
	vulnerabilities    *vulnerabilityPolicy
	network, zygotes   *string
	allow              *[]string
}

// Which zygotes a worker has.
const zygotesAll, zygotesRoots = "all", "roots"

func newServeFlags(cmd *cobra.Command) *serveFlags {
	all := cmd.Flags()
	f := &serveFlags{config: placeFlags(cmd), unused: age(30 * 24 * time.Hour)}
	f.listen = all.String("listen", "127.0.0.1:8080", "`ADDRESS` to serve at")
	f.hosts = all.StringSlice("host", nil, "`NAME` that clients call this worker by, besides IP addresses, localhost and the name in --listen; repeat for more")
	all.StringVar(&f.files.Cert, "tls-cert", "", "`FILE` of the certificate to serve TLS with, in PEM; it is read again when it changes")
	all.StringVar(&f.files.Key, "tls-key", "", "`FILE` of the certificate's key")
	all.StringVar(&f.files.ClientCA, "tls-client-ca", "", "`FILE` of authorities: only clients with a certificate of one of them are served")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	f.policy = all.String("scan-policy", "", "`FILE` of the policy for scans of a deploy's packages; without it they are not scanned")
	all.Var(&f.memory, "memory", "memory for all functions together, such as 512M or 2G; without it a share of this machine's")
	all.StringVar(&f.config.RequireSigned, "require-signed", "", "`KEYS` is a file of public keys, or a directory of such files: deploy only what one of them has signed")
	f.secretKeys = all.String("secret-keys", "", "`FILE` of the keys for secrets, one a line, the first for new ones; also from "+secretKeysVariable+
		" or the systemd credential "+secretKeysCredential+"; without them one that the worker makes in its data directory")
	f.each = all.Float64("client-rate", 0, "`REQUESTS` a second that one client may send, a token or an address without one; without it any number")
	f.vulnerabilities = vulnerabilityFlags(cmd)
	all.Var(&f.unused, "package-age", "how long unused packages are kept, such as 12h or 30d")
	all.Var(&f.limit, "store-limit", "disk space of packages above which unused ones are removed earlier, such as 20G; without it half of the file system")
	all.Var(&f.free, "keep-free", "disk space that deploys leave free, such as 10G; without it 1 GiB or a twentieth, whichever is less")
	all.BoolVar(&f.config.Events, "events", false, "write a line to the log for each event: function, version, request id, start, time, status, bytes")
	f.network = all.String("network", string(core.NetworkEgress), "`WHAT` functions reach at most: none, egress (the internet), or host (whatever this machine reaches); without it none on a machine that cannot connect them")
	f.zygotes = all.String("zygotes", zygotesAll, "`WHICH` zygotes there are: all, or roots, which have imported no packages, so that each instance imports its own")
	f.allow = all.StringSlice("egress-allow", nil, "`CIDR` that functions reach besides the internet, such as 10.2.0.0/16; repeat for more")
	return f
}

// read makes the config of what the flags say. The config has its log already.
func (f *serveFlags) read(cmd *cobra.Command) (err error) {
	config := f.config
	for _, name := range *f.hosts {
		if name == "" || strings.ContainsAny(name, "/: ") {
			return core.Errorf(core.KindInvalid, core.FaultCaller, "--host %q is no name of a host: give it without scheme and port, such as worker1.example", name)
		}
	}
	if f.files.ClientCA != "" && f.files.Cert == "" {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "--tls-client-ca needs --tls-cert and --tls-key: without TLS clients show no certificate")
	}
	config.Memory, config.PackageAge, config.StoreLimit, config.KeepFree = int64(f.memory), max(time.Duration(f.unused), 1), int64(f.limit), int64(f.free) // 0 is for the usual
	if config.Network = core.Network(*f.network); !slices.Contains(core.Networks, config.Network) {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "--network %q is none of none, egress and host", *f.network)
	}
	if *f.zygotes != zygotesAll && *f.zygotes != zygotesRoots {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "--zygotes %q is neither all nor roots", *f.zygotes)
	}
	config.RootsOnly = *f.zygotes == zygotesRoots
	config.NetworkIfAble = !cmd.Flags().Changed("network") && !cmd.Flags().Changed("egress-allow")
	if config.EgressAllow, err = egress.ParseAllow(*f.allow); err != nil {
		return err
	}
	if len(*f.allow) > 0 && config.Network == core.NetworkNone {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "--egress-allow needs --network egress, not none: with that functions reach nothing")
	}
	if config.Vulnerabilities, config.Refuse, err = f.vulnerabilities.open(cmd, config.Log); err != nil {
		return err
	}
	if config.SecretKeys, err = loadSecretKeys(*f.secretKeys); err != nil {
		return err
	}
	if *f.policy != "" {
		if config.Policy, err = scan.Load(*f.policy); err != nil {
			return err
		}
	}
	return nil
}

// boundMemory has the garbage collector work harder when the worker's own memory exceeds twice what it needs
// after its start, and what connections and events may have. A flood of requests that are refused leaves as
// much garbage as it likes otherwise. GOMEMLIMIT overrides it.
func boundMemory() {
	const connections = 128 << 20
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	debug.SetMemoryLimit(2*int64(now.HeapAlloc) + connections + 3*core.EventBudget().Total())
}

// calmMonitor has the thread of Go's runtime that watches the others wake once a millisecond, and not 14
// times, while any of them works. That is a tenth of the processor time of a start, whose worker does little
// and often. Threads that it makes, and what these start, have its timer slack too; a sandbox's launcher
// takes it back.
func calmMonitor() error {
	tasks, err := os.Open("/proc/self/task")
	if err != nil {
		return err
	}
	defer tasks.Close()
	threads, err := tasks.Readdirnames(2) // by age: the first one, and the monitor, which the runtime makes before it runs anything of a program
	if err != nil || len(threads) < 2 {
		return err
	}
	return os.WriteFile("/proc/"+threads[1]+"/timerslack_ns", []byte("1000000"), 0)
}

// needRoot refuses a command that makes sandboxes to whoever may not, before it has done anything.
func (p *program) needRoot(cmd *cobra.Command) error {
	if p.user == 0 {
		return nil
	}
	return core.Errorf(core.KindInvalid, core.FaultCaller, "'%s' makes sandboxes, for which it needs root, and you are user %d: run it with sudo, or as a service (docs/operations.md)", cmd.CommandPath(), p.user)
}

// placeFlags gives a command the flags that say where a worker finds things.
func placeFlags(cmd *cobra.Command) *workerConfig {
	config := workerConfig{PackageRule: osv.Rule}
	cmd.Flags().StringVar(&config.Data, "data", dataDir, "`DIR` in which everything is kept")
	cmd.Flags().StringVar(&config.Drivers, "drivers", besideProgram(), "`DIR` of the drivers, programs called pipsqueak-driver-<language>")
	return &config
}

// besideProgram returns the directory of this program.
func besideProgram() string {
	self, err := os.Executable()
	if err != nil {
		return "."
	}
	return filepath.Dir(self)
}

// listen waits for an address for as long as a worker that was killed may still have it: the kernel frees its
// memory first, which takes a second or so.
func listen(ctx context.Context, address string) (listener net.Listener, err error) {
	for range 20 {
		if listener, err = net.Listen("tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
	return listener, err
}

// serveAt listens, opens the worker, and serves it until the context ends. It listens first, because opening
// a worker ends what is left of another one. The hosts are names that clients use besides the one in the
// address.
func (p *program) serveAt(ctx context.Context, address string, hosts []string, files gateway.TLSFiles, config workerConfig, guard gateway.Guard, settings map[string]string) (err error) {
	scheme, certificates := "http", (*gateway.Certificates)(nil)
	if files.Cert != "" {
		scheme = "https"
		if certificates, err = gateway.LoadCertificates(files, config.Log); err != nil {
			return err
		}
	}
	listener, err := listen(ctx, address)
	if err != nil {
		return core.Errorf(core.KindUnavailable, core.FaultCaller, "cannot listen at %s: %w; --listen names another address", address, err)
	}
	defer listener.Close()
	if err := mayListen(listener, guard.Tokens); err != nil {
		return err
	}
	service, closeWorker, err := p.open(ctx, config)
	if err != nil {
		return err
	}
	stopped := make(chan time.Time, 1)
	defer context.AfterFunc(ctx, func() { stopped <- time.Now() })()
	defer func() {
		began := time.Now()
		if ctx.Err() != nil {
			began = <-stopped
		}
		// Events whose callers have gone away have the same ten seconds, from the signal on.
		end, cancel := context.WithDeadline(context.WithoutCancel(ctx), began.Add(10*time.Second))
		defer cancel()
		if closing := closeWorker(end); err == nil {
			err = closing
		}
	}()
	defer func() { err = errors.Join(err, guard.Tokens.Close(), guard.Audit.Close()) }()
	listeners := []net.Listener{listener}
	socket, failed := listenSocket(config.Data)
	if failed == nil {
		listeners = append(listeners, socket)
		defer socket.Close()
	}
	tell(config, scheme+"://"+listener.Addr().String(), guard.Tokens, failed)
	guard.Audit.Write(access.Operator(os.Getuid()), "serve", settings, nil)
	// From here on connections wait to be accepted, so whoever reads this line can send requests.
	if _, err := fmt.Fprintf(p.out, "listening on %s://%s\n", scheme, listener.Addr()); err != nil {
		return core.Errorf(core.KindUnavailable, core.FaultCaller, "cannot print the address that is served: %w", err)
	}
	boundMemory()
	if err := calmMonitor(); err != nil {
		config.Log.Debug("serve", "err", err, "effect", "a start takes a tenth more of the processors")
	}
	if name, _, err := net.SplitHostPort(address); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	front := newFront(service, guard, config)
	front.TLS(certificates)
	front.Hosts(hosts...)
	return front.Serve(ctx, listeners...)
}

// newFront is the gateway of a worker, with all that it serves.
func newFront(service core.Service, guard gateway.Guard, config workerConfig) *gateway.Gateway {
	front := gateway.New(access.Restrict(service, guard.Tokens, guard.Audit), config.Log)
	front.Guard(guard)
	v1.Mount(front)
	web.Mount(front)
	if config.Events {
		front.LogEvents()
	}
	return front
}
