package files

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// DiskError makes the error of a failed operation on the worker's own files at path. A *core.Error stays as
// it is.
func DiskError(path string, err error) error {
	var already *core.Error
	if errors.As(err, &already) {
		return already
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return core.Errorf(core.KindExhausted, core.FaultWorker,
			"the disk of the worker is full at %s: free space there, or start the worker with --data on a larger disk: %w", path, err)
	}
	return core.Errorf(core.KindInternal, core.FaultWorker, "the worker cannot use %s: check the disk and who owns the file: %w", path, err)
}

// Refusef makes an error about something that a user sent and that is not allowed.
func Refusef(format string, args ...any) error {
	return core.Errorf(core.KindInvalid, core.FaultCaller, format, args...)
}

// TooLargef makes an error about something that a user sent and that is over a limit.
func TooLargef(format string, args ...any) error {
	return core.Errorf(core.KindTooLarge, core.FaultCaller, format, args...)
}

// Quote quotes a user's text. Of a long text it quotes the beginning.
func Quote(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// TypeName names the type of anything that may lie in a directory.
func TypeName(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "file"
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "symbolic link"
	}
	switch {
	case mode&fs.ModeDevice != 0:
		return "device"
	case mode&fs.ModeNamedPipe != 0:
		return "fifo"
	case mode&fs.ModeSocket != 0:
		return "socket"
	default:
		return "file of an unknown type"
	}
}
