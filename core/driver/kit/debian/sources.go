package debian

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Registries returns the addresses of the Debian archives that the host's /etc/apt names, as core.Runtime has
// them.
func Registries() []string { return registries("/etc/apt") }

func registries(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", "*"))
	var all []string
	for _, path := range append([]string{filepath.Join(dir, "sources.list")}, files...) {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		switch filepath.Ext(path) {
		case ".list":
			all = append(all, addresses(string(text))...)
		case ".sources":
			all = append(all, addressesOfStanzas(string(text))...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// addresses reads the older format, of one line for each archive: deb [options] URI suite components.
func addresses(text string) (all []string) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if kind == "deb" || kind == "deb-src" {
			all = append(all, reachable(rest)...)
		}
	}
	return all
}

// addressesOfStanzas reads the newer one, deb822: stanzas of fields, whose lines go on where the next begins
// with a space.
func addressesOfStanzas(text string) (all []string) {
	for stanza := range strings.SplitSeq(strings.ReplaceAll(text, "\n\n", "\n\x00"), "\x00") {
		var found []string
		enabled, field := true, ""
		for line := range strings.Lines(stanza) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			value := line
			if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
				field, value, _ = strings.Cut(line, ":")
			}
			switch strings.ToLower(field) {
			case "uris":
				found = append(found, reachable(value)...)
			case "enabled":
				enabled = !slices.Contains([]string{"no", "false", "0", "off", "without", "disable"}, strings.ToLower(strings.TrimSpace(value)))
			}
		}
		if enabled {
			all = append(all, found...)
		}
	}
	return all
}

// reachable returns of some words the addresses that are reached over a network, as scheme and host: the rest
// may have a password.
func reachable(words string) (all []string) {
	for _, word := range strings.Fields(words) {
		u, err := url.Parse(strings.TrimPrefix(word, "mirror+"))
		if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
			all = append(all, u.Scheme+"://"+u.Host)
		}
	}
	return all
}
