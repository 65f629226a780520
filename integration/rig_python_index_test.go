package integration

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// pythonIndex is a package index on loopback: archives by their file names.
type pythonIndex struct {
	*httptest.Server

	mu         sync.Mutex
	archives   map[string][]byte
	served     map[string][]byte // instead of the archive, under its digest
	provenance map[string][]byte // by file name
	password   string            // that it asks for, of anybody
	asked      int
	paths      map[string]bool // that were asked for
}

// newPythonIndex starts an index, and has workers that start from now on use it.
func newPythonIndex(t testing.TB, password string) *pythonIndex {
	i := &pythonIndex{archives: map[string][]byte{}, served: map[string][]byte{}, provenance: map[string][]byte{}, paths: map[string]bool{}, password: password}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	address := i.URL + "/simple"
	if password != "" {
		address = strings.Replace(address, "http://", "http://user:"+password+"@", 1)
	}
	t.Setenv("UV_DEFAULT_INDEX", address)
	return i
}

func (i *pythonIndex) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	i.paths[r.URL.Path] = true
	if _, password, _ := r.BasicAuth(); password != i.password {
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	directory, name := path.Split(strings.TrimSuffix(r.URL.Path, "/"))
	switch body, instead := i.served[name], i.provenance[name]; {
	case directory == "/simple/":
		i.page(w, name)
	case directory == "/files/" && body != nil:
		_, _ = w.Write(body)
	case directory == "/files/" && i.archives[name] != nil:
		_, _ = w.Write(i.archives[name])
	case directory == "/provenance/" && instead != nil:
		_, _ = w.Write(instead)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (i *pythonIndex) page(w http.ResponseWriter, project string) {
	var list []map[string]any
	for _, name := range slices.Sorted(maps.Keys(i.archives)) {
		if of, _, _ := strings.Cut(name, "-"); strings.ReplaceAll(of, "_", "-") != project {
			continue
		}
		file := map[string]any{"filename": name, "url": "/files/" + name, "hashes": map[string]string{"sha256": digestOf(i.archives[name])}}
		if i.provenance[name] != nil {
			file["provenance"] = i.URL + "/provenance/" + name
		}
		list = append(list, file)
	}
	if list == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
	_ = json.NewEncoder(w).Encode(map[string]any{"meta": map[string]string{"api-version": "1.1"}, "name": project, "files": list})
}

func (i *pythonIndex) requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// heard reports whether somebody has asked for the path.
func (i *pythonIndex) heard(path string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.paths[path]
}

func digestOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// addWheel puts a wheel of a pure package into the index, and returns its digest.
func (i *pythonIndex) addWheel(t testing.TB, name, version string, metadata string, f files) string {
	info := fmt.Sprintf("%s-%s.dist-info/", strings.ReplaceAll(name, "-", "_"), version)
	all := maps.Clone(f)
	all[info+"METADATA"] = fmt.Sprintf("Metadata-Version: 2.4\nName: %s\nVersion: %s\n%s", name, version, metadata)
	all[info+"WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
	record := ""
	for _, file := range slices.Sorted(maps.Keys(all)) {
		sum := sha256.Sum256([]byte(all[file]))
		record += fmt.Sprintf("%s,sha256=%s,%d\n", file, base64.RawURLEncoding.EncodeToString(sum[:]), len(all[file]))
	}
	all[info+"RECORD"] = record + info + "RECORD,,\n"
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, file := range slices.Sorted(maps.Keys(all)) {
		w, err := z.Create(file)
		if err == nil {
			_, err = w.Write([]byte(all[file]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.archives[fmt.Sprintf("%s-%s-py3-none-any.whl", strings.ReplaceAll(name, "-", "_"), version)] = out.Bytes()
	return digestOf(out.Bytes())
}

// addSource puts a source archive into the index.
func (i *pythonIndex) addSource(t testing.TB, name, version string, f files) {
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	archive := tar.NewWriter(compressed)
	for _, file := range slices.Sorted(maps.Keys(f)) {
		if err := archive.WriteHeader(&tar.Header{Name: fmt.Sprintf("%s-%s/%s", name, version, file), Mode: 0o644, Size: int64(len(f[file]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(f[file])); err != nil {
			t.Fatal(err)
		}
	}
	if archive.Close() != nil || compressed.Close() != nil {
		t.Fatal("the archive cannot be made")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.archives[fmt.Sprintf("%s-%s.tar.gz", name, version)] = out.Bytes()
}
