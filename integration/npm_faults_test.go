package integration

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// What does a deploy say, and how soon, when the registry of npm packages fails?

// failing answers a request badly; false is for a request that it leaves to the registry.
type failing func(w http.ResponseWriter, request *http.Request, archive []byte, times int) bool

// announced sends a part of the archive that was announced as so many bytes, and ends the connection.
func announced(length, sent func(archive []byte) int) failing {
	return func(w http.ResponseWriter, _ *http.Request, archive []byte, _ int) bool {
		w.Header().Set("Content-Length", fmt.Sprint(length(archive)))
		_, _ = w.Write(archive[:sent(archive)])
		panic(http.ErrAbortHandler)
	}
}

func TestNodeRegistryFaults(t *testing.T) {
	system(t)
	coretest.Requires(t, Node)
	all := func(archive []byte) int { return len(archive) }
	half := func(archive []byte) int { return len(archive) / 2 }
	status := func(code, failures int) failing {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte, times int) bool {
			if times > failures {
				return false
			}
			w.WriteHeader(code)
			return true
		}
	}
	hangs := func(_ http.ResponseWriter, request *http.Request, _ []byte, _ int) bool {
		<-request.Context().Done()
		return true
	}
	stalls := func(w http.ResponseWriter, request *http.Request, archive []byte, _ int) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(archive)))
		_, _ = w.Write(archive[:len(archive)/2])
		_ = http.NewResponseController(w).Flush()
		<-request.Context().Done()
		return true
	}
	r := newNPMIndex(t)
	r.keys = true
	t.Setenv("NPM_CONFIG_FETCH_TIMEOUT", "1000")
	t.Setenv("NPM_CONFIG_FETCH_RETRY_MINTIMEOUT", "100")
	w := r.worker(t)
	noise := make([]byte, 300<<10) // more than the relay holds back, however it is packed
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		of       string // what fails: the path ends in it
		fails    failing
		say      string     // in the error; nothing when the deploy succeeds
		fault    core.Fault //
		attempts int        // failed ones that are reported
	}{
		"cut off":        {".tgz", announced(all, half), "bytes", core.FaultWorker, 2},
		"closed at once": {".tgz", announced(all, func([]byte) int { return 0 }), "", core.FaultWorker, 2},
		"said too much":  {".tgz", announced(func(a []byte) int { return len(a) + 100 }, all), "bytes", core.FaultWorker, 2},
		"said too little": {".tgz", func(w http.ResponseWriter, _ *http.Request, archive []byte, _ int) bool {
			_, _ = w.Write(archive[:len(archive)/2])
			return true
		}, "has the digest", core.FaultCaller, 0},
		"stalls":             {".tgz", stalls, " bytes", core.FaultWorker, 2},
		"hangs":              {".tgz", hangs, "timeout", core.FaultWorker, 2},
		"503":                {".tgz", status(503, 100), "503", core.FaultWorker, 2},
		"503 once":           {".tgz", status(503, 1), "none", "", 1},
		"429 twice":          {".tgz", status(429, 2), "none", "", 2},
		"403":                {".tgz", status(403, 100), "403", core.FaultWorker, 0},
		"keys, 500":          {"/keys", status(500, 100), "500", core.FaultWorker, 2},
		"keys, hang":         {"/keys", hangs, "imeout", core.FaultWorker, 2},
		"metadata, 503":      {"/ID", status(503, 100), "503", core.FaultWorker, 0},
		"metadata, 500 once": {"/ID", status(500, 1), "none", "", 0},
		"metadata, hangs":    {"/ID", hangs, "imeout", core.FaultWorker, 0},
		"metadata, cut off":  {"/ID", announced(func([]byte) int { return 1000 }, func([]byte) int { return 0 }), "", core.FaultWorker, 0},
		"metadata, no JSON": {"/ID", func(w http.ResponseWriter, _ *http.Request, _ []byte, _ int) bool {
			_, _ = w.Write([]byte("<html>"))
			return true
		}, "", core.FaultWorker, 0},
		"metadata, not there": {"/ID", status(404, 100), "404", core.FaultCaller, 0},
	} {
		t.Run(name, func(t *testing.T) {
			id := strings.NewReplacer(" ", "-", ",", "").Replace(name)
			r.add(id, "1.0.0", nil, files{"index.js": "", "large.bin": string(noise)})
			times := 0
			r.set(func(w http.ResponseWriter, request *http.Request) bool {
				if !strings.HasSuffix(request.URL.Path, strings.Replace(c.of, "ID", id, 1)) {
					return false
				}
				times++
				return c.fails(w, request, r.archives["/"+id+"/-/"+id+"-1.0.0.tgz"], times)
			})
			defer r.set(nil)
			began := time.Now()
			text := w.stream(t, "faults", files{"index.js": nodeEcho, "package.json": `{"dependencies":{"` + id + `":"1.0.0"}}`})
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := strings.Count(text, "of 3 failed: "); got != c.attempts {
				t.Errorf("told %d failed attempts, want %d", got, c.attempts)
			}
			failed := strings.Contains(text, `"error":{`)
			switch {
			case failed != (c.fault != ""):
				t.Errorf("want fault %q", c.fault)
			case failed && (!strings.Contains(text, `"fault":"`+string(c.fault)+`"`) || !strings.Contains(text, c.say)):
				t.Errorf("want fault %q, and %q", c.fault, c.say)
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// set changes how a registry fails.
func (r *npmIndex) set(fails func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = fails
}

// stream deploys, and returns all that is told of it, as lines of JSON.
func (w *worker) stream(t testing.TB, name string, f files) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, w.url+"/v1/functions/"+name, bytes.NewReader(f.archive(t)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/x-ndjson")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
