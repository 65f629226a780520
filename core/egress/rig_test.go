package egress

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/egress/egresstest"
	"github.com/pipsqueak-faas/pipsqueak/core/netns"
)

// inWorld is set in the process that has the network of a machine to itself, and its own name server's
// address in /etc/resolv.conf.
const inWorld = "PIPSQUEAK_EGRESS_TEST"

// TestMain runs the tests in namespaces of their own.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inWorld) != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "egress-test-")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n"), 0o644)
	}
	if err != nil {
		panic(err)
	}
	self := exec.Command("/bin/sh", append([]string{"-c", `mount --bind "$0" "$(realpath /etc/resolv.conf)" && exec "$@"`, filepath.Join(dir, "resolv.conf"), os.Args[0]},
		os.Args[1:]...)...)
	self.Env, self.Stdin, self.Stdout, self.Stderr = append(os.Environ(), inWorld+"=1"), os.Stdin, os.Stdout, os.Stderr
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = self.Run()
	os.RemoveAll(dir)
	if err != nil && self.ProcessState == nil {
		panic(err)
	}
	os.Exit(self.ProcessState.ExitCode())
}

// port is where everybody answers.
const port = 7000

// rig is a router in a world.
type rig struct {
	*Router
	*egresstest.World

	mu   sync.Mutex
	told []string
	next int
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	coretest.Requires(t, coretest.Root(), coretest.File("/usr/sbin/nft"))
	machine, err := os.Open("/proc/thread-self/ns/net") // of the test, for another thread may be elsewhere
	coretest.Must(t, err)
	t.Cleanup(func() { machine.Close() })
	x := &rig{World: egresstest.New(t, machine)}
	x.Serve(t, x.Internet, port)
	x.Serve(t, x.Machine, port)
	x.ServeNames(t)
	config := Config{Name: "psq-test", Log: slog.New(slog.DiscardHandler), Refused: func(_ core.SandboxConfig, text string) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.told = append(x.told, text)
	}}
	if change != nil {
		change(&config)
	}
	x.Router, err = Open(config)
	coretest.Must(t, err)
	t.Cleanup(func() { coretest.Must(t, x.Close()) })
	return x
}

// instance is the network of one.
type instance struct {
	*Port
	space *os.File
}

func (x *rig) attach(t testing.TB, network core.Network, egress ...string) instance {
	t.Helper()
	x.mu.Lock()
	x.next++
	config := core.SandboxConfig{ID: core.NodeID(fmt.Sprint("instance-", x.next)), Role: core.RoleInstance, Function: "f", Network: network, Egress: egress}
	x.mu.Unlock()
	space, err := netns.New()
	coretest.Must(t, err)
	coretest.Must(t, netns.Do(int(space.Fd()), func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	}))
	p, err := x.Attach(config, func(f func() error) error { return netns.Do(int(space.Fd()), f) })
	coretest.Must(t, err)
	t.Cleanup(func() {
		space.Close()
		p.Close()
	})
	return instance{p, space}
}

// try sends something to an address and returns the answer: the address that it was called from.
func (i instance) try(network, address string) (answer string, err error) {
	err = netns.Do(int(i.space.Fd()), func() error {
		conn, err := net.DialTimeout(network, address, 3*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := conn.Write([]byte("hello\n")); err != nil {
			return err
		}
		answer, err = bufio.NewReader(conn).ReadString('\n')
		return err
	})
	return strings.TrimSpace(answer), err
}

func at(address string) string { return net.JoinHostPort(address, fmt.Sprint(port)) }

// lookUp looks a name up as a program of the instance does.
func (i instance) lookUp(ctx context.Context, network, name string) (addresses []string, err error) {
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, protocol, _ string) (conn net.Conn, err error) {
		err = netns.Do(int(i.space.Fd()), func() error {
			var dialer net.Dialer
			if conn, err = dialer.DialContext(ctx, strings.TrimSuffix(protocol, "4"), core.ResolverAddress+":53"); err != nil {
				return err
			}
			return nil
		})
		return conn, err
	}}
	all, err := resolver.LookupNetIP(ctx, network, name+".")
	for _, a := range all {
		addresses = append(addresses, a.Unmap().String())
	}
	return addresses, err
}

// heard waits until the function's log has all these words in one line, and returns it.
func (x *rig) heard(t testing.TB, words ...string) string {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		x.mu.Lock()
		for _, line := range x.told {
			all := true
			for _, word := range words {
				all = all && strings.Contains(line, word)
			}
			if all {
				x.mu.Unlock()
				return line
			}
		}
		told := strings.Join(x.told, "\n")
		x.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("no line with %q in:\n%s", words, told)
		}
	}
}
