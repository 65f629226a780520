package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TestFewDescriptors sends a worker more than its descriptors allow. Each event is answered soon, by its result or as one too many, and no zygote
// is blamed for it.
func TestFewDescriptors(t *testing.T) {
	system(t)
	data := t.TempDir()
	w, err := launch(exec.Command("prlimit", "--nofile=200:256", filepath.Join(programs(t), "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data), data)
	if err != nil {
		t.Fatal(err)
	}
	stopWith(t, w)
	w.deploy(t, "f", files{"handler.py": "import time\n\ndef handler(event, context):\n    time.sleep(0.05)\n    return event\n", "pipsqueak.yaml": "reuse: false\n"})
	forkStart(t, w, "f", `{}`)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", w.cmd.Process.Pid))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max open files 256 256") {
		t.Errorf("the worker has not raised its limit: %v\n%s", err, limits)
	}
	zygotes := func() (ids []core.NodeID) {
		for _, n := range w.snapshot(t).Nodes {
			if n.Role == core.RoleZygote {
				ids = append(ids, n.ID)
			}
		}
		return ids
	}
	before := zygotes()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var group sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for range 400 {
		group.Go(func() {
			a, err := w.do(ctx, http.MethodPost, "/run/f", strings.NewReader(`{}`))
			outcome := fmt.Sprint(err)
			if err == nil {
				outcome = fmt.Sprint(a.status)
				if a.status != http.StatusOK {
					if f := decode[struct{ Error failure }](t, a).Error; f.Kind != core.KindExhausted || !f.Retryable {
						outcome = a.String()
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			answers[outcome]++
		})
	}
	group.Wait()
	t.Logf("answers: %v", answers)
	if answers["200"] == 0 || answers["503"] == 0 || answers["200"]+answers["429"]+answers["503"] != 400 {
		t.Errorf("answers: %v", answers)
	}
	if after := zygotes(); !slices.Equal(before, after) {
		t.Errorf("zygotes before %v, and after %v", before, after)
	}
	if a := w.run(t, "f", `{}`); a.status != http.StatusOK || a.header.Get("Pipsqueak-Start") != "fork" {
		t.Errorf("after all: %v", a)
	}
}
