package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

func newHouse(t testing.TB, files map[string]string) *drivertest.House {
	t.Helper()
	return drivertest.NewHouse(t, newDriver(slog.Default()), files)
}

func TestForkedInstanceAnswers(t *testing.T) {
	h := newHouse(t, map[string]string{"handler.rb": `
def handler(event:, context:)
  [event, context.aws_request_id, context.function_name, ENV.to_h, Process.pid, Process.uid > 0]
end
`})
	root := h.Root(t)
	for range 3 {
		if got, want := drivertest.Ask(t, h.Instance(t, root, nil), `{"x":1}`), `R[{"x":1},"r1","f",{"A":"b"},2,true]`; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A gem that starts a thread when it is required is found out: core keeps it out of the tree. A thread that
// has ended does not count, nor does one that its library can do without; neither is waited for until CRuby
// lets go of it, 3 s later.
func TestThreadsAreCounted(t *testing.T) {
	h := newHouse(t, map[string]string{
		"quiet.rb":    "X = 1\n",
		"ended.rb":    "5.times.map { Thread.new { 1 } }.each(&:join)\n",
		"threaded.rb": "Thread.new { sleep }\n",
		"concurrent/atomic/ruby_thread_local_var.rb": "Thread.new { sleep }\n",
		"native.rb": `
require "fiddle"
types = [Fiddle::TYPE_VOIDP] * 4
Fiddle::Function.new(Fiddle::Handle::DEFAULT["pthread_create"], types, Fiddle::TYPE_INT).call(Fiddle.malloc(8), nil, Fiddle::Handle::DEFAULT["pause"], nil)
`,
	})
	root := h.Root(t)
	set := core.NewSet(core.Package{Name: "files", Version: "1", Digest: "any"}) // the house shows its files for every package
	for module, want := range map[string]int{"quiet": 1, "ended": 1, "threaded": 2, "concurrent/atomic/ruby_thread_local_var": 1, "native": 2} {
		start := time.Now()
		_, report, err := h.Zygote(t, root, set, module)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("a zygote that has required %s takes %v", module, took)
		}
		if err != nil || report.Threads != want {
			t.Errorf("requiring %s leaves %d threads, want %d: %v", module, report.Threads, want, err)
		}
	}
}

func BenchmarkFork(b *testing.B) {
	newHouse(b, map[string]string{"handler.rb": "def handler(event:, context:) = event\n"}).BenchmarkFork(b)
}
