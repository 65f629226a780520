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

// BenchmarkEgressStart measures starts by fork of functions that may connect and do not, between those that may not.
func BenchmarkEgressStart(b *testing.B) {
	eachSubject(b, "bare", func(b *testing.B, l subject, f files) {
		c := startConnected(b, programs(b), b.TempDir(), "--network", "egress")
		starts := map[string]samples{}
		networks := []string{"none", "egress"}
		for _, network := range networks {
			c.deploy(b, network, f.with("pipsqueak.yaml", f["pipsqueak.yaml"]+"\nnetwork: "+network+"\n"))
		}
		for i := range 400 {
			for j := range networks {
				network := networks[(i+j)%2]
				took := take(1, 0, func() {
					if a := c.run(b, network, "{}"); a.status != http.StatusOK {
						b.Fatal(a)
					}
				})
				if i >= 40 { // the first ones make zygotes
					starts[network] = append(starts[network], took...)
				}
			}
		}
		ratio := float64(starts["egress"].at(0.5)) / float64(starts["none"].at(0.5))
		report(b, "start by fork with a network that is not used, "+l.name, starts["egress"].String(), "network: none: "+starts["none"].String(), "p50 ≤ 1.05 times", ratio <= 1.05)
		b.ReportMetric(ratio, "ratio")
	})
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

// BenchmarkEgressConnect measures the first connection of an instance, against that of a process on the worker's machine.
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
