package main

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/zygote"
)

const defaultRegistry = "https://registry.npmjs.org/"

// registries are where npm fetches packages from: the one of its user's configuration, which installers are shown, and those that it names for scopes.
func registries(home string) []string {
	file, err := os.Open(filepath.Join(home, ".npmrc"))
	if err != nil {
		return []string{defaultRegistry}
	}
	defer file.Close()
	chosen := defaultRegistry
	var scoped []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, is := strings.Cut(lines.Text(), "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"'`)
		switch {
		case !is || value == "":
		case key == "registry":
			chosen = zygote.Registry(value)
		case strings.HasPrefix(key, "@") && strings.HasSuffix(key, ":registry"):
			scoped = append(scoped, zygote.Registry(value))
		}
	}
	return slices.Concat([]string{chosen}, scoped)
}
