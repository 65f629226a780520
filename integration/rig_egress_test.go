package integration

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/egress/egresstest"
	"github.com/pipsqueak-faas/pipsqueak/core/netns"
)

// connected is a worker on a machine of its own, beyond which is an internet of the test's.
type connected struct {
	*worker
	world *egresstest.World
}

// startConnected starts a worker of a build in a world. The machine's name server is the world's.
func startConnected(t testing.TB, programs, data string, flags ...string) connected {
	t.Helper()
	return startConnectedIn(t, "", programs, data, flags...)
}

// startConnectedIn is startConnected in a cgroup.
func startConnectedIn(t testing.TB, cgroup, programs, data string, flags ...string) connected {
	t.Helper()
	coretest.Requires(t, coretest.Root(), coretest.File("/usr/sbin/nft"))
	world := egresstest.New(t, nil)
	world.ServeNames(t)
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	coretest.Must(t, os.WriteFile(resolv, []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n"), 0o644))
	arguments := append([]string{"--mount", "--propagation", "private", "sh", "-c", `mount --bind "$0" "$(realpath /etc/resolv.conf)" && { [ -z "$1" ] || echo $$ >"$1"/cgroup.procs; } && shift && exec "$@"`, resolv, cgroup,
		filepath.Join(programs, "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data}, flags...)
	var w *worker
	coretest.Must(t, netns.Do(int(world.Machine.Fd()), func() (err error) {
		w, err = launchAsIs(exec.Command("unshare", arguments...), data)
		return err
	}))
	stopWith(t, w)
	w.url = "http://" + across(t, world.Machine, strings.TrimPrefix(w.url, "http://"))
	return connected{w, world}
}

// across returns an address that leads to one in another network namespace.
func across(t testing.TB, space *os.File, address string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	coretest.Must(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				var far net.Conn
				if netns.Do(int(space.Fd()), func() (err error) { far, err = net.Dial("tcp", address); return err }) != nil {
					return
				}
				defer far.Close()
				go func() { _, _ = io.Copy(far, near); far.(*net.TCPConn).CloseWrite() }()
				_, _ = io.Copy(near, far)
			}()
		}
	}()
	return listener.Addr().String()
}
