package conform

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// The functions in the directory of handlers. docs/conformance.md says what each has to do.
const (
	conform = "conform" // does what its event says
	raises  = "raises"  // raises when it is imported
	exits   = "exits"   // asks for the end of the process when it is imported
	wrong   = "wrong"   // has a manifest that cannot be resolved, or source that cannot be built
)

// The modules in the packages beside them.
const (
	modA       = "kit_a"       // holds heldBytes
	modB       = "kit_b"       // takes 50 ms
	modAsks    = "kit_asks"    // looks for missing, missingFile and missingVariable, and does without
	modRaises  = "kit_raises"  // raises
	modExits   = "kit_exits"   // asks for the end of the process
	modDies    = "kit_dies"    // ends the process at once
	modHangs   = "kit_hangs"   // never ends
	modThreads = "kit_threads" // leaves a thread behind
	modWhich   = "kit_which"   // is in two packages: prints the version of its own
)

// missing is a module that is nowhere.
const missing = "kit_is_not_there"

// missingFile is a file that is not in the working directory.
const missingFile = "kit_no_file"

// missingVariable is an environment variable that is not set.
const missingVariable = "KIT_NO_VARIABLE"

const heldBytes = 24 << 20 // of memory that kit_a fills and keeps

// function is one of the functions, ready to be imported.
type function struct {
	name    string
	handler string // "file.symbol"
	err     error  // why it is no function
	unmade  error  // why the driver could not resolve or build it
}

// readPackages copies the packages of the handlers' directory, each <name>-<version>.
func (k *Kit) readPackages() error {
	entries, err := os.ReadDir(filepath.Join(k.options.Handlers, "packages"))
	if err != nil {
		return fmt.Errorf("the kit's packages in the driver's language: %w", err)
	}
	var all []core.Package
	for _, entry := range entries {
		i := strings.LastIndexByte(entry.Name(), '-')
		if i < 1 {
			return fmt.Errorf("%s in the directory of packages is not called <name>-<version>", entry.Name())
		}
		all = append(all, core.Package{Name: entry.Name()[:i], Version: entry.Name()[i+1:], Digest: entry.Name()})
		if err := copyTree(filepath.Join(k.options.Handlers, "packages", entry.Name()), filepath.Join(k.dir, "packages", entry.Name())); err != nil {
			return err
		}
	}
	k.packages = core.NewSet(all...)
	return nil
}

// packageDirs are the packages as a process sees them.
func (t *trial) packageDirs() (dirs []string) {
	for _, p := range t.packages {
		dirs = append(dirs, core.PackageDir(p))
	}
	return dirs
}

// notes are what kit.json in the directory of handlers says of the language.
type notes struct {
	Modules   map[string]string `json:"modules"`   // what modules are called that cannot have the kit's names
	Stackless string            `json:"stackless"` // why exceptions have no stack; empty when they have
	Forkless  string            `json:"forkless"`  // why a handler cannot fork its process; empty when it can
	Causeless string            `json:"causeless"` // why exceptions have no causes; empty when they have
}

// readNotes reads kit.json, which may be absent.
func (k *Kit) readNotes() error {
	text, err := os.ReadFile(filepath.Join(k.options.Handlers, "kit.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &k.notes)
	}
	if err != nil {
		return fmt.Errorf("kit.json: %w", err)
	}
	return nil
}

// module returns what the language calls one of the kit's modules.
func (t *trial) module(name string) string { return cmp.Or(t.notes.Modules[name], name) }

// load is what a zygote is asked to import.
func (t *trial) load(modules ...string) core.Load {
	t.buildPackages()
	l := core.Load{Packages: t.packageDirs()}
	for _, m := range modules {
		l.Modules = append(l.Modules, t.module(m))
	}
	return l
}

// function returns one of the functions, prepared as a deploy prepares it.
func (t *trial) function(name string) *function {
	f := t.functions[name]
	if f == nil {
		f = &function{name: name}
		t.functions[name] = f
		f.err = t.prepare(f)
	}
	t.must(f.err, "preparing the function %s", name)
	return f
}

// prepare copies a function, and has the driver resolve and build it. That this fails is told by one case;
// the others try.
func (t *trial) prepare(f *function) error {
	dir := filepath.Join(t.dir, "functions", f.name)
	if err := copyTree(filepath.Join(t.options.Handlers, f.name), dir); err != nil {
		return err
	}
	runtime := t.runtime()
	h, ok := handlerIn(runtime, dir)
	if !ok {
		return fmt.Errorf("there is none of the files %v in %s", runtime.Handlers, filepath.Join(t.options.Handlers, f.name))
	}
	t.buildPackages()
	f.handler = h.Handler
	f.unmade = t.make(runtime.ID, f.handler, dir)
	return nil
}

// handlerIn returns what makes a directory a function of the runtime, if something does.
func handlerIn(runtime core.Runtime, dir string) (core.HandlerFile, bool) {
	i := slices.IndexFunc(runtime.Handlers, func(h core.HandlerFile) bool {
		_, err := os.Stat(filepath.Join(dir, h.File))
		return err == nil
	})
	if i < 0 {
		return core.HandlerFile{}, false
	}
	return runtime.Handlers[i], true
}

// buildPackages makes packages of those that are sources: they have a file that makes a function, and are
// built as one.
func (t *trial) buildPackages() {
	t.sandboxes()
	if runtime := t.runtime(); !t.packagesBuilt {
		t.packagesBuilt, t.noPackages = true, errors.New("a case before this one ended meanwhile")
		t.noPackages = t.makePackages(runtime)
	}
	t.must(t.noPackages, "building the kit's packages")
}

func (t *trial) makePackages(runtime core.Runtime) error {
	for _, p := range t.packages {
		dir := filepath.Join(t.dir, "packages", p.Digest)
		if h, ok := handlerIn(runtime, dir); ok {
			if err := t.make(runtime.ID, h.Handler, dir); err != nil {
				return fmt.Errorf("the package %s: %w", p.Digest, err)
			}
		}
	}
	return nil
}

// make has the driver resolve and build what is in a directory, where it can.
func (t *trial) make(runtime core.RuntimeID, handler, dir string) error {
	parts, code := t.shared().Parts(), core.Mount{Source: dir, Target: core.CodeDir, Writable: true}
	if parts.Installer != nil {
		if _, err := parts.Installer.Resolve(t.ctx, core.ResolveRequest{Runtime: runtime, Handler: handler, Door: t.installer(code)}); err != nil {
			return fmt.Errorf("resolving it: %w", err)
		}
	}
	if parts.Builder != nil {
		request := core.BuildRequest{Runtime: runtime, Handler: handler, Door: t.installer(code)}
		if _, err := parts.Builder.Build(t.ctx, request, nil); err != nil {
			return fmt.Errorf("building it: %w", err)
		}
	}
	return nil
}

// installer makes a sandbox for third-party programs in which the mount is seen.
func (t *trial) installer(mount core.Mount) core.Door {
	return t.box(core.RoleInstaller, func(c *core.SandboxConfig) {
		c.Mounts = append([]core.Mount{mount}, c.Runtime.Tools...)
	}).Door()
}

// copyTree copies a directory so that everybody may read it, and change it where he sees it writable.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if entry.IsDir() {
			return errors.Join(os.MkdirAll(target, 0o700), os.Chmod(target, 0o777))
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			link, err := os.Readlink(path)
			return errors.Join(err, os.Symlink(link, target))
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return errors.Join(os.WriteFile(target, text, 0o600), os.Chmod(target, info.Mode().Perm()|0o444))
	})
}
