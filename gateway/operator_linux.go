package gateway

import (
	"context"
	"net"
	"os"
	"syscall"
)

// withOperator adds to the context of a connection to a unix socket which user the process at its other end
// has, as the kernel attests it. The socket's mode lets root and the worker's own user connect alone; this is
// a second look.
func withOperator(ctx context.Context, conn net.Conn) context.Context {
	if steady, is := conn.(*steadyConn); is {
		conn = steady.Conn
	}
	unix, is := conn.(*net.UnixConn)
	if !is {
		return ctx
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *syscall.Ucred
	failed := raw.Control(func(fd uintptr) {
		peer, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if failed != nil || err != nil || peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return ctx // it needs a token, as everybody else
	}
	return context.WithValue(ctx, operatorKey{}, int(peer.Uid))
}
