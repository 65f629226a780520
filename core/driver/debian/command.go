package debian

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Command is this package as a program inside an installer's sandbox, for installers that are not in Go: a driver mounts itself
// there and calls it with its arguments, which are
//
//	resolve NAME… [-- SHOWN…]    the packages that the names stand for, as Resolve returns them
//	install                      of the packages that come on stdin as a JSON list, those of Debian's, into core.OutDir
//
// It writes JSON, one object a line, as zygote.Install hears it: {"progress":…} any number of times, and at the end {"result":
// {"packages":[…]}} or {"error":…}. It returns the status to exit with.
func Command(arguments []string, in io.Reader, out io.Writer) int {
	encoder := json.NewEncoder(out)
	progress := func(p core.Progress) { _ = encoder.Encode(map[string]any{"progress": p}) }
	packages, err := command(arguments, in, progress)
	if err != nil {
		_ = encoder.Encode(map[string]any{"error": core.AsError(err)})
		return 1
	}
	_ = encoder.Encode(map[string]any{"result": map[string]any{"packages": packages}})
	return 0
}

func command(arguments []string, in io.Reader, progress func(core.Progress)) ([]core.Locked, error) {
	ctx := context.Background() // the sandbox ends it
	switch {
	case len(arguments) > 0 && arguments[0] == "resolve":
		names, shown := arguments[1:], []string(nil)
		if i := slices.Index(names, "--"); i >= 0 {
			names, shown = names[:i], names[i+1:]
		}
		return Resolve(ctx, names, shown...)
	case len(arguments) == 1 && arguments[0] == "install":
		var all []core.Locked
		if err := json.NewDecoder(in).Decode(&all); err != nil {
			return nil, err
		}
		packages, _ := Split(all)
		_, err := Install(ctx, packages, core.OutDir, progress)
		return packages, err
	}
	return nil, core.Errorf(core.KindInternal, core.FaultDriver, "%s cannot %q", os.Args[0], arguments)
}
