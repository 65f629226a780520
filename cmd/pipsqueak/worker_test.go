package main

import (
	"slices"
	"testing"
)

func TestWorkerEnvironment(t *testing.T) {
	passed := []string{"PIPSQUEAK_PYTHON=/x", "https_proxy=http://p", "PIP_INDEX_URL=https://i", "npm_config_registry=https://n", "SSL_CERT_FILE=/c",
		"PIPSQUEAK_REGISTRIES=files.example.org, http://mirror:8080\t[::1]:80,"}
	config := workerConfig{Data: "/d"}.withEnvironment(append([]string{"PATH=/bin", "AWS_SECRET_ACCESS_KEY=x", "SSL_CERT_FILES=x", "PIPSQUEAK_TOKEN=x", "PIPSQUEAK_SECRET_KEYS=x", "PIPX=1", "=PIP_"}, passed...))
	if !slices.Equal(config.Env, passed) {
		t.Errorf("drivers get %q", config.Env)
	}
	if want := []string{"files.example.org", "http://mirror:8080", "[::1]:80"}; !slices.Equal(config.Registries, want) || config.Data != "/d" {
		t.Errorf("%q and not %q", config.Registries, want)
	}
}
