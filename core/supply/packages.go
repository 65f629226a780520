package supply

import (
	"context"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// packageKey names a package of functions of one runtime.
type packageKey struct {
	runtime core.RuntimeID
	core.Package
}

// Inventory implements core.Packages.
func (c *care) Inventory(context.Context) (inventory core.Inventory, err error) {
	inventory.Age, inventory.Packages, inventory.Forbidden = c.age, []core.Stored{}, c.store.Forbidden()
	if inventory.Limit, err = c.storeLimit(); err != nil {
		return inventory, err
	}
	if _, inventory.Free, err = c.store.Disk(); err != nil {
		return inventory, err
	}
	users := map[packageKey][]string{}
	for _, fn := range c.store.List() {
		for _, p := range fn.Packages {
			users[packageKey{fn.Runtime, p}] = append(users[packageKey{fn.Runtime, p}], fn.Name)
		}
	}
	counted := map[string]bool{}
	for _, p := range c.store.Installed() {
		names := users[packageKey{p.Runtime, p.Package}]
		if names == nil {
			names = []string{}
		}
		inventory.Packages = append(inventory.Packages, core.Stored{Installed: p, Functions: names})
		if !counted[p.Digest] {
			counted[p.Digest] = true
			inventory.Size += p.Size
		}
	}
	return inventory, nil
}

// PackagesOf implements core.Packages.
func (c *care) PackagesOf(_ context.Context, name string) ([]core.Installed, error) {
	fn, ok := c.store.Get(name)
	if !ok {
		return nil, c.NotFound(name)
	}
	known := map[packageKey]core.Installed{}
	for _, p := range c.store.Installed() {
		known[packageKey{p.Runtime, p.Package}] = p
	}
	all := make([]core.Installed, len(fn.Packages))
	for i, p := range fn.Packages {
		if all[i], ok = known[packageKey{fn.Runtime, p}]; !ok {
			all[i] = core.Installed{Package: p, Runtime: fn.Runtime} // installed by an earlier version, which kept less
		}
	}
	return all, nil
}
