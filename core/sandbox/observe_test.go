package sandbox

import (
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// TestProcessOf looks at this process itself, which has everything that there is to see.
func TestProcessOf(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	packets, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("requires IPv6: ", err)
		}
		t.Skip("requires IPv6: ", err)
	}
	defer packets.Close()
	file, err := os.Open("/usr/bin/env")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	shared, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(shared) }()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	defer signal.Stop(signals)

	p, err := processOf(os.Getpid())
	if err != nil || p.Threads < 2 || p.Signals&(1<<(syscall.SIGUSR1-1)) == 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	seen := map[string]bool{}
	for _, name := range p.Files {
		seen[name] = true
	}
	from, to := client.LocalAddr().String(), client.RemoteAddr().String()
	for _, want := range []string{"tcp " + to + " listening", "tcp " + from + " to " + to + " connected", "udp6 " + packets.LocalAddr().String(), file.Name(), "shared memory /dev/zero (deleted)"} {
		if !seen[want] {
			t.Errorf("%q is not seen: %v", want, seen)
		}
	}
	if _, err := processOf(1 << 30); err == nil {
		t.Error("a process that is not there")
	}
}

// TestProcessesOf has a process that ends while it is looked at, and has forked another after the list was
// made.
func TestProcessesOf(t *testing.T) {
	const gone = 1 << 30
	lists := [][]int{{os.Getpid(), gone}, {os.Getpid(), os.Getppid()}}
	found, err := processesOf(func() (list []int) {
		list, lists = lists[0], lists[1:]
		return list
	})
	if _, seen := found[os.Getppid()]; err != nil || !seen || len(found) != 2 {
		t.Errorf("%v, %v", found, err)
	}
	hop := gone
	found, err = processesOf(func() []int {
		hop++
		return []int{os.Getpid(), hop}
	})
	if p, seen := found[hop]; err != nil || !seen || p.Threads != 0 || len(found) != 2 {
		t.Errorf("of one that never waits: %v, %v", found, err)
	}
}

func TestNetworkOf(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	before, err := networkOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "udp"} {
		conn, err := net.Dial(network, listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("x"))
		conn.Close()
	}
	after, err := networkOf(os.Getpid())
	if err != nil || after.Connections <= before.Connections || after.Datagrams <= before.Datagrams {
		t.Errorf("%+v, then %+v; %v", before, after, err)
	}
}

func TestAddress(t *testing.T) {
	for text, want := range map[string]string{"0100007F:1F90": "127.0.0.1:8080", "00000000000000000000000001000000:0035": "[::1]:53", "0100007F": "", "xyz:1": "", "0100:0001": "", ":": "", "0100007F:12345": ""} {
		if got := address(text); got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}
