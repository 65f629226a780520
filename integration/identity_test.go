package integration

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Is it ever another function of the same name that answers?

// slowly is a function in each language whose file takes 0.4 s to load, and that prints and answers with a
// word.
var slowly = map[string]func(word string) files{
	"python": func(word string) files {
		return handlerFile("import time\ntime.sleep(0.4)\ndef handler(event, context):\n    print('WORD', flush=True)\n    return 'WORD'\n").with("pipsqueak.yaml", "reuse: false\n").filled(word)
	},
	"node": func(word string) files {
		return files{"index.js": "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400)\nexports.handler = async () => { console.log('WORD'); return 'WORD' }\n", "pipsqueak.yaml": "reuse: false\n"}.filled(word)
	},
	"ruby": func(word string) files {
		return files{"handler.rb": "sleep 0.4\ndef handler(event:, context:)\n  puts 'WORD'\n  'WORD'\nend\n", "pipsqueak.yaml": "reuse: false\n"}.filled(word)
	},
	"native": func(word string) files {
		return files{"handler.c": `#include <pipsqueak.h>
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void load(void) { usleep(400000); }
PS_EXPORT void handler(ps_context *context, const char *event, size_t size) { puts("WORD"); fflush(stdout); ps_result(context, "\"WORD\"", sizeof "\"WORD\"" - 1); }
`, "pipsqueak.yaml": "reuse: false\n"}.filled(word)
	},
}

// filled replaces WORD in the files.
func (f files) filled(word string) files {
	for name, text := range f {
		f[name] = strings.ReplaceAll(text, "WORD", word)
	}
	return f
}

// TestRemovedFunctionIsGone removes a function while it is being started, and deploys another one under its
// name.
func TestRemovedFunctionIsGone(t *testing.T) {
	system(t)
	w := startWorker(t, t.TempDir())
	for language, function := range slowly {
		t.Run(language, func(t *testing.T) {
			name := "again-" + language
			first := w.deploy(t, name, function("removed"))
			for range 3 { // it is a habit: children are made ahead
				result[string](t, w, name, `{}`)
			}
			time.Sleep(200 * time.Millisecond) // one is parked
			var starts sync.WaitGroup
			starts.Go(func() { _, _ = w.do(t.Context(), http.MethodPost, "/run/"+name, strings.NewReader(`{}`)) })
			time.Sleep(200 * time.Millisecond)
			if a := w.ask(t, http.MethodDelete, "/v1/functions/"+name, nil); a.status/100 != 2 {
				t.Fatalf("remove: %v", a)
			}
			time.Sleep(time.Second)
			created := w.put(t, name, function("deployed").with("pipsqueak.yaml", ""))
			second := decode[core.Function](t, created)
			if created.status != http.StatusCreated || second.Version <= first.Version || second.Replaced != 0 {
				t.Errorf("deployed again: %v", created)
			}
			for i := range 20 {
				if got := result[string](t, w, name, `{}`); got != "deployed" {
					t.Fatalf("answer %d is %q", i, got)
				}
			}
			starts.Wait()
			if logs := w.ask(t, http.MethodGet, "/v1/functions/"+name+"/logs", nil); bytes.Contains(logs.body, []byte("removed")) || !bytes.Contains(logs.body, []byte("deployed")) {
				t.Errorf("its log: %s", logs.body)
			}
		})
	}
}

// TestVersionsOutliveTheWorker kills the worker between a removal and the next deploy.
func TestVersionsOutliveTheWorker(t *testing.T) {
	system(t)
	data := t.TempDir()
	w := startWorker(t, data)
	w.deploy(t, "again", handlerFile(echo))
	last := w.deploy(t, "again", handlerFile(echo))
	if a := w.ask(t, http.MethodDelete, "/v1/functions/again", nil); a.status/100 != 2 {
		t.Fatalf("remove: %v", a)
	}
	w.kill()
	if next := startWorker(t, data).deploy(t, "again", handlerFile(echo)); next.Version != last.Version+1 {
		t.Errorf("version %d after %d", next.Version, last.Version)
	}
}
