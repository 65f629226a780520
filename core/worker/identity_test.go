package worker

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestIdentity(t *testing.T) {
	data, other := t.TempDir(), t.TempDir()
	first, err := identity(data)
	if err != nil || first == "" {
		t.Fatalf("the first id is %q, %v", first, err)
	}
	if again, err := identity(data); err != nil || again != first {
		t.Errorf("the id was %q and is %q after a restart, %v", first, again, err)
	}
	if of, err := identity(other); err != nil || of == first {
		t.Errorf("another directory has the id %q too, %v", of, err)
	}
	for _, damaged := range []string{"", "x", first[1:] + "/"} {
		if err := os.WriteFile(filepath.Join(data, identityFile), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		made, err := identity(data)
		if err != nil || made == first || len(made) != len(first) {
			t.Errorf("in place of the damaged id %q there is %q, %v", damaged, made, err)
		}
		if again, err := identity(data); err != nil || again != made {
			t.Errorf("that id was %q and is %q after a restart, %v", made, again, err)
		}
	}
	full := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(full, identityFile+".new")); err != nil {
		t.Fatal(err)
	}
	if id, err := identity(full); err != nil || len(id) != len(first) {
		t.Errorf("on a full disk the id is %q, %v", id, err)
	}
	if _, err := identity(filepath.Join(data, "absent")); !core.IsKind(err, core.KindInternal) {
		t.Errorf("without a directory: %v", err)
	}
}

// An event may ask for a version: the deployed one serves it, any other is not found.
func TestInvokeAVersion(t *testing.T) {
	fn := core.Function{Name: "f", Version: 1, Runtime: "lang1"}
	w := deployed(t, io.Discard, fn)
	if _, err := w.Invoke(t.Context(), core.Invocation{Function: "f", Version: fn.Version + 1}); !core.IsKind(err, core.KindNotFound) ||
		err.Error() != `there is no version 2 of the function "f": version 1 is deployed` {
		t.Errorf("a version that is not deployed: %v", err)
	}
}
