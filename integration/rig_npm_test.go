package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// npmIndex is a registry of npm packages on the loopback, which signs what it has.
type npmIndex struct {
	*httptest.Server
	t    testing.TB
	keys bool // whether it tells its keys

	mu       sync.Mutex
	packages map[string]map[string]any // name -> version -> what it says of it
	archives map[string][]byte         // by path
	asked    map[string]int            // requests by path
	signer   *ecdsa.PrivateKey
	fails    func(http.ResponseWriter, *http.Request) bool // whether it has answered a request itself; nil for none
	moved    bool                                          // whether archives are at an address that does not follow from the name
}

func newNPMIndex(t testing.TB) *npmIndex {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &npmIndex{t: t, packages: map[string]map[string]any{}, archives: map[string][]byte{}, asked: map[string]int{}, signer: signer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// add publishes a package whose package.json has the more keys besides. It returns the integrity.
func (r *npmIndex) add(name, version string, more map[string]any, content files) string {
	r.t.Helper()
	manifest := map[string]any{"name": name, "version": version}
	for key, value := range more {
		manifest[key] = value
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		r.t.Fatal(err)
	}
	packed := files{"package/package.json": string(text)}
	for file, body := range content {
		packed["package/"+file] = body
	}
	return r.publish(name, version, manifest, packed.archive(r.t))
}

func (r *npmIndex) publish(name, version string, manifest map[string]any, archive []byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := sha512.Sum512(archive)
	integrity := "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
	path := fmt.Sprintf("/%s/-/%s-%s.tgz", name, filepath.Base(name), version)
	if r.moved {
		path = "/elsewhere" + path
	}
	r.archives[path] = archive
	if r.packages[name] == nil {
		r.packages[name] = map[string]any{}
	}
	scripts, _ := manifest["scripts"].(map[string]string)
	manifest["hasInstallScript"] = scripts["install"] != ""
	manifest["dist"] = map[string]any{"tarball": r.URL + path, "integrity": integrity, "signatures": []any{r.sign(name, version, integrity)}}
	r.packages[name][version] = manifest
	return integrity
}

func (r *npmIndex) sign(name, version, integrity string) map[string]string {
	digest := sha256.Sum256([]byte(name + "@" + version + ":" + integrity))
	signature, err := ecdsa.SignASN1(rand.Reader, r.signer, digest[:])
	if err != nil {
		r.t.Fatal(err)
	}
	return map[string]string{"keyid": "SHA256:of-the-test", "sig": base64.StdEncoding.EncodeToString(signature)}
}

// dist is what the registry says of an archive, to be changed.
func (r *npmIndex) dist(name, version string) map[string]any {
	return r.packages[name][version].(map[string]any)["dist"].(map[string]any)
}

func (r *npmIndex) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	path := request.URL.Path
	r.asked[path]++
	fails := r.fails
	r.mu.Unlock()
	if fails != nil && fails(w, request) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := func(value any) { _ = json.NewEncoder(w).Encode(value) }
	name, version := strings.TrimPrefix(path, "/"), ""
	if at := strings.LastIndex(name, "/"); at > 0 && (name[0] != '@' || strings.Count(name, "/") > 1) {
		name, version = name[:at], name[at+1:]
	}
	archive, is := r.archives[path]
	switch known := r.packages[name]; {
	case is:
		_, _ = w.Write(archive)
	case path == "/-/npm/v1/keys" && r.keys:
		public, err := x509.MarshalPKIXPublicKey(&r.signer.PublicKey)
		if err != nil {
			r.t.Error(err)
		}
		answer(map[string]any{"keys": []any{map[string]any{"keyid": "SHA256:of-the-test", "expires": nil, "keytype": "ecdsa-sha2-nistp256", "scheme": "ecdsa-sha2-nistp256",
			"key": base64.StdEncoding.EncodeToString(public)}}})
	case known != nil && version == "":
		latest := ""
		for v := range known {
			latest = max(latest, v)
		}
		answer(map[string]any{"name": name, "dist-tags": map[string]string{"latest": latest}, "versions": known})
	case known != nil && known[version] != nil:
		answer(known[version])
	default:
		w.WriteHeader(http.StatusNotFound)
		answer(map[string]string{"error": "not found"})
	}
}

// worker starts a worker that has no other registry.
func (r *npmIndex) worker(t testing.TB) *worker {
	t.Helper()
	t.Setenv("NPM_CONFIG_REGISTRY", r.URL+"/")
	return startWorker(t, t.TempDir())
}

// inStore returns what the worker's store knows of a package.
func inStore(t testing.TB, w *worker, pkg core.Package) core.Installed {
	t.Helper()
	matches, err := filepath.Glob(filepath.Join(w.data, "index", "node*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range matches {
		var found core.Installed
		text, err := os.ReadFile(match)
		if err == nil {
			err = json.Unmarshal(text, &found)
		}
		if err != nil {
			t.Fatal(err)
		}
		if found.Package == pkg {
			return found
		}
	}
	t.Fatalf("the store does not know %s", pkg)
	return core.Installed{}
}

// packageOf returns the function's package of that name.
func packageOf(t testing.TB, fn core.Function, name string) core.Package {
	t.Helper()
	for _, p := range fn.Packages {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("the function has no %s: %v", name, fn.Packages)
	return core.Package{}
}
