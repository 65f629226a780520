package integration

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does a deploy name the host that could not be reached, in every language?

// wanting is, by language, a function that asks for a package, and the host that it comes from unless the
// operator says otherwise.
var wanting = map[string]struct {
	files files
	host  string
}{
	"python": {handlerFile("def handler(event, context): pass\n").with("requirements.txt", "six==1.17.0\n"), "pypi.org"},
	"node":   {files{"index.js": "exports.handler = () => {};\n", "package.json": `{"dependencies":{"isarray":"2.0.5"}}`}, "registry.npmjs.org"},
	"ruby":   {files{"handler.rb": "def handler(event:, context:) = nil\n", "Gemfile": "source 'https://rubygems.org'\ngem 'rainbow'\n"}, "rubygems.org"},
	"debian": {files{"handler.rb": "def handler(event:, context:) = nil\n", "pipsqueak.yaml": "debian: [figlet]\n"}, ""},
}

// TestUnreachedRegistries: a deploy whose packages cannot be fetched says which host it was, without
// credentials, what it or the proxy before it said, and what to do; it is the worker's to fix.
func TestUnreachedRegistries(t *testing.T) {
	system(t)
	coretest.Requires(t, Runtime("node"), Runtime("ruby"))
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }))
	t.Cleanup(failing.Close)
	address := failing.Listener.Addr().String()
	secret := "http://somebody:secret@" + address
	deployAll := func(t *testing.T, w *worker, through bool) {
		for language, test := range wanting {
			if language == "debian" && !through {
				continue // where Debian's packages come from, the machine's /etc/apt says
			}
			t.Run(language, func(t *testing.T) {
				host := test.host
				if !through {
					host = strings.Split(address, ":")[0]
				}
				said := w.put(t, "unreached-"+language, test.files).expectError(t, core.KindInstall, core.FaultWorker, http.StatusServiceUnavailable).Message
				if !strings.Contains(said, host) || !strings.Contains(said, "502") || strings.Contains(said, "secret") || !strings.Contains(said, "see ") {
					t.Errorf("it has to name %q, 502 and what to do, and no secret: %s", host, said)
				}
				if through && !strings.Contains(said, "the worker could not reach "+host) {
					t.Errorf("it does not say what the worker could not reach: %s", said)
				}
			})
		}
	}
	t.Run("proxy", func(t *testing.T) {
		for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
			t.Setenv(name, secret)
		}
		for _, name := range []string{"https_proxy", "http_proxy", "NO_PROXY", "no_proxy", "UV_DEFAULT_INDEX", "UV_INDEX", "PIP_INDEX_URL", "npm_config_registry", "NPM_CONFIG_REGISTRY", "PIPSQUEAK_GEM_SOURCE"} {
			t.Setenv(name, "")
		}
		deployAll(t, startWorker(t, t.TempDir()), true)
	})
	t.Run("registry", func(t *testing.T) {
		t.Setenv("UV_DEFAULT_INDEX", secret+"/simple")
		t.Setenv("npm_config_registry", secret+"/")
		t.Setenv("PIPSQUEAK_GEM_SOURCE", secret+"/")
		t.Setenv("PIPSQUEAK_REGISTRIES", "http://"+address)
		deployAll(t, startWorker(t, t.TempDir()), false)
	})
}
