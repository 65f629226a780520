package supply

import (
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What an installer may take of the disk.
const (
	maxInstall = 8 << 30 // bytes that it may add to the directory that it writes to
	keptFree   = 1 << 30 // bytes that it must leave on the file system, or a twentieth of it, or half of what was free when it began, whichever is least
)

// How often the disk is looked at. To ask for the free space is cheap, to go through a directory is not: that is done when the free space says
// that the directory may be too large, and now and then besides, and for no more than a twentieth of the time.
const (
	lookEvery    = 100 * time.Millisecond
	measureEvery = 5 * time.Second
	measureShare = 20
)

// diskWatch watches what an installation takes of the disk.
type diskWatch struct {
	function string
	dir      string
	limit    int64 // bytes, as maxInstall
	before   int64 // bytes in the directory when it began
	free     int64 // bytes that were free then
	floor    int64 // bytes that have to stay free
	stopped  chan struct{}
	verdict  chan error // one
}

// watchDisk calls kill as soon as the installation of the function's packages into dir takes too much of the disk.
func watchDisk(function, dir string, limit int64, kill func()) *diskWatch {
	d := &diskWatch{function: function, dir: dir, limit: limit, before: bytesIn(dir), stopped: make(chan struct{}), verdict: make(chan error, 1)}
	free, total := space(dir)
	d.free, d.floor = free, min(keptFree, total/20, free/2)
	go d.run(kill)
	return d
}

// stop ends the watch. It returns why the installation was ended, nil when it was not.
func (d *diskWatch) stop() error {
	close(d.stopped)
	return <-d.verdict
}

func (d *diskWatch) run(kill func()) {
	measure := time.Now().Add(measureEvery)
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
			} else if now.After(earliest) && (now.After(measure) || d.free-free > d.limit) {
				if bytesIn(d.dir)-d.before > d.limit {
					err = core.Errorf(core.KindInstall, core.FaultCaller, "installing the packages of %s takes more than %d MiB of disk, the most that an installation may", d.function, d.limit>>20)
				}
				measure, earliest = time.Now().Add(measureEvery), time.Now().Add(measureShare*time.Since(now))
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

// space returns how many bytes of a directory's file system are free for others than root, and how many it has. It returns as good as
// endless ones when the file system does not say.
func space(dir string) (free, total int64) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || s.Blocks == 0 {
		return 1 << 62, 1 << 62
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize
}

// bytesIn returns how much of the disk the files in a directory take, each counted once. What is changed meanwhile may count or not; nothing outside of
// the directory does.
func bytesIn(dir string) (sum int64) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0
	}
	defer root.Close()
	seen := map[uint64]struct{}{}
	_ = fs.WalkDir(root.FS(), ".", func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it has gone meanwhile
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // as above
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
	return sum
}
