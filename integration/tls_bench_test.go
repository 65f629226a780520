package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// What does TLS cost?

// BenchmarkTLS measures a warm echo over TLS, on a connection that is kept, against the same without TLS: a
// worker with and one without get an event in turn.
func BenchmarkTLS(b *testing.B) {
	authority := coretest.NewAuthority(b)
	cert, key := authority.Issue(b, b.TempDir(), time.Now().Add(time.Hour), "127.0.0.1")
	with, without := startWorker(b, b.TempDir(), "--tls-cert", cert, "--tls-key", key), startWorker(b, b.TempDir())
	var took [2]samples
	var post [2]func()
	for i, c := range []client.Client{without.client(), client.New(with.url).TLS(client.TLSFiles{CA: authority.CA})} {
		if _, err := c.Deploy(context.Background(), "echo", nil, bytes.NewReader(handlerFile(echo).archive(b)), nil); err != nil {
			b.Fatal(err)
		}
		post[i] = func() {
			if _, err := c.Invoke(context.Background(), "echo", bytes.NewReader([]byte(`{"a": 1}`))); err != nil {
				b.Fatal(err)
			}
		}
	}
	var processor [2]time.Duration
	for i, w := range []*worker{without, with} {
		take(500, 0, post[i])
		processor[i] = -spentBy(b, w.cmd.Process.Pid)
	}
	for range 100 {
		for i := range post {
			took[i] = append(took[i], take(50, 0, post[i])...)
		}
	}
	for i, w := range []*worker{without, with} {
		processor[i] += spentBy(b, w.cmd.Process.Pid)
	}
	each := func(i int) string {
		return fmt.Sprintf("%v, processor of the worker %d µs", took[i], processor[i].Microseconds()/int64(len(took[i])))
	}
	times := float64(took[1].at(0.5)) / float64(took[0].at(0.5))
	report(b, "warm echo over TLS, one client, back to back", fmt.Sprintf("%s, p50 %.2f times", each(1), times), "without TLS: "+each(0),
		"p50 ≤ 1.3 times", times <= 1.3)
}

// spentBy is how long processors have been busy with a process, in hundredths of a second.
func spentBy(t testing.TB, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
