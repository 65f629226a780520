package supply

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// compile has those of the packages compiled that were not. Without it they are imported all the same, only
// slower.
func (d *deployment) compile(ctx context.Context, all []core.Installed) error {
	packages := d.store.Uncompiled(all)
	if d.parts.Compiler == nil || len(packages) == 0 {
		return nil
	}
	began, done := time.Now(), d.timed(core.Progress{Verb: "compile", Item: d.fn.Name})
	defer done("", 0)
	out, err := d.store.Stage()
	if err != nil {
		return err
	}
	defer func() { _ = d.store.Discard(out) }()
	dirs := map[core.Package]string{}
	for _, p := range packages {
		dirs[p] = filepath.Join(out, p.Base())
		if err := os.Mkdir(dirs[p], 0o755); err != nil {
			return err
		}
	}
	t := d.task(buildTimeout, func(ctx context.Context, door core.Door) error {
		return d.parts.Compiler.Compile(ctx, core.CompileRequest{Runtime: d.runtime.ID, Packages: packages, Door: door})
	}, outMount(out))
	shown := d.fn
	shown.Packages, t.fn = core.NewSet(packages...), &shown
	err = d.bench.do(ctx, t)
	if err == nil {
		err = d.store.CommitCompiled(d.runtime.ID, dirs)
	}
	if err == nil {
		d.log.Info("compile", "fn", d.fn.Name, "packages", len(packages), "took", time.Since(began))
	}
	return err
}
