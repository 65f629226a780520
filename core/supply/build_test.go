package supply

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The state of a toolchain is another one after any change of it, also one that keeps the size.
func TestStateOf(t *testing.T) {
	dir := t.TempDir()
	tools, link, missing := filepath.Join(dir, "tools"), filepath.Join(dir, "cc"), filepath.Join(dir, "missing")
	file := filepath.Join(tools, "deep", "cc1")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Dir(file), 0o755))
	must(os.WriteFile(file, []byte("one"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "cc-12"), []byte("c"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "cc-13"), []byte("c"), 0o755))
	must(os.Symlink("cc-12", link))
	seen := map[string]string{}
	look := func(what string) {
		t.Helper()
		state, err := stateOf([]string{tools, link, missing})
		must(err)
		if again, err := stateOf([]string{tools, link, missing}); err != nil || again != state {
			t.Errorf("%s: it is %s and %s, %v", what, state, again, err)
		}
		if before, is := seen[state]; is {
			t.Errorf("%s: it is the same as with %s", what, before)
		}
		seen[state] = what
	}
	look("nothing changed")
	must(os.Link(file, filepath.Join(dir, "link"))) // elsewhere
	if state, err := stateOf([]string{tools, link, missing}); err != nil || seen[state] == "" {
		t.Errorf("a hard link elsewhere makes it another one, %v", err)
	}
	time.Sleep(20 * time.Millisecond) // more than a tick of the kernel's clock
	must(os.WriteFile(file, []byte("two"), 0o755))
	look("a file that was changed, and is as long as before")
	must(os.WriteFile(filepath.Join(tools, "more"), nil, 0o644))
	look("one file more")
	must(os.Remove(link))
	must(os.Symlink("cc-13", link))
	look("another compiler")
	must(os.Mkdir(missing, 0o755))
	look("what was missing")
	must(os.Remove(file))
	look("a file less")
	if _, err := stateOf([]string{"/proc/self/mem/x"}); err == nil {
		t.Error("what cannot be looked at has a state")
	}
}
