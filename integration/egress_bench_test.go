package integration

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/netns"
)

// What does a network cost a function that does not use it, and one that does?

// BenchmarkEgressStart compares starts by fork of functions that may connect and do not with those of
// functions that may not: how long they take, and the processor time. Rounds take turns, because a machine
// drifts more within minutes than a network costs.
func BenchmarkEgressStart(b *testing.B) {
	for _, kind := range []string{"bare", "heavy"} {
		eachSubject(b, kind, func(b *testing.B, l subject, f files) {
			const rounds, starts = 40, 10
			data, cgroup, spent := unused(b, kind, f)
			c := startConnectedIn(b, cgroup, programs(b), data, "--network", "egress")
			networks := []string{"none", "egress"}
			for _, network := range networks {
				c.deploy(b, network, quiet(f, network))
			}
			time.Sleep(aged)
			took, cost := map[string]samples{}, map[string]samples{} // by round
			for round := range rounds + 1 {
				for i := range networks {
					network := networks[(round+i)%2]
					begin := spent()
					s := take(starts, 0, func() {
						if a := c.run(b, network, "{}"); a.status != http.StatusOK {
							b.Fatal(a)
						}
					})
					if round > 0 { // the first one makes zygotes
						took[network] = append(took[network], s.at(0.5))
						cost[network] = append(cost[network], (spent()-begin)/starts)
					}
				}
			}
			for what, of := range map[string]map[string]samples{"start by fork": took, "processor time of a start": cost} {
				none, egress := of["none"], of["egress"]
				ratio := ratios(none, egress)
				median := ratio[len(ratio)/2]
				report(b, what+" with a network that is not used, "+l.name+", "+kind, fmt.Sprintf("%d rounds of %d, p50 %.2f ms, ratio %.3f (%.3f to %.3f)", rounds, starts,
					ms(egress.at(0.5)), median, ratio[len(ratio)/4], ratio[len(ratio)*3/4]), fmt.Sprintf("network: none: %.2f ms", ms(none.at(0.5))), "≤ 1.05 times", median <= 1.05)
			}
		})
	}
}

// quiet is a function with a network that it does not use.
func quiet(f files, network string) files {
	return f.with("pipsqueak.yaml", f["pipsqueak.yaml"]+"\nnetwork: "+network+"\n")
}

// unused is a data directory which has the packages of a heavy function already, for a worker that reaches no
// registry, and a cgroup for that worker.
func unused(b *testing.B, kind string, f files) (data, cgroup string, spent func() time.Duration) {
	b.Helper()
	data = b.TempDir()
	if kind == "heavy" {
		w, err := start(programs(b), data)
		coretest.Must(b, err)
		for _, network := range []string{"none", "egress"} {
			w.deploy(b, network, quiet(f, "none"))
		}
		coretest.Must(b, w.stop())
	}
	cgroup, spent = meter(b)
	return data, cgroup, spent
}

// firstConnection connects once, and says how long that took, in ms.
const firstConnection = `
import socket, time
def handler(event, context):
    began = time.perf_counter()
    s = socket.create_connection(("93.184.216.34", 7000))
    took = (time.perf_counter() - began) * 1000
    s.close()
    return took
`

// BenchmarkEgressConnect measures the first connection of an instance, against that of a process on the
// worker's machine.
func BenchmarkEgressConnect(b *testing.B) {
	system(b)
	c := startConnected(b, programs(b), b.TempDir(), "--network", "egress")
	c.world.Serve(b, c.world.Internet, 7000)
	dir := b.TempDir()
	coretest.Must(b, os.WriteFile(filepath.Join(dir, "handler.py"), []byte(firstConnection), 0o644))
	c.deploy(b, "first", handlerFile(firstConnection).with("pipsqueak.yaml", "reuse: false\n"))
	var own, plain samples
	for range 100 {
		own = append(own, time.Duration(result[float64](b, c.worker, "first", "{}")*float64(time.Millisecond)))
		var out []byte
		coretest.Must(b, netns.Do(int(c.world.Machine.Fd()), func() (err error) {
			process := exec.Command("/usr/bin/python3", "-c", "import handler; print(handler.handler(None, None))")
			process.Dir = dir
			out, err = process.Output()
			return err
		}))
		var took float64
		if _, err := fmt.Sscan(strings.TrimSpace(string(out)), &took); err != nil {
			b.Fatal(err)
		}
		plain = append(plain, time.Duration(took*float64(time.Millisecond)))
	}
	more := own.at(0.5) - plain.at(0.5)
	report(b, "first connection of an instance", own.String(), "a process: "+plain.String(), "p50 ≤ 1 ms more", more <= time.Millisecond)
	b.ReportMetric(ms(more), "ms-more")
}
