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

// Command is this package as a program inside an installer's sandbox, for installers that are not in Go: a driver mounts itself
// there and calls it with its arguments, which are
//
//	resolve NAME… [-- SHOWN…]    the packages that the names stand for, as Resolve returns them
//	install                      of the packages that come on stdin as a JSON list, those of Debian's, into core.OutDir
//
//	scan ARCHIVE | NAME==VERSION…  what is suspicious in an archive, or in the packages, as Scan returns it
//
// It writes JSON, one object a line, as zygote.Install hears it: {"progress":…} any number of times, and at the end {"result":
// {"packages":[…]}} or {"error":…}. It returns the status to exit with.
func Command(arguments []string, in io.Reader, out io.Writer) int {
	encoder := json.NewEncoder(out)
	progress := func(p core.Progress) { _ = encoder.Encode(map[string]any{"progress": p}) }
	var result any
	var err error
	if len(arguments) > 0 && arguments[0] == "scan" {
		result, err = scanCommand(arguments[1:])
	} else {
		var packages []core.Locked
		packages, err = command(arguments, in, progress)
		result = map[string]any{"packages": packages}
	}
	if err != nil {
		_ = encoder.Encode(map[string]any{"error": core.AsError(err)})
		return 1
	}
	_ = encoder.Encode(map[string]any{"result": result})
	return 0
}

func scanCommand(arguments []string) (core.Scanned, error) {
	var packages []core.Package
	for _, argument := range arguments {
		name, version, ok := strings.Cut(argument, "==")
		if !ok {
			return Scan(context.Background(), nil, argument)
		}
		packages = append(packages, core.Package{Name: name, Version: version})
	}
	return Scan(context.Background(), packages, "")
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
