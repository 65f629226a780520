package integration

import (
	"fmt"
	"path"
	"strings"
)

// leastTest is how many lines of test core/supply has at least for 100 lines of code.
const leastTest = 60

// ruleTested keeps core/supply tested by fakes, without the machine: half of a deploy's faults are in what it
// talks to.
func ruleTested(sources []source) (violations []string) {
	code, test := 0, 0
	for _, s := range sources {
		if s.folder() != "core/supply" {
			continue
		}
		if n := s.set.File(s.file.Pos()).LineCount(); s.test() {
			test += n
		} else {
			code += n
		}
	}
	if 100*test < leastTest*code {
		violations = append(violations, fmt.Sprintf("core/supply has %d lines of test for %d of code: it needs %d for 100", test, code, leastTest))
	}
	return violations
}

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
