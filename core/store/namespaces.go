package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/routes"
)

// namespacesFile has the namespaces, an array of core.NamespaceSpec. The default one is in it only if it has
// quotas.
const namespacesFile = "namespaces.json"

// loadNamespaces reads the namespaces. Without them quotas would not count, so the worker does not start
// then.
func (s *Store) loadNamespaces() error {
	path := filepath.Join(s.dir, namespacesFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var specs []core.NamespaceSpec
	if err == nil {
		err = json.Unmarshal(data, &specs)
	}
	if err != nil {
		return core.Errorf(core.KindInvalid, core.FaultWorker, "%s cannot be read, and without it no quota would count: %w; repair or remove it", path, err)
	}
	for _, spec := range specs {
		s.namespaces[spec.Name] = spec
	}
	return nil
}

// Namespaces returns all namespaces, sorted by name.
func (s *Store) Namespaces() []core.NamespaceSpec {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := maps.Clone(s.namespaces)
	if _, known := all[core.DefaultNamespace]; !known {
		all[core.DefaultNamespace] = core.NamespaceSpec{Name: core.DefaultNamespace}
	}
	specs := make([]core.NamespaceSpec, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		specs = append(specs, all[name])
	}
	return specs
}

// Namespace returns what was decided about a namespace. KindNotFound if there is none.
func (s *Store) Namespace(name string) (core.NamespaceSpec, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	spec, known := s.namespaces[name]
	switch {
	case known:
		return spec, nil
	case name == core.DefaultNamespace:
		return core.NamespaceSpec{Name: name}, nil
	}
	return spec, core.Errorf(core.KindNotFound, core.FaultCaller, "there is no namespace %q: make it with 'pipsqueak namespace create', or use one that 'pipsqueak namespace list' shows", core.Clip(name, 100))
}

// SetNamespace keeps what was decided about a namespace: a new one, or one that there is.
func (s *Store) SetNamespace(spec core.NamespaceSpec, isNew bool) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	before, err := s.Namespace(spec.Name)
	if err == nil && isNew {
		return core.Errorf(core.KindConflict, core.FaultCaller, "there is a namespace %q already; pipsqueak namespace set changes it", spec.Name)
	}
	if err != nil && !isNew {
		return err
	}
	if len(s.Namespaces()) > core.MaxNamespaces && isNew {
		return core.Errorf(core.KindExhausted, core.FaultCaller, "there are %d namespaces, and a worker has no more; remove one", core.MaxNamespaces)
	}
	if has := s.functionsIn(spec.Name); has > 0 && before.Isolated != spec.Isolated {
		return core.Errorf(core.KindConflict, core.FaultCaller,
			"the namespace %s has %d functions, which have the zygotes that they have: its isolation cannot change before they are removed", spec.Name, has)
	}
	return s.changeNamespaces(func(all map[string]core.NamespaceSpec) { all[spec.Name] = spec })
}

// RemoveNamespace forgets a namespace that has no function, with its secrets.
func (s *Store) RemoveNamespace(name string) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	if _, err := s.Namespace(name); err != nil {
		return err
	}
	if has := s.functionsIn(name); has > 0 || name == core.DefaultNamespace {
		return core.Errorf(core.KindConflict, core.FaultCaller, "the namespace %s has %d functions and cannot be removed: remove them first; the default namespace always stays", name, has)
	}
	storages, err := s.Storages()
	if err != nil {
		return err
	}
	for full := range storages {
		if core.Namespace(full) == name {
			return core.Errorf(core.KindConflict, core.FaultCaller, "the namespace %s has the storage %s and cannot be removed: 'pipsqueak storage remove %s' removes that with all that is in it", name, full, full)
		}
	}
	// The secrets first: a namespace of the same name, made later, is somebody else's.
	its := func(one SealedSecret) bool { return core.Namespace(one.Name) == name }
	if slices.ContainsFunc(s.Secrets(), its) {
		if err := s.changeSecrets(func(all map[string]SealedSecret) {
			maps.DeleteFunc(all, func(_ string, one SealedSecret) bool { return its(one) })
		}); err != nil {
			return err
		}
	}
	return s.changeNamespaces(func(all map[string]core.NamespaceSpec) { delete(all, name) })
}

