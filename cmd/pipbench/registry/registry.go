// Package registry serves artificial packages as their ecosystems' registries do, so that unmodified clients
// install them.
package registry

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
)

// Registry is all registries of a directory, below one address: /python, /node, /ruby and /native.
type Registry struct {
	pages  map[string]page   // by path
	files  map[string]string // archives by path
	served []string          // languages
}

// page is an answer that is known from the beginning: as JSON too, where a client may choose.
type page struct {
	form, text string
	json       string
}

// The forms of pages.
const (
	plain      = "text/plain; charset=utf-8"
	html       = "text/html; charset=utf-8"
	jsonForm   = "application/json"
	simpleJSON = "application/vnd.pypi.simple.v1+json"
)

// released is when all versions were, as registries say it.
const released = "2020-01-01T00:00:00.000Z"

// Open reads the packages below a directory, which `pipbench packages` has written.
func Open(dir string) (*Registry, error) {
	catalogs, err := packages.Open(dir)
	if err != nil {
		return nil, err
	}
	r := &Registry{pages: map[string]page{}, files: map[string]string{}}
	for _, c := range catalogs {
		for _, p := range c.Packages {
			for _, v := range p.Versions {
				for _, a := range v.Archives {
					r.files["/"+path.Join(c.Language, "files", a.File)] = filepath.Join(dir, c.Language, a.File)
				}
			}
		}
		r.served = append(r.served, c.Language)
		switch c.Language {
		case "python":
			err = r.addPython(c)
		case "node":
			err = r.addNode(c)
		case "ruby":
			r.addRuby(c)
		case "native":
			err = r.addNative(c)
		}
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Clients tells how the ecosystems' clients are pointed at the registries below an address such as
// http://127.0.0.1:8070: lines that a shell understands.
func (r *Registry) Clients(address string) (lines []string) {
	for _, language := range r.served {
		switch language {
		case "python":
			lines = append(lines, "export UV_DEFAULT_INDEX="+address+"/python/simple PIP_INDEX_URL="+address+"/python/simple")
		case "node":
			lines = append(lines, "export NPM_CONFIG_REGISTRY="+address+"/node/")
		case "ruby":
			lines = append(lines, "export BUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG/="+address+"/ruby/ # or in a Gemfile: source \""+address+"/ruby/\"")
		case "native":
			lines = append(lines, "curl "+address+"/native/pipbench.sources >/etc/apt/sources.list.d/pipbench.sources")
		}
	}
	return lines
}

// ServeHTTP answers the requests of all clients.
func (r *Registry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodGet && request.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "a registry of artificial packages is only read", http.StatusMethodNotAllowed)
		return
	}
	if file, ok := r.files[request.URL.Path]; ok {
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeFile(w, request, file)
		return
	}
	p, ok := r.pages[request.URL.Path]
	if !ok {
		p, ok = r.pages[strings.TrimSuffix(request.URL.Path, "/")+"/"]
	}
	if !ok {
		http.Error(w, "there is nothing at "+request.URL.Path, http.StatusNotFound)
		return
	}
	form, text := p.form, p.text
	if p.json != "" && strings.Contains(request.Header.Get("Accept"), simpleJSON) {
		form, text = simpleJSON, p.json
	}
	text = strings.ReplaceAll(text, here, "http://"+request.Host)
	w.Header().Set("Content-Type", form)
	w.Header().Set("ETag", fmt.Sprintf("\"%x\"", md5.Sum([]byte(text)))) // Bundler takes it for the digest that it is at rubygems.org
	w.Header().Set("Vary", "Accept")
	http.ServeContent(w, request, "", time.Time{}, bytes.NewReader([]byte(text)))
}

// here stands for the registry's own address in a page.
const here = "http://here.invalid"
