package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
	"github.com/pipsqueak-faas/pipsqueak/core/egress"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// Examine reports whether a worker with this configuration could serve on this machine, and what to fix. It
// starts each driver, and for each runtime a zygote and a fork of it in sandboxes; nothing of that is left.
// It makes no directory for data.
func Examine(ctx context.Context, config Config) []core.Finding {
	place := runDir
	if os.Geteuid() != 0 {
		place = os.TempDir()
	}
	run, done, err := doctorDir(place)
	if err != nil {
		return append(examineLibexec(config.Drivers), examineMemory(), examineDescriptors(), examineData(config.Data),
			core.Finding{Name: "run directory", Status: core.StatusFail, Detail: err.Error() + "; sandboxes and drivers were not tried",
				Fix: "have " + place + " writable, best a tmpfs, for sockets"})
	}
	defer done()
	found := sandbox.Examine(ctx, run)
	found = append(found, examineLibexec(config.Drivers)...)
	broken := slices.ContainsFunc(found, func(f core.Finding) bool { return f.Status == core.StatusFail })
	found = append(found, examineMemory(), examineDescriptors(), examineData(config.Data))
	if !broken {
		found = append(found, egress.Examine(linkName(run)))
	}

	t := trial{err: errors.New("not tried, for sandboxes cannot be made")}
	if !broken {
		t.open(run)
		defer t.close()
	}
	options := driver.Options{Dir: filepath.Join(run, "drivers"), Env: config.Env, Log: slog.New(slog.DiscardHandler)}
	return append(found, driver.Examine(ctx, config.Drivers, options, t.runtime)...)
}

// doctorDir makes a directory for one examination, of which several may run at once, and removes what those
// have left that were killed: who lives has his directory locked. The caller calls done.
func doctorDir(place string) (dir string, done func(), err error) {
	const prefix = "pipsqueak-doctor-"
	others, _ := filepath.Glob(filepath.Join(place, prefix+"*"))
	for _, other := range others {
		if lock, err := lockDir(other); err == nil {
			sandbox.End(filepath.Base(other))
			_ = os.RemoveAll(other)
			lock.Close()
		}
	}
	for range 3 { // another one that begins may have removed it before it was locked
		if dir, err = os.MkdirTemp(place, prefix); err != nil {
			return "", nil, err
		}
		var lock *os.File
		if lock, err = lockDir(dir); err == nil {
			return dir, func() { _ = os.RemoveAll(dir); lock.Close() }, nil
		}
	}
	return "", nil, err
}

