package sandbox

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TestUnfit leaves processes behind in instances of zygotes near and far, which have not the same share in
// it: only what harms the next event counts.
func TestUnfit(t *testing.T) {
	h := newRig(t)
	for name, pair := range generations(t, h) {
		for _, test := range []struct {
			words string
			times int
			want  string // a part of it, empty when it is fit
		}{
			{"sleep 1", 1, ""},
			{"leave 1", 3, ""},
			{"orphans 100", 1, ""},
			{fmt.Sprint("ended ", maxEnded), 1, ""},
			{fmt.Sprint("ended ", maxEnded+1), 1, "has not waited for 33 processes"},
			{"leave 1", maxPids - 1, ""}, // as many as there may be
			{"leave 1", maxPids, "255 processes and threads running, of 256 that there may be, and was refused one more"},
			{"share 0", 1, "has the worker's connection"},
			{"share 1", 1, "has the worker's connection"},
		} {
			c := h.fork(t, pair[0], h.config(core.RoleInstance))
			for range test.times {
				c.ask(t, test.words)
			}
			if why := c.Unfit(); (why == "") != (test.want == "") || !strings.Contains(why, test.want) {
				t.Errorf("below %s, after %d times %q: %q, want %q", name, test.times, test.words, why, test.want)
			}
			c.Kill()
			gone(t, c.Sandbox)
			if why := c.Unfit(); why != "" {
				t.Errorf("after its end it is %q", why)
			}
			if crowded := c.Exit().Crowded; crowded != (test.times == maxPids) {
				t.Errorf("after %d times %q it wanted too many: %v", test.times, test.words, crowded)
			}
		}
	}
}

// BenchmarkUnfit is what every event pays.
func BenchmarkUnfit(b *testing.B) {
	h := newRig(b)
	root := h.launch(b, h.config(core.RoleZygote))
	for _, children := range []int{0, 1, 8} {
		c := h.fork(b, root, h.config(core.RoleInstance))
		for range children {
			c.ask(b, "leave 1")
		}
		b.Run(fmt.Sprint(children, " children"), func(b *testing.B) {
			for b.Loop() {
				c.Unfit()
			}
		})
	}
}
