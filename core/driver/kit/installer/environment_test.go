package installer

import (
	"slices"
	"strings"
	"testing"
)

func TestEnv(t *testing.T) {
	t.Setenv("NO_PROXY", "*")
	t.Setenv("HTTPS_PROXY", "http://elsewhere:1")
	t.Setenv("SECRET", "x")
	env := Env("OWN=1")
	for _, want := range []string{"HOME=/tmp", "HTTPS_PROXY=http://127.0.0.1:3128", "http_proxy=http://127.0.0.1:3128", "OWN=1"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is not in %q", want, env)
		}
	}
	for _, entry := range env {
		if name, _, _ := strings.Cut(strings.ToUpper(entry), "="); name == "NO_PROXY" || name == "SECRET" {
			t.Errorf("%s is in it", entry)
		}
	}
}

func TestRegistry(t *testing.T) {
	for address, want := range map[string]string{
		"https://me:word@example.org/simple": "https://example.org/simple",
		"https://example.org":                "https://example.org",
		"http://me:word@[::1":                "[::1",
	} {
		if got := Registry(address); got != want {
			t.Errorf("%s is %s", address, got)
		}
	}
}
