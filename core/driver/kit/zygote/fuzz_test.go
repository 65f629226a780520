package zygote

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

// FuzzReplies: whatever packets a process sends over its control socket, the driver has reports with threads,
// or errors with somebody's fault, and it does not wait for ever.
func FuzzReplies(f *testing.F) {
	for _, said := range []string{
		parked + "\n" + forked + "\n" + report,
		`{"parked":true,"sees":true}` + "\n" + forked + "\n" + `{"took":0.5,"modules":{"m":1e300},"threads":1,"reads":["A"],"asks":["./a"],"drawn":{"p":"x"}}`,
		parked + "\n" + `{"error":{"kind":"exhausted","fault":"worker","retryable":true,"message":"fork: again"}}`,
		parked + "\n" + forked + "\n" + `{"error":{"kind":"exception","fault":"handler","message":"m","exception":{"type":"E","stack":["a"]}}}`,
		forked + "\n" + parked,
		"{}\n[]\nnull\n1",
		`{"parked":true,"error":{}}`,
	} {
		f.Add([]byte(said))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs, err := launch.ControlPair()
		if err != nil {
			t.Fatal(err)
		}
		p, err := newProcess("n", ours)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = p.run() // what it says of the process, it says to who asks too
			close(ended)
		}()
		far := newFar(t, theirs)
		packets := bytes.Split(said, []byte("\n"))
		far.say(string(packets[0]))
		go func() {
			defer far.conn.Close()
			for _, packet := range packets[1:] {
				_, files, ok := far.hear()
				if !ok {
					return
				}
				for _, file := range files {
					file.Close()
				}
				far.say(string(packet))
			}
		}()
		for _, step := range []func() error{
			func() error { return p.park(t.Context()) },
			func() error { return p.fork(t.Context(), os.Stdin, os.Stdin) },
			func() error {
				report, err := p.loadSeen(t.Context(), core.Load{Modules: []string{"m"}, Watch: true})
				if err == nil && report.Threads < 1 {
					t.Errorf("a report without threads: %+v", report)
				}
				return err
			},
		} {
			var told *core.Error
			if err := step(); err != nil && (!errors.As(err, &told) || told.Kind == "" || told.Fault == "") {
				t.Errorf("%q: %T %v, without a kind or a fault", said, err, err)
			}
		}
		far.conn.Close()
		<-ended
	})
}
