package integration

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/egress/egresstest"
	"github.com/pipsqueak-faas/pipsqueak/core/netns"
)

// What do functions with a network reach?

// dialer connects to the addresses of its event, or of their names, and says what each answers.
const dialer = `
import socket

def handler(event, context):
    said = []
    for host in event:
        try:
            with socket.create_connection((host, 7000), timeout=5) as s:
                said.append(s.makefile().readline().strip())
        except OSError as e:
            said.append(type(e).__name__)
    return said
`

// dial has the function connect, and returns what each address answers, or which exception it met.
func (c connected) dial(t *testing.T, function string, hosts ...string) []string {
	t.Helper()
	event, err := json.Marshal(append([]string{}, hosts...))
	if err != nil {
		t.Fatal(err)
	}
	return result[[]string](t, c.worker, function, string(event))
}

// A function reaches the internet, by names too, and nothing private; what it was refused is in its log and
// counted. Its own loopback is its own.
func TestEgress(t *testing.T) {
	c := startConnected(t, programs(t), t.TempDir(), "--network", "egress", "--egress-allow", "10.1.0.0/16")
	c.world.Serve(t, c.world.Internet, 7000)
	c.world.Serve(t, c.world.Machine, 7000)
	c.world.Name("api.example", egresstest.Name{Addresses: []string{egresstest.Public[0]}})
	c.world.Name("rebound.example", egresstest.Name{Addresses: []string{"169.254.169.254"}})
	if fn := c.deploy(t, "dials", handlerFile(dialer)); fn.Network != core.NetworkEgress {
		t.Errorf("it was told to have network %q", fn.Network)
	}
	hosts := append([]string{"api.example", "10.1.2.3"}, egresstest.Public...)
	for i, said := range c.dial(t, "dials", hosts...) {
		if !strings.HasPrefix(said, egresstest.Machine[0]+":") && !strings.HasPrefix(said, "["+egresstest.Machine[1]+"]:") {
			t.Errorf("%s: %q", hosts[i], said)
		}
	}
	refused := append([]string{"169.254.169.254", "192.168.7.7", "fd00:ec2::254", "127.0.0.1"}, egresstest.Machine...)
	for i, said := range c.dial(t, "dials", refused...) {
		if said != "ConnectionRefusedError" {
			t.Errorf("%s: %q", refused[i], said)
		}
	}
	if said := c.dial(t, "dials", "rebound.example"); said[0] != "gaierror" {
		t.Errorf("a name of a private address: %q", said)
	}
	lines := c.ask(t, "GET", "/v1/functions/dials/logs", nil)
	for _, line := range []string{"refused TCP to 169.254.169.254:7000: it is private", "refused TCP to [fd00:ec2::254]:7000: it is private",
		"refused TCP to " + egresstest.Machine[0] + ":7000: it is an address of the worker's machine", `refused to look up \"rebound.example\"`} {
		if !strings.Contains(string(lines.body), line) {
			t.Errorf("no line %q in the function's log:\n%s", line, lines.body)
		}
	}
	if metrics := c.ask(t, "GET", "/metrics", nil); !strings.Contains(string(metrics.body), `pipsqueak_function_connections_refused_total{function="dials"} `) {
		t.Errorf("no refusal is counted")
	}
}

// A function has no more than it asks for, and no more than the worker allows.
func TestEgressOfFunctions(t *testing.T) {
	c := startConnected(t, programs(t), t.TempDir(), "--network", "host")
	c.world.Serve(t, c.world.Internet, 7000)
	c.world.Serve(t, c.world.Machine, 7000)
	c.world.Name("api.example", egresstest.Name{Addresses: []string{egresstest.Public[1]}})
	c.world.Name("other.example", egresstest.Name{Addresses: []string{egresstest.Public[1]}})
	const refused, unreachable, answers = "ConnectionRefusedError", "OSError", ""
	for name, r := range map[string]struct {
		settings string
		said     map[string]string
	}{
		"none":   {"network: none", map[string]string{egresstest.Public[0]: unreachable, "10.1.2.3": unreachable, "api.example": "gaierror"}},
		"plain":  {"", map[string]string{egresstest.Public[0]: answers, "10.1.2.3": refused, egresstest.Machine[0]: refused}},
		"egress": {"network: egress", map[string]string{egresstest.Public[0]: answers, "10.1.2.3": refused, egresstest.Machine[0]: refused}},
		"host":   {"network: host", map[string]string{egresstest.Public[0]: answers, "10.1.2.3": answers, egresstest.Machine[0]: answers}},
		"listed": {"egress: ['api.example:7000', '10.1.0.0/16:7000']", map[string]string{egresstest.Public[0]: refused, egresstest.Public[1]: refused, "10.1.2.3": refused, "other.example": "gaierror"}},
	} {
		c.deploy(t, name, handlerFile(dialer).with("pipsqueak.yaml", r.settings+"\n"))
		for host, want := range r.said {
			said := c.dial(t, name, host)[0]
			from, _, connected := strings.Cut(said, ":") // on the machine itself the worker's link is seen
			if said != want && (want != answers || !connected || from != egresstest.Machine[0] && host != egresstest.Machine[0]) {
				t.Errorf("%s to %s: %q, want %q", name, host, said, want)
			}
		}
	}
	if said := c.dial(t, "listed", "api.example", egresstest.Public[1]); !strings.HasPrefix(said[0], egresstest.Machine[0]) || !strings.HasPrefix(said[1], egresstest.Machine[0]) {
		t.Errorf("listed to its destination: %q", said)
	}
}

