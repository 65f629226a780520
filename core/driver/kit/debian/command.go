package debian

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Command is this package as a program inside an installer's sandbox, for installers that are not in Go: a
// driver mounts itself there and calls it with its arguments, which are
//
//	resolve NAME… [-- SHOWN…]    the packages that the names stand for, as Resolve returns them
//	install                      of the packages that come on stdin as a JSON list, those of Debian's, into core.OutDir
//	scan ARCHIVE | NAME==VERSION…  what is suspicious in an archive, or in the packages, as Scan returns it
//
// It writes JSON, one object a line, as installer.Program hears it: {"progress":…} any number of times, and
// at the end {"result": …}, a list of Archive, of core.Receipt, or a core.Scanned, or {"error":…}. It returns
// the status to exit with. Finish, unless nil, has the last word on the receipts.
func Command(arguments []string, in io.Reader, out io.Writer, finish func([]core.Receipt) error) int {
	encoder := json.NewEncoder(out)
	progress := func(p core.Progress) { _ = encoder.Encode(map[string]any{"progress": p}) }
	result, err := command(arguments, in, progress, finish)
	if err != nil {
		_ = encoder.Encode(map[string]any{"error": core.AsError(err)})
		return 1
	}
	_ = encoder.Encode(map[string]any{"result": result})
	return 0
}

func scanCommand(ctx context.Context, arguments []string) (core.Scanned, error) {
	var packages []core.Package
	for _, argument := range arguments {
		name, version, ok := strings.Cut(argument, "==")
		if !ok {
			return Scan(ctx, nil, argument)
		}
		packages = append(packages, core.Package{Name: name, Version: version})
	}
	return Scan(ctx, packages, "")
}

func command(arguments []string, in io.Reader, progress func(core.Progress), finish func([]core.Receipt) error) (any, error) {
	ctx := context.Background() // the sandbox ends it
	switch {
	case len(arguments) > 0 && arguments[0] == "scan":
		return scanCommand(ctx, arguments[1:])
	case len(arguments) > 0 && arguments[0] == "resolve":
		names, shown := arguments[1:], []string(nil)
		if i := slices.Index(names, "--"); i >= 0 {
			names, shown = names[:i], names[i+1:]
		}
		packages, err := Resolve(ctx, names, shown...)
		return append([]Archive{}, packages...), err
	case len(arguments) == 1 && arguments[0] == "install":
		var all []Archive
		if err := json.NewDecoder(in).Decode(&all); err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(p Archive) bool { return !Ours(p.Locked) })
		receipts, err := Install(ctx, all, core.OutDir, progress)
		if err == nil && finish != nil {
			err = finish(receipts)
		}
		return append([]core.Receipt{}, receipts...), err
	}
	return nil, core.Errorf(core.KindInternal, core.FaultDriver, "%s cannot %q", os.Args[0], arguments)
}
