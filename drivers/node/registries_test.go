package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestRegistries(t *testing.T) {
	for text, want := range map[string][]string{
		"":                       {defaultRegistry},
		"fund=false\nregistry\n": {defaultRegistry},
		"; a comment\nregistry = \"https://npm.example.org/x/\"\n@mine:registry=https://me:word@mine.example.org/\n//mine.example.org/:_authToken=secret\n": {
			"https://npm.example.org/x/", "https://mine.example.org/"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ".npmrc"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := registries(dir); !slices.Equal(got, want) {
			t.Errorf("%q: %q and not %q", text, got, want)
		}
	}
	if got := registries(t.TempDir()); !slices.Equal(got, []string{defaultRegistry}) {
		t.Errorf("without a configuration: %q", got)
	}
}