// Each instance of a function is connected again, also where it has the namespaces of an earlier one.
func TestEgressOfFreshInstances(t *testing.T) {
	c := startConnected(t, programs(t), t.TempDir(), "--network", "egress")
	c.world.Serve(t, c.world.Internet, 7000)
	c.deploy(t, "fresh", handlerFile(dialer).with("pipsqueak.yaml", "reuse: false\n"))
	for i := range 40 {
		var hosts []string
		if i%3 > 0 { // else it makes no socket, and leaves its namespaces to the next one
			hosts = []string{egresstest.Public[i%2], egresstest.Public[2]}
		}
		for j, said := range c.dial(t, "fresh", hosts...) {
			if !strings.HasPrefix(said, egresstest.Machine[0]) && !strings.HasPrefix(said, "["+egresstest.Machine[1]) {
				t.Fatalf("event %d to %s: %q", i, hosts[j], said)
			}
		}
	}
}

// Without --network functions have one where the machine can connect them. Elsewhere the worker says why not,
// and serves.
func TestEgressIsTheUsual(t *testing.T) {
	c := startConnected(t, programs(t), t.TempDir())
	c.world.Serve(t, c.world.Internet, 7000)
	c.deploy(t, "dials", handlerFile(dialer))
	if said := c.dial(t, "dials", egresstest.Public[0]); !strings.HasPrefix(said[0], egresstest.Machine[0]) {
		t.Errorf("where the machine forwards: %q", said)
	}
	serve := func(flags ...string) (*worker, error) {
		data := t.TempDir()
		return launchAsIs(exec.Command("unshare", append([]string{"--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh", filepath.Join(programs(t), "pipsqueak"), "serve", "--listen",
			"127.0.0.1:0", "--data", data}, flags...)...), data)
	}
	w, err := serve()
	coretest.Must(t, err)
	coretest.Must(t, w.stop())
	if said := w.logs.String(); strings.Count(said, "functions have no network") != 1 || !strings.Contains(said, "net.ipv4.ip_forward is 0") {
		t.Errorf("where the machine does not forward: %s", said)
	}
	for _, flags := range [][]string{{"--network", "egress"}, {"--egress-allow", "10.0.0.0/8"}} {
		if w, err := serve(flags...); err == nil {
			_ = w.stop()
			t.Errorf("with %v a worker serves where functions can have no network", flags)
		}
	}
}

// A deploy that asks for more than the worker allows is refused, and says what to do.
func TestEgressIsTheOperators(t *testing.T) {
	w := shared(t)
	for _, network := range []string{"egress", "host"} {
		e := w.put(t, "asks-"+network, handlerFile(dialer).with("pipsqueak.yaml", "network: "+network+"\n")).expectError(t, core.KindUnsupported, core.FaultCaller, 501)
		for _, words := range []string{"'network: " + network + "'", "allows none at most", "--network " + network} {
			if !strings.Contains(e.Message, words) {
				t.Errorf("%q does not say %q", e.Message, words)
			}
		}
	}
	if fn := w.deploy(t, "asks-nothing", handlerFile(dialer)); fn.Network != core.NetworkNone {
		t.Errorf("it was told to have network %q", fn.Network)
	}
	if said := result[[]string](t, w, "asks-nothing", fmt.Sprintf("[%q]", egresstest.Public[0])); said[0] != "OSError" {
		t.Errorf("without a network: %q", said)
	}
}

// A worker without a network takes away the packet rules that one with a network has left, which was killed.
func TestEgressOfKilledWorker(t *testing.T) {
	data := t.TempDir()
	c := startConnected(t, programs(t), data)
	c.kill()
	tables := func() (said string) {
		coretest.Must(t, netns.Do(int(c.world.Machine.Fd()), func() error {
			text, err := exec.Command("/usr/sbin/nft", "list", "tables").CombinedOutput()
			said = string(text)
			return err
		}))
		return said
	}
	if said := tables(); !strings.Contains(said, "inet psq-") {
		t.Fatalf("the worker that was killed has left %q: the test sees nothing", said)
	}
	coretest.Must(t, netns.Do(int(c.world.Machine.Fd()), func() error {
		w, err := launchAsIs(exec.Command(filepath.Join(programs(t), "pipsqueak"), "serve", "--network", "none", "--listen", "127.0.0.1:0", "--data", data), data)
		if err != nil {
			return err
		}
		return w.stop()
	}))
	if said := tables(); strings.Contains(said, "inet psq-") {
		t.Errorf("left: %s", said)
	}
}