// changeNamespaces changes them on the disk, and then in memory. The caller holds writes.
func (s *Store) changeNamespaces(change func(all map[string]core.NamespaceSpec)) error {
	s.mu.RLock()
	all := maps.Clone(s.namespaces)
	s.mu.RUnlock()
	change(all)
	specs := make([]core.NamespaceSpec, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		specs = append(specs, all[name])
	}
	data, err := json.MarshalIndent(specs, "", "  ")
	if err != nil {
		return core.Errorf(core.KindInternal, core.FaultWorker, "the namespaces cannot be written: %w", err)
	}
	path := filepath.Join(s.dir, namespacesFile)
	if err := s.writeFile(path, data); err != nil {
		return err
	}
	if err := files.SyncFile(s.dir); err != nil {
		return files.DiskError(path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.namespaces = all
	return nil
}

// functionsIn returns the number of functions in a namespace.
func (s *Store) functionsIn(namespace string) (n int) {
	for _, f := range s.List() {
		if core.Namespace(f.Name) == namespace {
			n++
		}
	}
	return n
}

// Allow returns why functions cannot be deployed, while others are removed: their namespaces have to be
// there, and have room for what is more than before.
func (s *Store) Allow(put []core.Function, gone []string) error {
	before, after := map[string]core.Function{}, map[string]core.Function{}
	for _, f := range s.List() {
		before[f.Name] = f
		if !slices.Contains(gone, f.Name) {
			after[f.Name] = f
		}
	}
	for _, f := range put {
		after[f.Name] = f
	}
	for _, f := range put {
		if err := core.ValidName(f.Name); err != nil {
			return err
		}
		spec, err := s.Namespace(core.Namespace(f.Name))
		if err != nil {
			return err
		}
		if f.Isolated != spec.Isolated {
			return core.Errorf(core.KindConflict, core.FaultCaller, "the namespace %s was changed while %s was deployed to it; deploy it again", spec.Name, f.Name).Again()
		}
		its := func(all map[string]core.Function) []core.Function {
			return slices.DeleteFunc(slices.Collect(maps.Values(all)), func(f core.Function) bool { return core.Namespace(f.Name) != spec.Name })
		}
		if err := s.allowSecrets(&f); err != nil {
			return err
		}
		had, has := its(before), its(after)
		if most := spec.Quotas.Functions; most > 0 && len(has) > max(most, len(had)) {
			return core.QuotaError(spec.Name, core.QuotaFunctions, core.Count(most, "function", "functions"))
		}
		if most := spec.Quotas.Disk; most > 0 && s.DiskOf(spec.Name, has) > max(most, s.Size(had)+s.left(spec.Name, slices.Concat(had, has))) {
			return core.QuotaError(spec.Name, core.QuotaDisk, fmt.Sprintf("%d MiB of code, packages and storages on the disk", most>>20))
		}
	}
	return allowRoutes(put, after)
}

// allowRoutes reports a route that contradicts one of another function, or that is not the namespace's to
// have. A host is of one namespace: else another one could take what is sent to a path of it, by a more
// specific route.
func allowRoutes(put []core.Function, after map[string]core.Function) error {
	hosts := map[string][]string{} // with their namespaces
	for _, f := range after {
		for _, route := range f.Routes {
			host := routes.Host(route)
			hosts[host] = append(hosts[host], core.Namespace(f.Name))
		}
	}
	some := false
	for i := range put {
		for _, route := range put[i].Routes {
			some = true
			space, host := core.Namespace(put[i].Name), routes.Host(route)
			if space != core.DefaultNamespace && host == "" {
				return core.Errorf(core.KindInvalid, core.FaultCaller,
					"the route %q of %s has no host: paths of the worker's own address are for functions of the default namespace; write METHOD host/path", route, put[i].Name)
			}
			if slices.ContainsFunc(hosts[host], func(other string) bool { return other != space }) {
				return core.Errorf(core.KindConflict, core.FaultCaller,
					"the route %q of %s is on a host of another namespace: all routes of a host are of one; take another host", route, put[i].Name)
			}
		}
	}
	if !some {
		return nil
	}
	_, err := routes.New(sorted(after))
	return err
}

// DiskOf returns the bytes that a namespace with these functions has on the disk.
func (s *Store) DiskOf(namespace string, functions []core.Function) int64 {
	return s.Size(functions) + s.left(namespace, functions)
}

// left returns the bytes of those storages of a namespace that none of these functions uses. They stay until
// somebody removes them.
func (s *Store) left(namespace string, functions []core.Function) (bytes int64) {
	all, _ := s.Storages() // those of a disk that cannot be read count for nothing
	for full, size := range all {
		used := slices.ContainsFunc(functions, func(f core.Function) bool { return f.Storage != nil && f.StorageName() == full })
		if core.Namespace(full) == namespace && !used {
			bytes += size
		}
	}
	return bytes
}

// Size returns the bytes of the code, the packages and the storages of functions. What several of them have
// counts once.
func (s *Store) Size(functions []core.Function) (bytes int64) {
	counted := map[Tree]bool{}
	add := func(tree Tree, size func() int64) {
		if tree.Digest != "" && !counted[tree] {
			counted[tree] = true
			bytes += size()
		}
	}
	storages := map[string]bool{}
	for _, f := range functions {
		if f.Storage != nil && !storages[f.StorageName()] {
			storages[f.StorageName()] = true
			bytes += f.Storage.Size
		}
		add(Tree{Code, f.Code}, func() int64 {
			list, _ := readList(s.treePath(Tree{Code, f.Code}), f.Code)
			return list.Bytes()
		})
		for _, p := range f.Packages {
			add(Tree{Packages, p.Digest}, func() int64 {
				entry, _ := s.find(f.Runtime, p)
				return entry.Size
			})
		}
	}
	return bytes
}
