package plan

import "time"

// Shown is what was last seen of a runtime: whether a process of it could be made.
type Shown struct {
	At  time.Time // zero when something has cast doubt on it since
	Err error     // why it could not be made
}

// Stale says whether a process has to be made to know about the runtime. A failure is looked at again soon,
// because it may have passed.
func (s Shown) Stale(now time.Time) bool {
	if s.Err != nil {
		return now.Sub(s.At) >= time.Second
	}
	return now.Sub(s.At) >= time.Minute
}

// DiskFull says whether a file system of that many bytes has too few of them free to go on with.
func DiskFull(free, size int64) bool { return free < min(64<<20, size/100) }
