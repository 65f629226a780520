package run

import (
	"os"
	"syscall"
)

// mostMemory is how many bytes a process that has ended had at most, with those that it shared.
func mostMemory(state *os.ProcessState) int64 {
	usage, is := state.SysUsage().(*syscall.Rusage)
	if !is {
		return 0
	}
	return usage.Maxrss * 1024
}
