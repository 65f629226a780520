package integration

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does an installation depend on which npm is beside node?

// besideNode returns the program of a node that has this npm beside it.
func (m manager) besideNode(t testing.TB) string {
	t.Helper()
	prefix := t.TempDir()
	program := filepath.Join(prefix, "bin/node")
	err := errors.Join(os.Mkdir(filepath.Join(prefix, "bin"), 0o755), os.MkdirAll(filepath.Join(prefix, "lib/node_modules"), 0o755),
		os.Symlink(filepath.Join(m.dir, "node_modules/npm"), filepath.Join(prefix, "lib/node_modules/npm")))
	if err == nil && os.Link(m.node(), program) != nil { // a link of the file would be followed to where it is
		var content []byte
		if content, err = os.ReadFile(m.node()); err == nil {
			err = os.WriteFile(program, content, 0o755)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// TestNodeNPMVersions installs with the libraries of each npm: what is resolved, installed, verified and
// refused is the same with all.
func TestNodeNPMVersions(t *testing.T) {
	system(t)
	coretest.Requires(t, Node, PackageManagers)
	f := files{"index.js": "exports.handler = () => [require('mid'), require('leaf')];", "package.json": `{"name":"root","dependencies":{"mid":"^1.0.0","leaf":"2.0.0","carrier":"1.0.0"}}`}
	var first []core.Package
	for _, m := range managers("npm") {
		t.Run(m.version, func(t *testing.T) {
			r := shapesIndex(t)
			r.keys = true
			t.Setenv("PIPSQUEAK_NODE", m.besideNode(t))
			w := r.worker(t)
			if strings.HasPrefix(m.version, "7.") { // it has no libraries that the installer could use
				e := w.put(t, "npm", f).expectError(t, core.KindUnsupported, core.FaultWorker, http.StatusNotImplemented)
				if !strings.Contains(e.Message, "older than npm 8") {
					t.Errorf("%s", e.Message)
				}
				return
			}
			fn := w.deploy(t, "npm", f)
			if first == nil {
				first = fn.Packages
			}
			if !slices.Equal(fn.Packages, first) {
				t.Errorf("with npm %s: %v\nand with another %v", m.version, fn.Packages, first)
			}
			if got := result[[]string](t, w, "npm", `{}`); !slices.Equal(got, []string{"1.0.0", "2.0.0"}) {
				t.Errorf("%v", got)
			}
			for _, p := range fn.Packages {
				if s := inStore(t, w, p).Receipt.Signatures; len(s) != 1 || !s[0].Verified {
					t.Errorf("the signatures of %s: %+v", p, s)
				}
			}
			r.dist("leaf", "1.0.0")["signatures"] = []any{r.sign("leaf", "1.0.1", r.dist("leaf", "1.0.0")["integrity"].(string))}
			e := w.put(t, "forged", files{"index.js": nodeEcho, "package.json": `{"dependencies":{"leaf":"1.0.0"}}`}).expectError(t, core.KindInstall, core.FaultWorker, http.StatusServiceUnavailable)
			if !strings.Contains(e.Message, "invalid registry signature") {
				t.Errorf("%s", e.Message)
			}
			r.publish("empty", "1.0.0", map[string]any{"name": "empty", "version": "1.0.0"}, nil)
			w.put(t, "empty", files{"index.js": nodeEcho, "package.json": `{"dependencies":{"empty":"1.0.0"}}`}).expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
		})
	}
}
