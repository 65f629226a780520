package bundle

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/nearest"
)

// Choice is the result of Detect.
type Choice struct {
	Runtime core.Runtime
	Handler string // "file.symbol"
	Doubt   string // for a person: which other language fits too, and how to choose; empty when there is none
	file    string // that decided
}

// Detect picks the runtime and the handler of the function in a directory that Unpack made.
//
// The settings decide first. Their runtime is a runtime's ID, or an ID up to its version: then the first
// runtime of that language counts. The file of their handler has to be there, or a program that is a handler
// by itself; such a program takes any text as its handler.
//
// Without settings, the first of the runtimes, in the order given, that has one of its Handlers in the
// directory counts. The handler's own file counts before a file that only says how to build one.
func Detect(dir string, settings Settings, runtimes []core.Runtime) (Choice, error) {
	candidates, err := choose(settings.Runtime, runtimes)
	if err != nil {
		return Choice{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Choice{}, files.DiskError(dir, err)
	}
	defer root.Close()
	search := search{root: root, candidates: candidates}
	if settings.Handler != "" {
		return search.named(settings.Handler)
	}
	return search.known()
}

// search looks for a handler in a directory. It is used once.
type search struct {
	root       *os.Root
	candidates []core.Runtime
	sought     sought
}

func (s *search) exists(runtime core.Runtime, file string) bool {
	s.sought.add(language(runtime.ID), file)
	info, err := s.root.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

// named returns the first runtime that has a file for a handler that was named.
func (s *search) named(handler string) (Choice, error) {
	named, malformed := handlerFiles(handler)
	for _, runtime := range s.candidates {
		for _, file := range named {
			if slices.ContainsFunc(runtime.Extensions, func(extension string) bool { return s.exists(runtime, file+extension) }) {
				return Choice{Runtime: runtime, Handler: handler}, nil
			}
		}
	}
	for _, runtime := range s.candidates {
		for _, known := range runtime.Handlers {
			if known.File == known.Handler && s.exists(runtime, known.File) {
				return Choice{Runtime: runtime, Handler: handler}, nil
			}
		}
	}
	if malformed != nil {
		return Choice{}, malformed
	}
	return Choice{}, files.Refusef("the handler %s is not in the archive: there is no file %s; add it or fix 'handler' in %s",
		files.Quote(handler), s.sought, SettingsFile)
}

// known returns the first handler under a name that its runtime knows. It reports another language that has
// one too.
func (s *search) known() (Choice, error) {
	var found []Choice // the first of each language, those first that have a handler's own file and not only what builds one
	for _, own := range []bool{true, false} {
		for _, runtime := range s.candidates {
			for _, known := range runtime.Handlers {
				if isOwn(known) == own && s.exists(runtime, known.File) && !slices.ContainsFunc(found, func(c Choice) bool { return language(c.Runtime.ID) == language(runtime.ID) }) {
					found = append(found, Choice{Runtime: runtime, Handler: known.Handler, file: known.File})
				}
			}
		}
	}
	if len(found) == 0 {
		return Choice{}, files.Refusef("no handler was found: there is no file %s; add one, or name the handler as 'handler: file.symbol' in %s",
			s.sought, SettingsFile)
	}
	choice := found[0]
	for _, other := range found[1:] {
		if isOwn(core.HandlerFile{File: other.file, Handler: other.Handler}) {
			choice.Doubt = fmt.Sprintf("there are %s and %s: it is deployed for %s; write 'runtime: %s' into %s for the other, or 'runtime: %s' to say so",
				choice.file, other.file, choice.Runtime.ID, language(other.Runtime.ID), SettingsFile, language(choice.Runtime.ID))
		}
	}
	return choice, nil
}

// sought is files that were looked for, each once.
type sought []soughtFile

type soughtFile struct {
	language core.RuntimeID
	name     string
}

func (s *sought) add(language core.RuntimeID, name string) {
	if !slices.ContainsFunc(*s, func(file soughtFile) bool { return file.name == name }) {
		*s = append(*s, soughtFile{language, name})
	}
}

// maxSought is how many files a person is told of.
const maxSought = 6

// String returns a handful of the files for a person: the first of each language before the others.
func (s sought) String() string {
	var firsts, others []string
	languages := map[core.RuntimeID]bool{}
	for _, file := range s {
		if languages[file.language] {
			others = append(others, file.name)
			continue
		}
		languages[file.language] = true
		firsts = append(firsts, file.name)
	}
	all := append(firsts, others...)
	if more := len(all) - maxSought; more > 1 {
		all = append(all[:maxSought], fmt.Sprintf("… and %d more", more))
	}
	return strings.Join(all, " or ")
}

// isOwn tells the file that a handler is in from a file that says how to build one.
func isOwn(known core.HandlerFile) bool {
	return known.File == known.Handler || strings.HasPrefix(known.Handler, strings.TrimSuffix(known.File, path.Ext(known.File))+".")
}

// choose returns the runtimes that the settings allow.
func choose(wanted core.RuntimeID, runtimes []core.Runtime) ([]core.Runtime, error) {
	if len(runtimes) == 0 {
		return nil, core.Errorf(core.KindUnsupported, core.FaultWorker,
			"this worker has no runtime: install a driver and its language; 'pipsqueak doctor' reports what is missing")
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
	return nil, files.Refusef("there is no runtime %s on this worker, but %s: change 'runtime' in %s%s",
		files.Quote(string(wanted)), strings.Join(ids, ", "), SettingsFile, nearest.Question(string(wanted), ids))
}

// language is the part of a runtime's ID before its version, which begins with the first digit.
func language(id core.RuntimeID) core.RuntimeID {
	if at := strings.IndexAny(string(id), "0123456789"); at > 0 {
		return id[:at]
	}
	return id
}

// handlerFiles returns what can be the file of a handler, without its extension: what comes before each of
// its dots, for both the file and the symbol may have some. A dot before the last may also lead into a
// directory, as in AWS Lambda.
func handlerFiles(handler string) ([]string, error) {
	var paths []string
	for i := strings.LastIndexByte(handler, '/') + 1; i < len(handler)-1; i++ {
		if handler[i] == '.' && i > 0 {
			paths = append(paths, handler[:i])
		}
	}
	if len(paths) == 0 || !fs.ValidPath(paths[0]) || paths[0] == "." || files.CheckPath(paths[len(paths)-1]) != nil || strings.HasSuffix(handler, ".") {
		return nil, files.Refusef("%s is no handler: it has to be file.symbol, such as app.main for main in the file app, "+
			"with a path inside of the archive; fix 'handler' in %s", files.Quote(handler), SettingsFile)
	}
	directory := strings.LastIndexByte(handler, '/') + 1
	for _, file := range paths[1:] {
		paths = append(paths, file[:directory]+strings.ReplaceAll(file[directory:], ".", "/"))
	}
	return slices.DeleteFunc(paths, func(file string) bool { return !fs.ValidPath(file) }), nil
}
