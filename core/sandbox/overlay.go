package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Some packages are parts of a system: their programs look for their own files below /usr and /etc, where
// nothing of a function's can be put. So these directories are overlays, for processes that run code of
// functions: what is Pipsqueak's own comes first, then the packages, then the host.

// ownDirs are the directories besides the host's in which such packages have files. They are made for each
// root directory.
var ownDirs = []string{"/etc", "/opt", "/srv", "/var"}

// lower begins an option of an overlay that names a directory of it, the upper one first. With nothing behind
// it the directory is the one that the overlay is mounted on.
const lower = "lowerdir+="

// overlaid returns the mounts of the system with the layers over them: directories of the host that are laid
// out like a root directory.
func overlaid(system []specs.Mount, layers []string) []specs.Mount {
	if len(layers) == 0 {
		return system
	}
	var out []specs.Mount
	for _, dir := range ownDirs {
		if over := having(layers, dir); len(over) > 0 {
			out = append(out, overlay(dir, append([]string{""}, over...)))
		}
	}
	for _, m := range system {
		if over := having(layers, m.Destination); len(over) > 0 && isDir(m.Source) {
			m = overlay(m.Destination, append(over, m.Source))
		}
		out = append(out, m)
	}
	return out
}

func overlay(target string, dirs []string) specs.Mount {
	m := specs.Mount{Destination: target, Type: "overlay", Source: "overlay", Options: []string{"ro", "nosuid", "nodev"}}
	for _, dir := range dirs {
		m.Options = append(m.Options, lower+dir)
	}
	return m
}

// having returns the directories of that name in the layers.
func having(layers []string, dir string) (found []string) {
	for _, layer := range layers {
		if path := filepath.Join(layer, dir); isDir(path) {
			found = append(found, path)
		}
	}
	return found
}

// isDir tells a directory from a link to one, which could lead anywhere.
func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// layersOf returns those of a function's packages that are to be seen in the system's directories.
func (h *Host) layersOf(config core.SandboxConfig) (layers []string, err error) {
	if config.Runtime.Overlay == "" || config.Role == core.RoleInstaller { // an installer looks at packages and must not run them
		return nil, nil
	}
	for _, p := range config.Packages {
		if strings.HasPrefix(p.Name, config.Runtime.Overlay) {
			path, err := h.store.PackagePath(config.Runtime.ID, p.Digest)
			if err != nil {
				return nil, err
			}
			layers = append(layers, path)
		}
	}
	return layers, nil
}

// attachOverlay mounts an overlay at a place that is open already. The kernel takes a page of text for all
// directories, so they get short names.
func (r *roots) attachOverlay(place int, m specs.Mount) (err error) {
	names := filepath.Join(r.dir, "names")
	if err := os.Mkdir(names, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Chdir("/"), os.RemoveAll(names)) }()
	var short []string
	for _, option := range m.Options {
		path, is := strings.CutPrefix(option, lower)
		if !is {
			continue
		}
		if path == "" {
			path = fmt.Sprintf("/proc/self/fd/%d", place)
		}
		short = append(short, strconv.Itoa(len(short)))
		if err := os.Symlink(path, filepath.Join(names, short[len(short)-1])); err != nil {
			return err
		}
	}
	if err := unix.Chdir(names); err != nil { // of this thread alone
		return err
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if slices.Contains(m.Options, "ro") {
		flags |= unix.MS_RDONLY
	}
	err = unix.Mount("overlay", fmt.Sprintf("/proc/self/fd/%d", place), "overlay", flags, "lowerdir="+strings.Join(short, ":"))
	if err != nil {
		return fmt.Errorf("laying %s over %s: %w (the kernel needs overlayfs; pipsqueak doctor reports more)",
			core.Count(len(short)-1, "package", "packages"), m.Destination, err)
	}
	return nil
}
