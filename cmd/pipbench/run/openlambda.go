package run

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
)

// Openlambda is a worker of OpenLambda, by its own API: POST /registry/NAME takes a function, and POST
// /run/NAME an event.
type Openlambda struct {
	URL
	server  string
	catalog *packages.Catalog // of Python's packages; nil if there are none
	// How often a function that was deployed is looked at again if it does not answer rightly, and after
	// which time: OpenLambda runs the code that it had for some seconds more.
	looks int
	wait  time.Duration
}

// NewOpenlambda returns the target of a server, for the functions of a directory.
func NewOpenlambda(server, dir string) (Openlambda, error) {
	server = strings.TrimRight(server, "/")
	u, err := NewURL(server + "/run/{function}")
	if err != nil {
		return Openlambda{}, err
	}
	o := Openlambda{URL: u, server: server, looks: 15, wait: time.Second}
	catalogs, err := packages.Open(dir)
	if err != nil {
		return Openlambda{}, err
	}
	if i := slices.IndexFunc(catalogs, func(c *packages.Catalog) bool { return c.Language == "python" }); i >= 0 {
		o.catalog = catalogs[i]
	}
	return o, nil
}

// Name is openlambda.
func (o Openlambda) Name() string { return "openlambda" }

// entry is the file that OpenLambda calls. It has no context.
const entry = `import handler


def f(event):
    return handler.handler(event, None)
`

// Deploy uploads a function. OpenLambda installs packages when the first event comes, so the function is sent
// one.
func (o Openlambda) Deploy(ctx context.Context, f functions.Function, dir string, again bool) (bool, error) {
	if f.Language != "python" {
		return false, fmt.Errorf("openlambda runs functions in Python, and not in %s: make functions with --language python", f.Language)
	}
	if again {
		if there, err := o.has(ctx, f.Name); there || err != nil {
			return false, err
		}
	}
	archive, err := o.pack(f, dir)
	if err != nil {
		return false, err
	}
	if _, err := o.ask(ctx, http.MethodPost, "/registry/"+f.Name, archive, http.StatusCreated); err != nil {
		return true, err
	}
	event, err := json.Marshal(functions.Event{Nonce: "deploy"})
	if err != nil {
		return true, err
	}
	for look := 0; ; look++ {
		a, err := o.Invoke(ctx, f, event)
		if err == nil {
			err = f.Check("deploy", a.Result)
		}
		if err == nil || look == o.looks {
			return true, err
		}
		select {
		case <-time.After(o.wait):
		case <-ctx.Done():
			return true, err
		}
	}
}

// has tells whether a function is there.
func (o Openlambda) has(ctx context.Context, name string) (bool, error) {
	text, err := o.ask(ctx, http.MethodGet, "/registry/", nil, http.StatusOK)
	if err != nil {
		return false, err
	}
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return false, fmt.Errorf("%s/registry/: %w", o.server, err)
	}
	return slices.Contains(names, name), nil
}

// pack is the archive of a function, as OpenLambda wants it: its requirements name everything that is
// installed, at exact versions.
func (o Openlambda) pack(f functions.Function, dir string) ([]byte, error) {
	work, err := os.MkdirTemp("", "pipbench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	if err := os.CopyFS(work, os.DirFS(dir)); err != nil {
		return nil, err
	}
	requirements := ""
	if len(f.Packages) > 0 {
		if o.catalog == nil {
			return nil, fmt.Errorf("%s requires packages for Python, and there are none", f.Name)
		}
		closure, err := o.catalog.Closure(f.Versions())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		for _, p := range closure {
			requirements += p.Name + "==" + p.Version + "\n"
		}
	}
	for name, text := range map[string]string{"requirements.txt": requirements, "f.py": entry} {
		if err := os.WriteFile(work+"/"+name, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return pack(work)
}

// ask sends a request, and wants a status.
func (o Openlambda) ask(ctx context.Context, method, path string, body []byte, status int) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, o.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/gzip")
	}
	response, err := o.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != status {
		err = fmt.Errorf("%s %s: %s: %s", method, request.URL, response.Status, end(text))
	}
	return text, err
}
