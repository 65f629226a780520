package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does the door hold when many push at once, and when what it stands on is broken?

// TestQuotaRaced deploys more functions at once than their namespace may have, more than once, and removes
// them in between.
func TestQuotaRaced(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	const most = 3
	w.namespace(t, core.NamespaceSpec{Name: "raced", Quotas: core.Quotas{Functions: most}})
	for round := range 3 {
		var all sync.WaitGroup
		answers := make([]answer, 8)
		for i := range answers {
			all.Go(func() { answers[i] = w.put(t, fmt.Sprintf("f%d.raced", i), handlerFile(echo)) })
		}
		all.Wait()
		deployed := 0
		for _, a := range answers {
			if a.status == http.StatusCreated {
				deployed++
			} else {
				a.expectError(t, core.KindExhausted, core.FaultCaller, http.StatusTooManyRequests)
			}
		}
		functions, err := w.client().FunctionsIn(context.Background(), "raced")
		if err != nil || len(functions) != most || deployed != most {
			t.Errorf("round %d: %d were deployed, and there are %d functions, %v", round, deployed, len(functions), err)
		}
		for _, fn := range functions {
			coretest.Must(t, w.client().Remove(context.Background(), fn.Name))
		}
	}
}

// TestNamespaceRemovedUnderDeploys removes a namespace again and again while somebody deploys to it: no
// function is in a namespace that is not there.
func TestNamespaceRemovedUnderDeploys(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	for range 8 {
		w.namespace(t, core.NamespaceSpec{Name: "brief"})
		put := make(chan answer, 1)
		go func() { put <- w.put(t, "f.brief", handlerFile(echo)) }()
		removed := 0
		for deployed := false; !deployed; {
			if w.ask(t, http.MethodDelete, "/v1/namespaces/brief", nil).status == http.StatusNoContent {
				removed++
			}
			select {
			case a := <-put:
				deployed = true
				there := w.ask(t, http.MethodGet, "/v1/functions/f.brief", nil).status == http.StatusOK
				if a.status == http.StatusCreated != there || there == (removed > 0) {
					t.Errorf("the deploy: %v; the namespace was removed %d times, the function is there: %v", a, removed, there)
				}
			default:
			}
		}
		if removed == 0 {
			coretest.Must(t, w.client().Remove(context.Background(), "f.brief"))
			w.ask(t, http.MethodDelete, "/v1/namespaces/brief", nil)
		}
	}
}

// TestSocketOfAKilledWorker starts a worker where another one was killed, which has left its socket.
func TestSocketOfAKilledWorker(t *testing.T) {
	system(t)
	data := t.TempDir()
	w := startWorker(t, data)
	w.kill()
	if info, err := os.Lstat(filepath.Join(data, "socket")); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Fatalf("the killed worker has left %v, %v", info, err)
	}
	w = startWorker(t, data)
	if _, stderr, err := by(t, nil, "token", "list", "--server", w.socket()); err != nil {
		t.Errorf("at the socket: %v, %s", err, stderr)
	}
}

// TestUnreadableTokens: a worker that cannot read its tokens lets nobody in, and says so.
func TestUnreadableTokens(t *testing.T) {
	system(t)
	data := t.TempDir()
	w := startWorker(t, data)
	w.token(t, "any", "--scopes", "read")
	coretest.Must(t, w.stop())
	path := filepath.Join(data, "tokens.json")
	good, err := os.ReadFile(path)
	coretest.Must(t, err)
	for name, spoil := range map[string]func(){
		"cut short":   func() { coretest.Must(t, os.WriteFile(path, good[:len(good)/2], 0o600)) },
		"empty":       func() { coretest.Must(t, os.WriteFile(path, nil, 0o600)) },
		"a directory": func() { coretest.Must(t, os.RemoveAll(path)); coretest.Must(t, os.Mkdir(path, 0o700)) },
	} {
		spoil()
		if w, err := start(programs(t), data); err == nil {
			t.Errorf("%s: it serves", name)
			coretest.Must(t, w.stop())
		} else if !strings.Contains(err.Error(), "restore the file from a backup") {
			t.Errorf("%s: %v", name, err)
		}
		coretest.Must(t, os.RemoveAll(path))
	}
}
