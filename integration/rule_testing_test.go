package integration

import (
	"path"
	"strings"
)

// helpsTests says of a folder that what is in it is for tests only, as its name says: filestest, drivertest.
func helpsTests(folder string) bool { return strings.HasSuffix(path.Base(folder), "test") }

// ruleTesting keeps package testing, and what needs it, out of the programs.
func ruleTesting(sources []source) (violations []string) {
	for _, s := range sources {
		if s.test() || helpsTests(s.folder()) {
			continue
		}
		for _, spec := range s.file.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			own := strings.HasPrefix(imported, modulePath+"/")
			if first, _, _ := strings.Cut(imported, "/"); first == "testing" || own && helpsTests(imported) {
				violations = append(violations, s.at(spec)+": "+s.folder()+" imports "+imported+": what helps tests lies in a folder whose name ends in test, and no program has it")
			}
		}
	}
	return violations
}
