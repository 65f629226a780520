package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

func TestReadConfig(t *testing.T) {
	for name, c := range map[string]struct {
		global, user, environment string
		env, registries, cafile   string
	}{
		"nothing":    {"", "", "HOME=/x\nPATH=/y", "", "https://registry.npmjs.org/", ""},
		"no value":   {"", "fund=false\nregistry\n", "", "npm_config_registry=", "https://registry.npmjs.org/", ""},
		"the user's": {"registry=https://a.example/\n", "; a comment\n# another\nregistry = \"https://b.example/x/\"\n", "", "npm_config_registry=https://b.example/x/", "https://b.example/x/", ""},
		"the environment's": {"registry=https://a.example/\n", "registry=https://b.example/\n", "NPM_CONFIG_REGISTRY=https://c.example/",
			"npm_config_registry=https://c.example/", "https://c.example/", ""},
		"a scope, with a token": {"", "@mine:registry=https://me:word@m.example/\n//m.example/:_authToken=${TOKEN}\n", "TOKEN=t=1",
			"npm_config_//m.example/:_authToken=t=1 npm_config_@mine:registry=https://me:word@m.example/", "https://registry.npmjs.org/ https://m.example/", ""},
		"variables":            {"", "//a/:_auth=${NONE}\n//b/:_auth=${NONE?}\n", "", "npm_config_//a/:_auth=${NONE} npm_config_//b/:_auth=", "https://registry.npmjs.org/", ""},
		"nerf-darted variable": {"", "", "npm_config_//A/:_authToken=x\nNPM_CONFIG_STRICT_SSL=false", "npm_config_//A/:_authToken=x npm_config_strict-ssl=false", "https://registry.npmjs.org/", ""},
		"certificates":         {"", "cafile=/etc/x.pem\nca[]=\"a\\nb\"\nca[]=c\n", "", "npm_config_ca=a\nb\n\nc npm_config_cafile=/pipsqueak/tools/ca.pem", "https://registry.npmjs.org/", "/etc/x.pem"},
		"what is not passed": {"prefix=/opt\ncache=/x\nignore-scripts=false\nuserconfig=/y\n", "proxy=http://p\nhttps-proxy=http://p\nscript-shell=/z\n[section]\n",
			"NPM_CONFIG_CACHE=/y", "", "https://registry.npmjs.org/", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			drivertest.Write(t, dir, map[string]string{"global": c.global, "user": c.user})
			got, err := readConfig(strings.Split(c.environment, "\n"), filepath.Join(dir, "global"), filepath.Join(dir, "none"), filepath.Join(dir, "user"))
			if env := strings.Join(got.env, " "); err != nil || env != c.env {
				t.Errorf("%q, want %q: %v", env, c.env, err)
			}
			if registries := strings.Join(got.registries, " "); registries != c.registries || got.cafile != c.cafile {
				t.Errorf("%s, %q", registries, got.cafile)
			}
		})
	}
	// What cannot be read is told, and the rest counts.
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := readConfig([]string{"npm_config_registry=http://x"}, filepath.Join(dir, "directory"))
	if err == nil || !slices.Equal(got.registries, []string{"http://x"}) || !got.has("registry") || got.has("nodedir") {
		t.Errorf("%v, %v", got, err)
	}
}
