package integration

import (
	"path/filepath"
	"testing"
)

// Does the filter of system calls let ordinary programs run?

// What they ask of the kernel is allowed, in each language. That everything else is refused, core/sandbox
// tests.
func TestOrdinaryPrograms(t *testing.T) {
	system(t)
	w := shared(t)
	for language, kinds := range map[string]int{"python": 7, "node": 5, "ruby": 5, "native": 19} {
		t.Run(language, func(t *testing.T) {
			name := "calls-" + language
			w.deploy(t, name, directory(t, filepath.Join("integration/testdata/calls", language)).with("pipsqueak.yaml", "memory_mb: 512\ntimeout_ms: 60000\n"))
			answers := result[map[string]any](t, w, name, "{}")
			for kind, answer := range answers {
				if answer != true {
					t.Errorf("%s: %v", kind, answer)
				}
			}
			if len(answers) != kinds {
				t.Errorf("%d answers, not %d: %v", len(answers), kinds, answers)
			}
		})
	}
}
