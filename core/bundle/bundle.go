// Package bundle reads the upload of a user. It unpacks an archive of a function's directory, and reads the
// files in it that describe the function: pipsqueak.yaml (its settings), pipsqueak.lock and .pipsqueakignore.
// It finds the function's runtime and handler.
package bundle

import (
	"context"
	"io"
	"os"

	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// Bundle is what a signature of an archive covers.
type Bundle struct {
	Name   string // that its settings give the function; empty when it gives none
	Digest string // of the tree that Unpack makes of it, whatever it is packed with
}

// Read reads an archive as a worker would, in a temporary directory of its own, which it removes again. Its
// errors are those of Unpack.
func Read(ctx context.Context, archive io.Reader) (Bundle, error) {
	dir, err := os.MkdirTemp("", "pipsqueak-bundle-")
	if err != nil {
		return Bundle{}, files.DiskError(os.TempDir(), err)
	}
	defer os.RemoveAll(dir)
	tree, _, err := Unpack(ctx, archive, dir)
	if err != nil {
		return Bundle{}, err
	}
	settings, err := LoadSettings(tree)
	if err != nil {
		return Bundle{}, err
	}
	root, err := os.OpenRoot(tree)
	if err != nil {
		return Bundle{}, files.DiskError(tree, err)
	}
	defer root.Close()
	digest, err := files.Digest(root)
	return Bundle{Name: settings.Name, Digest: digest}, err
}
