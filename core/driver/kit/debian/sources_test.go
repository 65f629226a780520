package debian

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestRegistries(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sources.list.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"sources.list": "# deb http://comment.example.org/ x main\ndeb http://deb.example.org/debian bookworm main # http://remark.example.org/\n" +
			"deb-src [ arch=amd64 signed-by=/k.gpg ] https://me:word@src.example.org:8443/debian bookworm main\ndeb cdrom:[x]/ bookworm main\ndeb file:/srv/debian ./\n" +
			"deb mirror+https://mirrors.example.org/list.txt bookworm main\n",
		"sources.list.d/a.sources": "Types: deb\nURIs: http://one.example.org/debian\n https://two.example.org/\n# http://comment.example.org\nSuites: x\n" +
			"Description: a text\n  with https://other.example.org in it\n\n\nTypes: deb\nEnabled: No\nURIs: http://off.example.org/\n\nuris:http://three.example.org",
		"sources.list.d/b.list":          "deb http://deb.example.org/security x main\n",
		"sources.list.d/c.list.disabled": "deb http://disabled.example.org/ x main\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"http://deb.example.org", "http://one.example.org", "http://three.example.org", "https://mirrors.example.org",
		"https://src.example.org:8443", "https://two.example.org"}
	if got := registries(dir); !slices.Equal(got, want) {
		t.Errorf("%q\nand not\n%q", got, want)
	}
	if got := registries(filepath.Join(dir, "none")); len(got) != 0 {
		t.Errorf("of nothing: %q", got)
	}
}
