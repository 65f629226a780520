package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// How much of the worker's memory do strangers get, and what is left for others?

// Results that nobody takes stay in their instances when the worker has no room for them, and another
// namespace does not notice.
func TestUnreadResults(t *testing.T) {
	w := startWorker(t, t.TempDir())
	for _, name := range []string{"quiet", "loud"} {
		w.namespace(t, core.NamespaceSpec{Name: name})
	}
	const large = "def handler(event, context):\n    return 'x' * (5 << 20)\n"
	w.deploy(t, "large.quiet", handlerFile(large))
	w.deploy(t, "large.loud", handlerFile(large).with("pipsqueak.yaml", "max_instances: 4\n"))
	post := func() time.Duration {
		began := time.Now()
		if a, err := w.do(context.Background(), http.MethodPost, "/run/large.quiet", strings.NewReader("1")); err != nil || len(a.body) != 5<<20+2 {
			t.Fatal(len(a.body), err)
		}
		return time.Since(began)
	}
	post()
	before := rollup(w.cmd.Process.Pid)["Rss"]
	for range 100 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.(*net.TCPConn).SetReadBuffer(4096)
		_, _ = fmt.Fprintf(conn, "POST /run/large.loud HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1")
	}
	var most int64
	var longest time.Duration
	for began := time.Now(); time.Since(began) < 4*time.Second; time.Sleep(50 * time.Millisecond) {
		longest = max(longest, post())
		most = max(most, rollup(w.cmd.Process.Pid)["Rss"]-before)
	}
	// Twice what namespaces may have of results together, and garbage of as much again.
	if bound := int64(32+16*runtime.NumCPU()) << 20 * 2; most > bound {
		t.Errorf("the worker grew by %d MiB, more than %d", most>>20, bound>>20)
	}
	t.Logf("the worker grew by %d MiB; an answer of 5 MiB of another namespace took %v at most", most>>20, longest)
}

// BenchmarkFlood measures a warm echo, and the worker's memory, while connections lie idle and large bodies
// come slowly, and then while nobody takes large results of another namespace besides.
func BenchmarkFlood(b *testing.B) {
	w := startWorker(b, b.TempDir())
	for _, name := range []string{"quiet", "loud"} {
		w.namespace(b, core.NamespaceSpec{Name: name})
	}
	w.deploy(b, "echo.quiet", handlerFile(echo))
	w.deploy(b, "echo.loud", handlerFile(echo))
	w.deploy(b, "large.loud", handlerFile("def handler(event, context):\n    return 'x' * (5 << 20)\n").with("pipsqueak.yaml", "max_instances: 4\n"))
	post := func() {
		if a, err := w.do(context.Background(), http.MethodPost, "/run/echo.quiet", strings.NewReader(`{"a": 1}`)); err != nil || a.status != http.StatusOK {
			b.Fatal(a, err)
		}
	}
	take(500, 0, post)
	quiet, before := take(2000, 0, post), rollup(w.cmd.Process.Pid)["Rss"]

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	const slow, unread = 500, 200
	idle := min(10_000, int(limit.Cur)/2-slow-unread-100) // the worker has the same limit, and half of it is for connections
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		return conn
	}
	for range idle {
		dial()
	}
	bodies := make([]net.Conn, slow)
	for i := range bodies {
		bodies[i] = dial()
		_, _ = fmt.Fprintf(bodies[i], "POST /run/echo.loud HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6000000\r\n\r\n\"")
	}
	part := []byte(strings.Repeat("x", 64<<10))
	for range 90 { // 5.9 MB of each, if the worker takes them
		for _, conn := range bodies {
			_ = conn.SetWriteDeadline(time.Now().Add(time.Millisecond))
			_, _ = conn.Write(part) // fails when the body was refused
		}
	}
	measure := func(what string, most int64) {
		during, after := take(2000, 0, post), rollup(w.cmd.Process.Pid)["Rss"]
		times := float64(during.at(0.99)) / float64(quiet.at(0.99))
		report(b, fmt.Sprintf("warm echo beside %d idle connections, %d slow bodies of 6 MB%s", idle, slow, what),
			fmt.Sprintf("%v, p99 %.1f times, worker %d MiB", during, times, after>>20), fmt.Sprintf("quiet: %v, worker %d MiB", quiet, before>>20),
			fmt.Sprintf("worker < %d MiB, p99 ≤ 2 times", most), after < most<<20 && times <= 2)
	}
	measure("", 300)
	for range unread {
		conn := dial()
		_ = conn.(*net.TCPConn).SetReadBuffer(4096)
		_, _ = fmt.Fprintf(conn, "POST /run/large.loud HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1")
	}
	measure(fmt.Sprintf(" and %d unread results of 5 MiB of another namespace", unread), 400)
}
