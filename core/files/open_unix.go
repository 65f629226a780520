//go:build unix

package files

import "syscall"

// noFollow has a file opened only when it is no link, and without waiting for whoever writes to a fifo.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
