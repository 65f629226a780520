package supply

import (
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// The part of the disk that an installer may take.
const (
	maxInstall = 8 << 30 // bytes that it may add to the directory that it writes to
	keptFree   = 1 << 30 // bytes that deploys leave on the file system unless the operator says how many, or a twentieth of it, whichever is less
)

// How often the disk is looked at. To ask for the free space is cheap, to go through a directory is not: that
// is done when the free space says that the directory may be too large, and now and then besides, and for no
// more than a twentieth of the time.
const (
	lookEvery    = 100 * time.Millisecond
	measureEvery = 5 * time.Second
	measureShare = 20
)

// diskWatch watches what an installation takes of the disk.
type diskWatch struct {
	function string
	dir      string
	limit    int64  // bytes, as maxInstall
	before   int64  // bytes in the directory when it began
	special  string // a path that was no file when the directory was measured last; empty when there was none
	free     int64  // bytes that were free then
	floor    int64  // bytes that have to stay free
	stopped  chan struct{}
	verdict  chan error // one
}

// kept returns how many bytes of a file system deploys leave free.
func kept(keep, total int64) int64 {
	if keep > 0 {
		return keep
	}
	return min(keptFree, total/20)
}

// checkRoom refuses a deploy onto a disk with less free space than deploys leave: without that many deploys
// would fill it, each with its code.
func checkRoom(dir string, keep int64) error {
	free, total := space(dir)
	if keep = kept(keep, total); free >= keep {
		return nil
	}
	return core.Errorf(core.KindExhausted, core.FaultWorker,
		"the disk of the worker is full: %d MiB are free there, and deploys leave %d: remove functions, or free space, or start the worker with --data on a larger disk", free>>20, keep>>20)
}

// watchDisk calls kill as soon as the installation of the function's packages into dir takes too much of the
// disk. It leaves keep bytes free, or half of what was free when it began, if the operator does not say how
// many.
func watchDisk(function, dir string, limit, keep int64, kill func()) *diskWatch {
	d := &diskWatch{function: function, dir: dir, limit: limit, stopped: make(chan struct{}), verdict: make(chan error, 1)}
	d.before, _, _ = measure(dir)
	free, total := space(dir)
	d.free, d.floor = free, kept(keep, total)
	if keep == 0 {
		d.floor = min(d.floor, free/2)
	}
	go d.run(kill)
	return d
}

// stop ends the watch. It returns why the installation was ended, nil when it was not.
func (d *diskWatch) stop() error {
	close(d.stopped)
	return <-d.verdict
}

func (d *diskWatch) run(kill func()) {
	next := time.Now().Add(measureEvery)
	earliest := time.Now()
	for ticker := time.NewTicker(lookEvery); ; {
		select {
		case <-d.stopped:
			ticker.Stop()
			d.verdict <- nil
			return
		case now := <-ticker.C:
			free, _ := space(d.dir)
			var err error
			if free < d.floor {
				err = core.Errorf(core.KindExhausted, core.FaultWorker,
					"the disk of the worker is full: free space there, or start the worker with --data on a larger disk: the packages of %s would leave no more than %d MiB", d.function, free>>20)
			} else if now.After(earliest) && (now.After(next) || d.free-free > d.limit) {
				err = d.measure()
				next, earliest = time.Now().Add(measureEvery), time.Now().Add(measureShare*time.Since(now))
			}
			if err != nil {
				ticker.Stop()
				kill()
				d.verdict <- err
				return
			}
		}
	}
}

// measure reports what the directory has that it must not: too much, or twice in turn the same thing that
// whoever opens it may wait at for ever.
func (d *diskWatch) measure() error {
	bytes, special, kind := measure(d.dir)
	again := special != "" && special == d.special
	d.special = special
	switch {
	case bytes-d.before > d.limit:
		return core.Errorf(core.KindInstall, core.FaultCaller, "installing the packages of %s takes more than %d MiB of disk, the most that an installation may", d.function, d.limit>>20)
	case again:
		return core.Errorf(core.KindInstall, core.FaultCaller, "a program that ran for the deploy of %s has made %q, which is a %s; only files, directories and symbolic links are allowed",
			d.function, special, files.TypeName(kind))
	}
	return nil
}

// space returns how many bytes of a directory's file system are free for others than root, and how many it
// has. It returns as good as endless ones when the file system does not say.
func space(dir string) (free, total int64) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || s.Blocks == 0 {
		return 1 << 62, 1 << 62
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize
}

// measure returns how much of the disk the files in a directory take, each counted once, and the first path
// that is neither a file nor a directory nor a link, with its kind. What is changed meanwhile may count or
// not; nothing outside of the directory does.
func measure(dir string) (sum int64, special string, kind fs.FileMode) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, "", 0
	}
	defer root.Close()
	seen := map[uint64]struct{}{}
	_ = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it has gone meanwhile
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		if special == "" && info.Mode()&(fs.ModeType&^fs.ModeDir&^fs.ModeSymlink) != 0 {
			special, kind = name, info.Mode()
		}
		stat := info.Sys().(*syscall.Stat_t)
		if _, again := seen[stat.Ino]; !again {
			sum += stat.Blocks * 512
		}
		if stat.Nlink > 1 {
			seen[stat.Ino] = struct{}{}
		}
		return nil
	})
	return sum, special, kind
}
