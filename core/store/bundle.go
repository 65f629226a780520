package store

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Bundle is what a signature of an archive is about.
type Bundle struct {
	Name   string // that its manifest gives the function; empty when it gives none
	Digest string // of the tree that Unpack makes of it, whatever it is packed with
}

// ReadBundle reads an archive as a worker would, in a temporary directory of its own, which it removes again. Errors are as of Unpack.
func ReadBundle(ctx context.Context, archive io.Reader) (Bundle, error) {
	dir, err := os.MkdirTemp("", "pipsqueak-bundle-")
	if err != nil {
		return Bundle{}, diskError(os.TempDir(), err)
	}
	defer os.RemoveAll(dir)
	if err := os.Mkdir(filepath.Join(dir, "staging"), 0o700); err != nil {
		return Bundle{}, diskError(dir, err)
	}
	s := &Store{dir: dir, bounds: defaultBounds}
	tree, _, err := s.Unpack(ctx, archive)
	if err != nil {
		return Bundle{}, err
	}
	manifest, err := LoadManifest(tree)
	if err != nil {
		return Bundle{}, err
	}
	digest, err := s.StagedDigest(tree)
	return Bundle{Name: manifest.Name, Digest: digest}, err
}

// StagedDigest returns the digest of a tree in staging as it is now: before anything was resolved, that of the Bundle.
func (s *Store) StagedDigest(dir string) (string, error) {
	root, err := s.openStaged(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	items, err := scan(root, func(spot, item) error { return nil })
	if err != nil {
		return "", core.AsError(err)
	}
	return digestOf(manifest(items)), nil
}
