package store

import (
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Detect picks the runtime and the handler of the function in a directory that Unpack made. The manifest decides as far as it
// says something: its runtime is a runtime's ID, or the ID up to its version for the first of that language; its handler's file
// has to be there, or one that is a handler by itself. Otherwise the first runtime decides for which there is a file of its Handlers, in the order given.
func Detect(dir string, manifest Manifest, runtimes []core.Runtime) (core.Runtime, string, error) {
	candidates, err := choose(manifest.Runtime, runtimes)
	if err != nil {
		return core.Runtime{}, "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return core.Runtime{}, "", diskError(dir, err)
	}
	defer root.Close()
	var sought []string
	exists := func(file string) bool {
		if !slices.Contains(sought, file) {
			sought = append(sought, file)
		}
		info, err := root.Stat(file)
		return err == nil && info.Mode().IsRegular()
	}
	if manifest.Handler != "" {
		files, err := handlerFiles(manifest.Handler)
		if err != nil {
			return core.Runtime{}, "", err
		}
		for _, runtime := range candidates {
			for _, file := range files {
				if slices.ContainsFunc(runtime.Extensions, func(extension string) bool { return exists(file + extension) }) {
					return runtime, manifest.Handler, nil
				}
			}
		}
		for _, runtime := range candidates {
			for _, known := range runtime.Handlers {
				if known.File == known.Handler && exists(known.File) {
					return runtime, manifest.Handler, nil
				}
			}
		}
		return core.Runtime{}, "", refusef("the handler %s is not in the archive: there is no file %s; add it or mend 'handler' in %s",
			quote(manifest.Handler), strings.Join(sought, " or "), ManifestFile)
	}
	for _, runtime := range candidates {
		for _, known := range runtime.Handlers {
			if exists(known.File) {
				return runtime, known.Handler, nil
			}
		}
	}
	return core.Runtime{}, "", refusef("no handler was found: there is no file %s; add one, or name the handler as 'handler: file.symbol' in %s",
		strings.Join(sought, " or "), ManifestFile)
}

// choose returns the runtimes that the manifest allows.
func choose(wanted core.RuntimeID, runtimes []core.Runtime) ([]core.Runtime, error) {
	if len(runtimes) == 0 {
		return nil, core.Errorf(core.KindUnsupported, core.FaultWorker,
			"this worker has no runtime: install a driver and its language; 'pipsqueak doctor' tells what is missing")
	}
	if wanted == "" {
		return runtimes, nil
	}
	var ids []string
	for _, runtime := range runtimes {
		if runtime.ID == wanted {
			return []core.Runtime{runtime}, nil
		}
		ids = append(ids, string(runtime.ID))
	}
	for _, runtime := range runtimes {
		if language(runtime.ID) == wanted {
			return []core.Runtime{runtime}, nil
		}
	}
	return nil, refusef("there is no runtime %s on this worker; there is %s: mend 'runtime' in %s",
		quote(string(wanted)), strings.Join(ids, ", "), ManifestFile)
}

// language is the part of a runtime's ID before its version, which begins with the first digit.
func language(id core.RuntimeID) core.RuntimeID {
	if at := strings.IndexAny(string(id), "0123456789"); at > 0 {
		return id[:at]
	}
	return id
}

// handlerFiles returns what can be the file of a handler, without its extension: what comes before each of its dots, for
// both the file and the symbol may have some.
func handlerFiles(handler string) ([]string, error) {
	var files []string
	for i := strings.LastIndexByte(handler, '/') + 1; i < len(handler)-1; i++ {
		if handler[i] == '.' && i > 0 {
			files = append(files, handler[:i])
		}
	}
	if len(files) == 0 || !fs.ValidPath(files[0]) || files[0] == "." || checkPath(files[len(files)-1]) != nil || strings.HasSuffix(handler, ".") {
		return nil, refusef("%s is no handler: it has to be file.symbol, such as app.main for main in the file app, "+
			"with a path inside of the archive", quote(handler))
	}
	return files, nil
}
