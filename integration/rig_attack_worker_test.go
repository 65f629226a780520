package integration

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Who attacks the worker itself: its memory, and what an instance leaves with it.

// speaker finds the endpoint of its process.
const speaker = `
import array, os, socket, stat, struct, time

def endpoint():
    for fd in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                return socket.socket(fileno=os.dup(fd))
        except OSError:
            pass
`

var workerAttacks = []outsider{
	// The worker reads as much as shows that it is no answer. What comes behind lives until the endpoint is
	// closed.
	{attack{name: "leave a server on its way to the worker", walls: "untouched places"}, "handler", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "passing", handlerFile(speaker+`
def handler(event, context):
    worker, server = endpoint(), socket.socket()
    try:
        server.bind(("127.0.0.1", 4711))
    except OSError as e:
        return "found: " + str(e)
    server.listen()
    given = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [server.fileno()]))]
    worker.setblocking(False)
    while True:
        try:
            worker.sendmsg([b"x"], given)
        except OSError:  # it is full: at once, for the worker closes it a second after the end of the process
            os._exit(0)
`).with("pipsqueak.yaml", "reuse: false\nnetwork: none\n"))
		for range 20 { // some of them have a child that was forked ahead, elsewhere
			if answer := a.worker.run(t, "passing", "1"); strings.Contains(string(answer.body), "found") {
				return answer.String()
			}
		}
		return ""
	}},
	{attack{name: "have the worker keep a frame without end", walls: "frame size"}, "handler", func(t *testing.T, a *arena) string {
		const sent = 300 // MiB
		a.worker.deploy(t, "endless-frame", handlerFile(fmt.Sprintf(`%s
def handler(event, context):
    worker = endpoint()
    worker.sendall(struct.pack(">IB", 1 << 30, ord("I")))
    for _ in range(%d):
        worker.sendall(bytes(1 << 20))
`, speaker, sent)).with("pipsqueak.yaml", "timeout_ms: 5000\n"))
		return a.grows(t, sent/2, func() { a.worker.run(t, "endless-frame", "1") })
	}},
	{attack{name: "hold the worker's memory by calls", walls: "budget of calls"}, "handler", func(t *testing.T, a *arena) string {
		a.worker.deploy(t, "slow", handlerFile("import time\ndef handler(event, context):\n    time.sleep(3)\n").with("pipsqueak.yaml", "max_instances: 1\n"))
		a.worker.deploy(t, "calling", handlerFile(speaker+`
def handler(event, context): # context.invoke would make one call after the other
    worker, event = endpoint(), b'"' + b"x" * (5 << 20) + b'"'
    for n in range(1, 41):
        meta = b'{"call":%d,"function":"slow"}' % n
        body = context._token + struct.pack(">I", len(meta)) + meta + event
        worker.sendall(struct.pack(">IB", 1 + len(body), ord("I")) + body)
    time.sleep(2)
`).with("pipsqueak.yaml", "timeout_ms: 5000\n"))
		return a.grows(t, 130, func() { a.worker.run(t, "calling", "1") })
	}},
	{attack{name: "hold the worker's memory by bodies that do not end", walls: "budget of events"}, "client", func(t *testing.T, a *arena) string {
		const head = "POST /run/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
		text := fmt.Sprintf(head, a.victim(t), 6<<20) + strings.Repeat("1", 5<<20)
		return a.grows(t, 200, func() {
			var senders sync.WaitGroup
			for range 60 {
				conn, err := net.Dial("tcp", strings.TrimPrefix(a.worker.url, "http://"))
				coretest.Must(t, err)
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience / 2))
				senders.Go(func() { _, _ = io.WriteString(conn, text) }) // it is refused, or is not
			}
			senders.Wait()
			time.Sleep(500 * time.Millisecond)
		})
	}},
	{attack{name: "send a head that is too large", walls: "size of heads"}, "client", func(t *testing.T, a *arena) string {
		return a.asked(t, http.MethodGet, "/v1/functions", nil, "", "X-Long: "+strings.Repeat("x", 200<<10))
	}},
	{attack{name: "keep a connection by a head that does not end", walls: "time of heads"}, "client", func(t *testing.T, a *arena) string {
		conn, err := net.Dial("tcp", strings.TrimPrefix(a.worker.url, "http://"))
		coretest.Must(t, err)
		defer conn.Close()
		for text := range strings.SplitSeq("GET / HTTP/1.1\r\n,Host: localhost\r\n,A: b\r\n,C: d\r\n,E: f\r\n,G: h\r\n,I: j\r\n", ",") {
			_, _ = io.WriteString(conn, text)
			_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
			if _, err = conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				return ""
			}
		}
		return "it is open after 14 s"
	}},
}

// grows says by how many MiB the worker's memory grows at the most while something is done, if that is more
// than it may.
func (a *arena) grows(t *testing.T, most int, does func()) string {
	t.Helper()
	const ofNow = "5" // proc(5): from now on the peak is that of now
	coretest.Must(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", a.worker.cmd.Process.Pid), []byte(ofNow), 0))
	before := a.peak(t)
	does()
	if more := (a.peak(t) - before) >> 10; more > most {
		return fmt.Sprintf("%d MiB", more)
	}
	return ""
}

// peak returns how many KiB of memory the worker has had at the most.
func (a *arena) peak(t *testing.T) (kib int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.worker.cmd.Process.Pid))
	coretest.Must(t, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
