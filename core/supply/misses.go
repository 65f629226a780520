package supply

import (
	"os"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxOffered is how many entries of a code directory are kept by name. With more, any name is taken to be
// there.
const maxOffered = 1000

// offerCode notes with a function which entries its code directory has, if nobody has yet: only instances
// find them.
func (k *knowledge) offerCode(fn *core.Function) {
	if fn.Code == "" || slices.ContainsFunc(fn.Offers, core.IsPlace) {
		return
	}
	var entries []os.DirEntry
	path, err := k.store.CodePath(fn.Code)
	if err == nil {
		entries, err = os.ReadDir(path)
	}
	names := []string{core.InDirectory}
	if err == nil && len(entries) <= maxOffered {
		names = nil
		for _, entry := range entries {
			names = append(names, core.InDirectory+entry.Name())
		}
	}
	fn.Offers = slices.Concat(fn.Offers, names)
}

// misses reports why no zygote of a function must have loaded what asks for these names when it is imported,
// if one of them is another thing there than in an instance.
func misses(fn *core.Function, names []string) string {
	for _, name := range names {
		why := lacks(fn, name)
		if core.IsPlace(name) {
			why = displaced(fn, name)
		}
		if why != "" {
			return why
		}
	}
	return ""
}

// lacks reports why who looks for a package must look in an instance.
func lacks(fn *core.Function, name string) string {
	switch {
	case name == core.AnyPackage && slices.ContainsFunc(fn.Offers, func(offer string) bool { return !core.IsPlace(offer) }):
		return "may look for any package when it is imported"
	case slices.Contains(fn.Offers, name):
		return "looks for " + name + ", which it does not require"
	}
	return ""
}

// displaced reports why who looks at its place must look at that of an instance.
func displaced(fn *core.Function, name string) string {
	changed := func(name string) bool { return slices.Contains(fn.Sets, name) || slices.Contains(fn.Changes, name) }
	switch {
	case name == core.Arguments && changed(name):
		return "reads the arguments when it is imported, which the function's files change"
	case name == core.Arguments:
	case name == core.Random:
		return "draws random numbers when it is imported"
	case strings.HasPrefix(name, core.OfProcess):
		return "reads the " + name[len(core.OfProcess):] + " of its process when it is imported"
	case changed(core.InDirectory):
		return "looks at the working directory when it is imported, which the function's files change"
	case name == core.InDirectory && slices.ContainsFunc(fn.Offers, core.IsPlace):
		return "looks at all that is in the working directory when it is imported"
	case slices.Contains(fn.Offers, name) || name != core.Directory && slices.Contains(fn.Offers, core.InDirectory):
		return "looks for " + name + " in the working directory"
	}
	return ""
}
