package run

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/trace"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// openLambda stands in for a worker of OpenLambda, as its documents and its server have it: functions are
// archives in a registry, whose f.py has a function f; a function has the packages that its requirements.txt
// names, and no others. For a moment after an upload it runs the code that it had before.
type openLambda struct {
	t     *testing.T
	dir   string // of functions
	bench string // of packages
	stale int    // answers of the code before, after an upload

	mu      sync.Mutex
	uploads map[string]int
}

func (o *openLambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verb, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case verb == "registry" && name == "" && r.Method == http.MethodGet:
		entries, err := os.ReadDir(o.dir)
		coretest.Must(o.t, err)
		names := []string{}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		coretest.Must(o.t, json.NewEncoder(w).Encode(names))
	case verb == "registry" && r.Method == http.MethodPost && regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(name):
		if err := o.upload(name, r.Body); err != nil {
			http.Error(w, "Failed to add lambda: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "Lambda %s uploaded successfully", name)
	case verb == "run":
		event, err := io.ReadAll(r.Body)
		coretest.Must(o.t, err)
		result, err := o.run(name, event)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			result = []byte(err.Error() + "\n")
		}
		_, _ = w.Write(result)
	default:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

func (o *openLambda) upload(name string, body io.Reader) error {
	unzipped, err := gzip.NewReader(body)
	if err != nil {
		return err
	}
	place := filepath.Join(o.dir, name)
	coretest.Must(o.t, os.RemoveAll(place))
	coretest.Must(o.t, os.Mkdir(place, 0o755))
	o.mu.Lock()
	o.uploads[name]++
	o.stale = 2
	o.mu.Unlock()
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeReg {
			text, err := io.ReadAll(archive)
			coretest.Must(o.t, err)
			coretest.Must(o.t, os.WriteFile(filepath.Join(place, filepath.Clean(header.Name)), text, 0o644))
		}
	}
}

func (o *openLambda) run(name string, event []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stale > 0 {
		o.stale--
		return []byte(`{"code": "old"}`), nil
	}
	place := filepath.Join(o.dir, name)
	requirements, err := os.ReadFile(filepath.Join(place, "requirements.txt"))
	if err != nil {
		return nil, fmt.Errorf("lambda %q not found in blob store", name)
	}
	path := []string{place}
	for line := range strings.Lines(string(requirements)) {
		one, version, exact := strings.Cut(strings.TrimSpace(line), "==")
		wheels, err := filepath.Glob(filepath.Join(o.bench, "python", packages.Module(one)+"-"+version+"-*.whl"))
		if err != nil || !exact || len(wheels) != 1 {
			return nil, fmt.Errorf("%q: %v", line, wheels)
		}
		files := strings.TrimSuffix(wheels[0], ".whl")
		if _, err := os.Stat(files); err == nil {
			path = append(path, files)
			continue
		}
		if out, err := exec.CommandContext(o.t.Context(), "/usr/bin/python3", "-m", "zipfile", "-e", wheels[0], files).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		path = append(path, files)
	}
	command := exec.CommandContext(o.t.Context(), "/usr/bin/python3", "-B", "-c", "import f, json, sys; print(json.dumps(f.f(json.load(sys.stdin))))")
	command.Env = []string{"PYTHONPATH=" + strings.Join(path, ":")}
	command.Stdin = bytes.NewReader(event)
	out, err := command.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return out, nil
}

// TestOpenLambda deploys functions to a stand-in for OpenLambda by its own API, and runs a trace.
func TestOpenLambda(t *testing.T) {
	dir := t.TempDir()
	p, err := profile.Shipped("python")
	coretest.Must(t, err)
	p.Builds.Value = 0 // a wheel is imported as it is
	_, err = packages.Write(t.Context(), p, 30, 1, 0, dir, func(int) {})
	coretest.Must(t, err)
	set, err := functions.Write(dir, nil, 3, 1)
	coretest.Must(t, err)
	tr := trace.Trace{Head: trace.Head{Model: "even", Duration: 3, Speed: 1}}
	brings := false
	for i, f := range set.Functions {
		tr.Events = append(tr.Events, trace.Event{At: float64(i), Function: f.Name})
		brings = brings || f.Closure > len(f.Packages)
	}
	if !brings {
		t.Fatal("no function has a package that another one requires")
	}
	worker := &openLambda{t: t, dir: t.TempDir(), bench: dir, uploads: map[string]int{}}
	server := httptest.NewServer(worker)
	defer server.Close()
	o := Options{Dir: dir, Trace: filepath.Join(dir, "trace"), Out: filepath.Join(dir, "results"), Timeout: time.Minute, Progress: io.Discard, Closed: 1}
	coretest.Must(t, tr.Write(o.Trace))
	target, err := NewOpenlambda(server.URL+"/", dir)
	coretest.Must(t, err)
	target.looks, target.wait = 3, time.Millisecond
	coretest.Must(t, Do(t.Context(), target, o))
	r, err := results.Open(o.Out)
	coretest.Must(t, err)
	if r.Head.Target != "openlambda" || len(r.Requests) != 3 || len(r.Deploys) != 3 || slices.ContainsFunc(r.Requests, func(q results.Request) bool { return q.Error != "" }) {
		t.Errorf("%+v", r)
	}
	f := set.Functions[0]
	code := filepath.Join(dir, "functions", f.Name)
	if did, err := target.Deploy(t.Context(), f, code, true); did || err != nil || worker.uploads[f.Name] != 1 {
		t.Errorf("a function that is there was deployed again: %v, %v", did, err)
	}
	other := f
	other.Language = "ruby"
	if _, err := target.Deploy(t.Context(), other, code, false); err == nil || !strings.Contains(err.Error(), "runs functions in Python, and not in ruby") {
		t.Errorf("a function in Ruby: %v", err)
	}
	f.Values += "?"
	if _, err := target.Deploy(t.Context(), f, code, false); err == nil || !strings.Contains(err.Error(), "has to answer") {
		t.Errorf("a function that answers wrongly after its deploy: %v", err)
	}
	server.Close()
	if _, err := target.Deploy(t.Context(), f, code, true); err == nil || !strings.Contains(err.Error(), "/registry/") {
		t.Errorf("a server that is not there: %v", err)
	}
}
