package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// service listens on the host and greets everybody who says something.
func service(t *testing.T, network, address string) net.Addr {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := conn.Read(make([]byte, 100)); err == nil {
					_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\nhello")
				}
			}()
		}
	}()
	return l.Addr()
}

func port(address net.Addr) int { return address.(*net.TCPAddr).Port }

// What an installer can reach, tried from inside. The same is tried from outside, so that each attempt is one
// that could succeed.
func TestInstallerReachesRegistriesOnly(t *testing.T) {
	h := newRig(t)
	listed, other := service(t, "tcp", "127.0.0.1:0"), service(t, "tcp", "127.0.0.1:0")
	name := fmt.Sprintf("pipsqueak-test-%d", os.Getpid())
	service(t, "unix", "@"+name)
	config := h.config(core.RoleInstaller)
	config.Registries = []string{"http://" + listed.String()}
	in, out := h.launch(t, config), outside(t)

	relayPort := strings.TrimPrefix(core.RelayAddress, "127.0.0.1:")
	for _, r := range []struct{ what, inside, outside string }{
		{fmt.Sprintf("dial 127.0.0.1 %d", port(listed)), "HTTP/1.0 200 OK", "HTTP/1.0 200 OK"},
		{fmt.Sprintf("dial 127.0.0.1 %d", port(other)), "error: Connection refused", "HTTP/1.0 200 OK"},
		{"abstract " + name, fmt.Sprintf("-1 %d", unix.ECONNREFUSED), "0 0"},
		{"dial 169.254.169.254 80", "error: Network is unreachable", ""},
		{"dial 10.0.0.1 443", "error: Network is unreachable", ""},
		{"dial 127.0.0.1 " + relayPort + " GET http://" + listed.String() + "/ HTTP/1.0", "HTTP/1.0 200 OK", ""},
		{"dial 127.0.0.1 " + relayPort + " CONNECT " + listed.String() + " HTTP/1.0", "HTTP/1.1 200 ", ""},
		{"dial 127.0.0.1 " + relayPort + " GET http://" + other.String() + "/ HTTP/1.0", "HTTP/1.0 403 ", ""},
		{"dial 127.0.0.1 " + relayPort + " CONNECT " + other.String() + " HTTP/1.0", "HTTP/1.0 403 ", ""},
		{"dial 127.0.0.1 " + relayPort + " CONNECT 169.254.169.254:80 HTTP/1.0", "HTTP/1.0 403 ", ""},
		{"dial 127.0.0.1 " + relayPort + " CONNECT " + core.RelayAddress + " HTTP/1.0", "HTTP/1.0 403 ", ""},
	} {
		if got := in.ask(t, r.what); !strings.HasPrefix(got, r.inside) {
			t.Errorf("%s: %q and not %s", r.what, got, r.inside)
		}
		if r.outside != "" {
			if got := out.ask(t, r.what); !strings.HasPrefix(got, r.outside) {
				t.Errorf("outside, %s: %q and not %s", r.what, got, r.outside)
			}
		}
	}
	if want := []string{other.String(), other.String(), "169.254.169.254:80", core.RelayAddress}; !slices.Equal(h.refused, want) {
		t.Errorf("refused %v and not %v", h.refused, want)
	}
	if text := in.ask(t, "cat /proc/net/dev"); strings.Count(text, ":") != 1 {
		t.Errorf("more than a loopback:\n%s", text)
	}
	for what, family := range map[string]int{"packets": unix.AF_PACKET, "a hypervisor": unix.AF_VSOCK} { // which is in no namespace
		if err := in.call(t, unix.SYS_SOCKET, family, unix.SOCK_STREAM, 0); !errors.Is(err, unix.EPERM) {
			t.Errorf("a socket to %s: %v", what, err)
		}
	}
}

func TestWithoutRegistriesThereIsNoRelay(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	for role, c := range map[string]child{"installer": h.launch(t, h.config(core.RoleInstaller)), "instance": h.fork(t, zygote, h.config(core.RoleInstance))} {
		if got := c.ask(t, "dial "+strings.Replace(core.RelayAddress, ":", " ", 1)); got != "error: Connection refused" {
			t.Errorf("%s: %s", role, got)
		}
		if c.relay != nil {
			t.Errorf("%s has a relay", role)
		}
	}
}

// A sandbox that is killed at any time leaves no socket and no goroutine of its relay, and its network ends.
func TestRelayEndsWithTheSandbox(t *testing.T) {
	h := newRig(t)
	registry := service(t, "tcp", "127.0.0.1:0")
	var goroutines, files int
	for n := range 20 {
		if n == 2 { // the first ones leave what stays for the process, such as the handle of the library for cgroups
			files, goroutines = settled(t), runtime.NumGoroutine()
		}
		config := h.config(core.RoleInstaller)
		config.Registries = []string{registry.String()}
		s := h.create(t, config)
		c := h.startLauncher(t, s)
		if n%2 == 0 {
			if _, _, err := s.Entered(); err != nil {
				t.Fatal(err)
			}
			c.ask(t, "dial "+strings.Replace(core.RelayAddress, ":", " ", 1)+" CONNECT "+registry.String()+" HTTP/1.0")
		}
		s.Kill()
		gone(t, s)
		c.control.Close()
	}
	soon(t, "no goroutine of a relay is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	soon(t, "no descriptor of a relay is left", func() bool { return descriptors(t) <= files })
}

// A relay that cannot be opened keeps the program from running.
func TestRelayThatCannotListen(t *testing.T) {
	h := newRig(t)
	config := h.config(core.RoleInstaller)
	config.Registries = []string{"192.0.2.1", "ftp://nowhere"}
	s := h.create(t, config)
	h.startLauncher(t, s)
	refused(t, s, "is no registry")
}

// The worker's own network is none to listen in for a sandbox.
func TestListenInRefusesTheHost(t *testing.T) {
	coretest.Requires(t, root)
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if l, err := listenIn(pidfd, "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "no network of its own") {
		t.Errorf("%v, %v", l, err)
	}
}
