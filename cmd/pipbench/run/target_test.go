package run

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// TestPipsqueak checks what a worker is asked: a deploy waits until the function is ready, and memory is told
// apart by function.
func TestPipsqueak(t *testing.T) {
	asked := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"memory": 10, "nodes": [{"role": "zygote", "memory": 3}, {"function": "a", "memory": 4}, {"function": "b", "memory": 1}, {"function": "a", "memory": 2}]}`)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		asked = r.URL.Path + "?" + r.URL.RawQuery
	}))
	defer server.Close()
	target := Pipsqueak{Client: client.New(server.URL)}
	dir := t.TempDir()
	coretest.Must(t, os.WriteFile(filepath.Join(dir, "handler.py"), nil, 0o644))
	_, _ = target.Deploy(t.Context(), functions.Function{Name: "a"}, dir, false) // the answer is no worker's
	if asked != "/v1/functions/a?wait=ready" {
		t.Errorf("a deploy asks for %s", asked)
	}
	m, known := target.Memory(t.Context())
	if !known || m.Bytes != 10 || len(m.Functions) != 2 || m.Functions["a"] != 6 || m.Functions["b"] != 1 {
		t.Errorf("%+v, %v", m, known)
	}
}
