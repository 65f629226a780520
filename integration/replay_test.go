package integration

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What can somebody do with a signed archive of an earlier deploy?

// TestReplay: who has kept a signed archive cannot deploy it again once a later one was deployed, nor after
// the function was removed, nor after a restart. Who has the key signs the old files again, and so goes back.
func TestReplay(t *testing.T) {
	system(t)
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if _, stderr, err := (&worker{}).command(t, "", "keygen", key); err != nil {
		t.Fatal(stderr)
	}
	w := startWorker(t, filepath.Join(dir, "data"), "--require-signed", key+".pub")
	type upload struct {
		signature string
		archive   []byte
	}
	// sign returns what the client sends for a function that answers with a text.
	sign := func(text string) (u upload) {
		t.Helper()
		code := filepath.Join(dir, "replayed")
		if err := os.MkdirAll(code, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(code, "handler.py"), []byte("def handler(event, context):\n    return '"+text+"'\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		listener := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
			u.signature = r.Header.Get("Pipsqueak-Signature")
			u.archive, _ = io.ReadAll(r.Body)
			answer.WriteHeader(http.StatusTeapot)
		}))
		defer listener.Close()
		_, _, _ = (&worker{url: listener.URL}).command(t, "", "deploy", code, "--sign", key) // it fails: nobody deploys
		if u.signature == "" {
			t.Fatal("the client has not signed")
		}
		return u
	}
	deploy := func(u upload) answer {
		t.Helper()
		a, err := w.do(t.Context(), http.MethodPut, "/v1/functions/replayed", bytes.NewReader(u.archive), "Pipsqueak-Signature: "+u.signature)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	accepted := func(when string, u upload, want string) {
		t.Helper()
		if a := deploy(u); a.status/100 != 2 {
			t.Fatalf("%s: %v", when, a)
		}
		if got := result[string](t, w, "replayed", "1"); got != want {
			t.Errorf("%s: it answers %q, want %q", when, got, want)
		}
	}
	refused := func(when string, u upload, says string) {
		t.Helper()
		if f := deploy(u).expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest); !strings.Contains(f.Message, says) {
			t.Errorf("%s: %s", when, f.Message)
		}
	}
	weak, fixed := sign("weak"), sign("fixed")
	accepted("first", weak, "weak")
	accepted("later", fixed, "fixed")
	accepted("once more", fixed, "fixed")
	refused("after a later one", weak, "an earlier signature does not count any more")
	if a := w.ask(t, http.MethodDelete, "/v1/functions/replayed", nil); a.status/100 != 2 {
		t.Fatal(a)
	}
	refused("after a removal", weak, "an earlier signature does not count any more")
	refused("the last one, after a removal", fixed, "has been removed since it was signed")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, w.data, "--require-signed", key+".pub")
	refused("after a restart", weak, "an earlier signature does not count any more")
	accepted("signed again", sign("weak"), "weak")
}