// lockDir locks a directory that nobody else has locked, until the file is closed or the process ends.
func lockDir(dir string) (*os.File, error) {
	lock, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_, err = os.Lstat(dir) // who has just unlocked it may have removed it
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// Free space of the data directory, in bytes, that is enough for packages, and that is too little for
// anything.
const (
	enoughSpace = 1 << 30
	leastSpace  = 64 << 20
)

func examineData(dir string) core.Finding {
	f := core.Finding{Name: "data directory", Status: core.StatusFail}
	dir, err := filepath.Abs(dir)
	if err != nil {
		f.Detail, f.Fix = err.Error(), "name the directory with --data as an absolute path"
		return f
	}
	there := dir
	for {
		info, err := os.Stat(there)
		if err == nil && info.IsDir() {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || there == "/" {
			f.Detail, f.Fix = fmt.Sprintf("%s is no directory that can be used (%v)", there, err), "name another one with --data"
			return f
		}
		there = filepath.Dir(there)
	}
	var disk unix.Statfs_t
	if err := errors.Join(unix.Access(there, unix.W_OK|unix.X_OK), unix.Statfs(there, &disk)); err != nil {
		f.Detail, f.Fix = fmt.Sprintf("%s cannot be written to: %v", there, err), "run as root, or name another one with --data"
		return f
	}
	free := int64(disk.Bavail) * disk.Bsize
	f.Detail = fmt.Sprintf("%s, %d MiB free", dir, free>>20)
	switch {
	case disk.Flags&unix.ST_RDONLY != 0:
		f.Detail, f.Fix = dir+" is on a disk that is mounted read-only", "name another one with --data"
	case disk.Flags&unix.ST_NOEXEC != 0:
		f.Detail, f.Fix = dir+" is on a disk that is mounted noexec: packages with machine code cannot be loaded", "name another one with --data"
	case free < leastSpace:
		f.Fix = "make room, or name another one with --data"
	case free < enoughSpace:
		f.Status, f.Fix = core.StatusWarn, "make room, or name another one with --data: some packages have hundreds of megabytes"
	default:
		f.Status = core.StatusOK
	}
	return f
}

// examineLibexec looks for what drivers start and load.
func examineLibexec(drivers string) []core.Finding {
	dir := os.Getenv("PIPSQUEAK_LIBEXEC")
	if dir == "" {
		dir = filepath.Join(drivers, "libexec")
	}
	var found []core.Finding
	for _, file := range []struct{ name, file string }{{"launcher", launch.Launcher}, {"library", launch.Library}} {
		f := core.Finding{Name: file.name, Status: core.StatusOK, Detail: filepath.Join(dir, file.file)}
		info, err := os.Stat(f.Detail)
		switch {
		case err != nil:
			f.Status, f.Detail, f.Fix = core.StatusFail, err.Error(), "make build, or name the directory in PIPSQUEAK_LIBEXEC"
		case file.file == launch.Launcher && info.Mode()&0o111 == 0:
			f.Status, f.Detail, f.Fix = core.StatusFail, f.Detail+" is not executable", "chmod 755 "+f.Detail
		}
		found = append(found, f)
	}
	return found
}

// trial makes a zygote and a fork of it for each runtime.
type trial struct {
	host *sandbox.Host
	err  error // why there is no host
	n    int   // sandboxes made
	said tail  // by the processes in them
}

// tail keeps the last line of what several processes say.
type tail struct {
	mu   sync.Mutex
	line string
}

func (t *tail) collect(_ core.SandboxConfig, _ string, output *sandbox.Output) {
	for lines := bufio.NewScanner(output); lines.Scan(); {
		t.mu.Lock()
		t.line = strings.TrimSpace(lines.Text())
		t.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, output) // after a line that is too long
}

// take returns the line and forgets it.
func (t *tail) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := t.line
	t.line = ""
	return line
}

func (t *trial) open(run string) {
	t.host, t.err = sandbox.Open(sandbox.Config{
		Dir: filepath.Join(run, "sandboxes"), Name: filepath.Base(run), Log: slog.New(slog.DiscardHandler),
		Output: t.said.collect,
	})
}

func (t *trial) close() {
	if t.host != nil {
		_ = t.host.Close() // what it could not remove, the next worker tells
	}
}

// runtime reports how the runtime starts in a sandbox.
func (t *trial) runtime(ctx context.Context, d driver.Running, r core.Runtime) core.Finding {
	f := core.Finding{Name: string(r.ID), Status: core.StatusFail, Detail: r.Version + " at " + r.Path}
	if t.err != nil {
		f.Status, f.Detail, f.Fix = core.StatusWarn, f.Detail+"; "+t.err.Error(), "fix what failed, and run doctor as root"
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	t.said.take() // of the runtime before
	began := time.Now()
	var parent core.NodeID
	forks := d.Description().Can(core.CapabilityFork)
	preloaded, err := t.start(ctx, core.SandboxConfig{Role: core.RoleZygote, Forks: forks, Runtime: r}, func(s *sandbox.Sandbox) error {
		parent = s.Door().ID
		return d.Preload(ctx, parent, r.ID, s.Door())
	})
	if err == nil {
		defer preloaded.Kill()
		preload := time.Since(began)
		began = time.Now()
		var forked *sandbox.Sandbox
		forked, err = t.start(ctx, core.SandboxConfig{Role: core.RoleInstance, Parent: parent, Runtime: r, Function: "doctor", Limits: core.DefaultLimits()}, func(s *sandbox.Sandbox) error {
			if forks {
				return s.Fork(ctx)
			}
			return d.Fork(ctx, s.Door().ID, parent, s.Door())
		})
		if err == nil {
			forked.Kill()
			f.Status = core.StatusOK
			f.Detail += fmt.Sprintf(", a zygote in %s, a fork of it in %s", preload.Round(time.Millisecond), time.Since(began).Round(100*time.Microsecond))
			return f
		}
	}
	f.Detail += ", does not start: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	if line := t.said.take(); line != "" {
		f.Detail += "; it said: " + line
	}
	f.Fix = "the message names the step that failed; in a container, run it with --privileged"
	return f
}

// start makes a sandbox and a process in it. The caller ends the sandbox when there is no error.
func (t *trial) start(ctx context.Context, config core.SandboxConfig, enter func(*sandbox.Sandbox) error) (*sandbox.Sandbox, error) {
	t.n++
	config.ID = core.NodeID(fmt.Sprintf("doctor%d", t.n))
	s, err := t.host.Create(ctx, config)
	if err != nil {
		return nil, err
	}
	err = enter(s)
	if _, _, entering := s.Entered(); entering != nil || err != nil {
		s.Kill()
		return nil, errors.Join(entering, err)
	}
	return s, nil
}
