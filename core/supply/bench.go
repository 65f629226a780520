package supply

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/probe"
	"github.com/pipsqueak-faas/pipsqueak/core/relay"
)

// bench is where the third-party programs of a deploy run: each installer in a sandbox of its own, with its
// last words, its bound of the disk, and the relay to its registries. All methods may be called from many
// goroutines at once.
type bench struct {
	log        *slog.Logger
	create     func(context.Context, core.SandboxConfig) (Sandbox, error)
	registries []string // that installers reach besides those of their runtimes
	keepFree   int64    // bytes of the disk, as in Config
	lastWords  lastWords

	mu      sync.Mutex
	counter int // of sandboxes
}

// Sandbox is where an installer, or a process of a probe, lives.
type Sandbox interface {
	probe.Sandbox
	// Exit says, after Done, how its process ended.
	Exit() core.Exit
}

// task is one step of third-party programs.
type task struct {
	fn       *core.Function // that it is for, whose packages are seen
	runtime  core.Runtime
	writable []core.Mount
	shown    []core.Mount // besides the writable ones and the runtime's tools
	network  bool         // whether it reaches the registries
	timeout  time.Duration
	run      func(context.Context, core.Door) error
}

// do runs a task in a sandbox of its own, which is gone when do returns. The error says what the installer
// said last, what it was refused, and whose fault it is.
func (b *bench) do(ctx context.Context, t task) error {
	for _, mount := range t.writable {
		if err := openDirectories(mount.Source); err != nil {
			return core.Errorf(core.KindInternal, core.FaultWorker, "preparing %s: %w", mount.Source, err)
		}
	}
	var registries []string
	if t.network {
		registries = slices.Concat(t.runtime.Registries, b.registries)
	}
	if _, err := relay.Addresses(registries); err != nil {
		return err
	}
	id := b.name("i")
	b.lastWords.expect(id)
	s, err := b.create(ctx, core.SandboxConfig{ID: id, Role: core.RoleInstaller, Runtime: t.runtime, Registries: registries, Packages: t.fn.Packages,
		Mounts: slices.Concat(t.writable, t.shown, t.runtime.Tools), Function: t.fn.Name, Limits: t.fn.Limits})
	if err != nil {
		b.lastWords.forget(id)
		return err
	}
	err = t.runIn(ctx, s, b.keepFree)
	s.Kill()
	<-s.Done()
	said, words := b.lastWords.take(id)
	err = withoutCredentials(explainUnreached(explainRefused(err, words.refused), words.unreached))
	if err != nil && s.Exit().OutOfMemory {
		return core.Errorf(core.KindInstall, core.FaultCaller, "installing the packages of %s takes more memory than an installation may use", t.fn.Name)
	}
	if e := core.AsError(err); err != nil && said != "" && e.Fault != core.FaultCaller {
		e.Message += "; it said: " + said
		return e
	}
	return err
}

// runIn runs the task in a sandbox, and ends it when it takes too much time or disk.
func (t task) runIn(ctx context.Context, s Sandbox, keepFree int64) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	var watches []*diskWatch
	for _, mount := range t.writable {
		watches = append(watches, watchDisk(t.fn.Name, mount.Source, maxInstall, keepFree, s.Kill))
	}
	err := t.run(ctx, s.Door())
	if err != nil && ctx.Err() == nil {
		err = explainEntry(err, s)
	}
	for _, watch := range watches {
		if e := watch.stop(); e != nil {
			err = e
		}
	}
	return err
}

// name returns a name for a sandbox that no other one has.
func (b *bench) name(prefix string) core.NodeID {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counter++
	return core.NodeID(fmt.Sprintf("%s%d", prefix, b.counter))
}

// probed makes a sandbox for a process of a probe.
func (b *bench) probed(ctx context.Context, config core.SandboxConfig) (probe.Sandbox, error) {
	config.ID = b.name("probe-")
	return b.create(ctx, config)
}

// collect reads the output of an installer, or of a trial that is under way, and keeps its end. It reports
// whether the output is of one of them: else nothing has been read.
func (b *bench) collect(config core.SandboxConfig, output io.Reader) bool {
	id := config.ID
	if config.Role != core.RoleInstaller {
		if id = trialID(config.Function, config.Version); !b.lastWords.expects(id) {
			return false
		}
	}
	b.lastWords.collect(id, output)
	return true
}

// openRelay lets an installer reach its registries, and remembers what else it tries.
func (b *bench) openRelay(config core.SandboxConfig, listen func(address string) (net.Listener, error)) (io.Closer, error) {
	addresses, err := relay.Addresses(config.Registries)
	if err != nil {
		return nil, err
	}
	r, err := relay.Open(addresses, listen, func(address string) {
		if b.lastWords.refuse(config.ID, address) {
			b.log.Warn("install", "fn", config.Function, "node", config.ID, "err", "it tried to reach "+address+", which is no registry")
		}
	}, func(address string, failed error) { b.lastWords.asked(config.ID, address, failed) })
	if err != nil {
		b.log.Error("install", "fn", config.Function, "node", config.ID, "err", err)
		return nil, err
	}
	return r, nil
}

// openDirectories lets everybody write into the directories of a staged tree: only the sandbox that shows it
// can reach it, under a user id that is not known before.
func openDirectories(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o777)
	})
}
