package core

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
)

// Storage is a directory of a function that outlives its instances. Functions of one namespace that name the
// same one share it.
type Storage struct {
	Name string `json:"name,omitempty"` // in the function's namespace; empty for the function's own
	Path string `json:"path"`           // where instances find it
	Size int64  `json:"size"`           // bytes, which the kernel bounds
}

// Bounds of the size of a Storage, in bytes.
const (
	MinStorage = 16 << 20
	MaxStorage = 1 << 40
)

// StorageInfo is what is known of a storage.
type StorageInfo struct {
	Name      string   `json:"name"` // the full one, as a function's
	Size      int64    `json:"size"` // bytes on the disk of the worker
	Free      int64    `json:"free"` // bytes of them that no file takes
	Functions []string `json:"functions"`
}

// Storages is the part of a Service that keeps storages.
type Storages interface {
	// Storages returns all storages, sorted by name.
	Storages(ctx context.Context) ([]StorageInfo, error)
	// RemoveStorage removes a storage with everything in it. KindConflict if a function uses it, KindNotFound
	// if there is none.
	RemoveStorage(ctx context.Context, name string) error
}

// StorageName returns the full name of a function's storage.
func (f *Function) StorageName() string {
	short, _, _ := strings.Cut(f.Name, ".")
	return FullName(cmp.Or(f.Storage.Name, short), Namespace(f.Name))
}

// noStorage are directories at the top in which a storage cannot be: what is in them belongs to every
// sandbox. That of the code is the function's own.
var noStorage = []string{"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "out", "packages", "pipsqueak", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"}

// ValidStorage returns the reason why a function cannot have a storage, nil if it can.
func ValidStorage(s *Storage) error {
	first, _, _ := strings.Cut(strings.TrimPrefix(s.Path, "/"), "/")
	switch {
	case !path.IsAbs(s.Path) || path.Clean(s.Path) != s.Path || s.Path == "/" || len(s.Path) > 200 || strings.ContainsFunc(s.Path, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return Errorf(KindInvalid, FaultCaller, "a storage cannot be at %.200q: its path is absolute and plain, such as /data", s.Path)
	case s.Path == CodeDir:
		return Errorf(KindInvalid, FaultCaller, "a storage cannot be at %s, where the code is: take a directory in it, such as %s/data", CodeDir, CodeDir)
	case slices.Contains(noStorage, first):
		return Errorf(KindInvalid, FaultCaller, "a storage cannot be below /%s, which every sandbox has: take a path such as /data", first)
	case s.Size < MinStorage || s.Size > MaxStorage:
		return Errorf(KindInvalid, FaultCaller, "a storage has a size from %d MiB to %d GiB", MinStorage>>20, MaxStorage>>30)
	case s.Name != "" && !validName.MatchString(s.Name):
		return Errorf(KindInvalid, FaultCaller, "%.150q cannot be the name of a storage: a name has 1 to 63 letters a–z and A–Z, digits, '-' and '_', "+
			"and begins and ends with a letter or digit; it is one of the function's own namespace", s.Name)
	}
	return nil
}
