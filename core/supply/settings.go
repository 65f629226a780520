package supply

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

// SetEnv implements core.Settings.
func (s *Supply) SetEnv(ctx context.Context, change core.EnvChange, progress func(core.Progress)) (_ core.Function, err error) {
	b := s.newBatch("", progress)
	defer func() { b.end(err) }()
	b.function = change.Function
	done, err := s.claims.name(change.Function)
	if err != nil {
		return core.Function{}, err
	}
	b.ends = append(b.ends, done)
	before, ok := s.store.Get(change.Function)
	if !ok {
		return core.Function{}, s.NotFound(change.Function)
	}
	set, err := change.Apply(&before)
	if err != nil {
		return core.Function{}, err
	}
	if maps.Equal(set, before.EnvSet) {
		return before, nil // nothing is to start again for that
	}
	d := b.deployment(core.DeployRequest{Name: before.Name, Force: change.Force, Ready: change.Ready}, "", progress)
	b.all = append(b.all, d)
	defer func() {
		if err != nil {
			b.forgetTrials()
		}
	}()
	if err := d.again(ctx, before, set); err != nil {
		return core.Function{}, err
	}
	d.catchUp(ctx)
	if err := b.take(); err != nil {
		return core.Function{}, err
	}
	return d.fn, nil
}

// again makes the function the next version of a deployed one, with other variables set.
func (d *deployment) again(ctx context.Context, before core.Function, set map[string]string) error {
	d.fn = before
	fn := &d.fn
	fn.Replaced, fn.Version, fn.EnvSet = before.Version, before.Version+1, set
	if !alike(fn, &before) { // other variables may be read in other ways
		fn.Tried = nil
	}
	if err := d.find(ctx); err != nil {
		return err
	}
	fn.Watched, fn.Changes = false, nil
	if d.request.Force {
		untried(fn)
	}
	return d.arrange(ctx)
}

// makePlace makes the directory in the function's code in which its storage is to be, if it is to be in one.
// What else the code has there is not seen.
func (d *deployment) makePlace() error {
	if d.fn.Storage == nil || !strings.HasPrefix(d.fn.Storage.Path, core.CodeDir+"/") {
		return nil
	}
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	place := ""
	for part := range strings.SplitSeq(d.fn.Storage.Path[len(core.CodeDir)+1:], "/") {
		place = filepath.Join(place, part)
		if err := root.Mkdir(place, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if info, err := root.Lstat(place); err != nil || !info.IsDir() {
			return core.Errorf(core.KindInvalid, core.FaultCaller, "the storage of %s cannot be at %s: the function has a file or a link %s there; take another path, or deploy it without that",
				d.fn.Name, d.fn.Storage.Path, place)
		}
	}
	return nil
}

// makeStorage makes the storage of a function, which goes again if the function is not deployed.
func (b *batch) makeStorage(fn *core.Function) error {
	if free, total := space(b.store.Staging()); free-fn.Storage.Size < kept(b.bench.keepFree, total) && !b.store.HasStorage(fn.StorageName()) {
		return core.Errorf(core.KindExhausted, core.FaultWorker, "the disk of the worker has no room for the storage %s of %d MiB: %d MiB are free there, and deploys leave %d; ask for less, or free space",
			fn.StorageName(), fn.Storage.Size>>20, free>>20, kept(b.bench.keepFree, total)>>20)
	}
	made, err := b.store.MakeStorage(fn)
	name := fn.StorageName()
	if made {
		b.ends = append(b.ends, func() {
			if len(b.store.StorageUsers(name)) == 0 {
				_ = b.RemoveStorage(context.Background(), name) // else 'pipsqueak storage list' shows it
			}
		})
	}
	if err != nil {
		return err
	}
	if err := b.live.Mount(b.store.StoragePath(name)); err != nil {
		return core.Errorf(core.KindUnsupported, core.FaultWorker, "the storage %s cannot be mounted on the worker: %w; it needs loop devices (/dev/loop-control) and ext4", name, err)
	}
	return nil
}

// Storages implements core.Storages.
func (s *Supply) Storages(context.Context) ([]core.StorageInfo, error) {
	sizes, err := s.store.Storages()
	all := []core.StorageInfo{}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		free, failed := s.live.Free(s.store.StoragePath(name))
		err = errors.Join(err, failed)
		info := core.StorageInfo{Name: name, Size: sizes[name], Free: free, Functions: []string{}}
		for _, f := range s.store.StorageUsers(name) {
			info.Functions = append(info.Functions, f.Name)
		}
		all = append(all, info)
	}
	return all, err
}

// RemoveStorage implements core.Storages.
func (s *Supply) RemoveStorage(_ context.Context, name string) error {
	if err := s.store.RemoveStorage(name); err != nil {
		return err
	}
	s.live.Unmount(s.store.StoragePath(name))
	s.log.Info("storage", "name", name, "removed", true)
	return nil
}

// SetSecret keeps a secret that is sealed already, gives the functions that use it their next version, and
// returns their names.
func (s *Supply) SetSecret(secret store.SealedSecret) (users []string, err error) {
	for _, f := range s.store.Users(secret.Name) {
		done, err := s.claims.name(f.Name) // a deploy under way has taken the next version
		if err != nil {
			return nil, err
		}
		defer done()
		users = append(users, f.Name)
	}
	before, after, err := s.store.SetSecret(secret, users)
	if err != nil {
		return nil, err
	}
	s.switched(before)
	for _, f := range after {
		s.live.Drain(f.Name, f.Version)
		s.log.Info("secret", "name", secret.Name, "fn", f.Name, "version", f.Version)
	}
	return users, nil
}
