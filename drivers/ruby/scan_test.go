package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestSuspicions has code that starts a program when it is required, and code that does not.
func TestSuspicions(t *testing.T) {
	if _, err := os.Stat("/usr/bin/ruby"); err != nil && os.Getenv("CI") == "" {
		t.Skip("needs ruby")
	}
	for code, want := range map[string]string{
		"system('id')":                                                     "process 1 starts a program",
		"def go = system('id')\ngo":                                        "process 1 may start a program",
		"def go = system('id')":                                            "",
		"module M\ndef self.go\nsystem('id')\nend\ngo\nend":                "process 3 may start a program",
		"module M\ndef self.go = system('id')\nend\nM.go":                  "process 2 may start a program",
		"module M\ndef self.go(x) = system(x)\nend\nM::go('id')":           "process 2 may start a program",
		"module M\nclass << self\ndef go = system('id')\nend\nend\nM.go 1": "process 3 may start a program",
		"module M\ndef self.go = system('id')\nend":                        "",
		"class C\ndef read = system('id')\nend\nFile.read('x')":            "",
		"x = 'go'\ndef self.go = system('id')\nself.go":                    "process 2 may start a program",
	} {
		said, err := exec.Command("/usr/bin/ruby", "--disable=gems", "-r./runtime/scan/suspicions", "-e", "puts Pipsqueak::Suspicions.of(ARGV[0]).map { |found| found.join(' ') }", code).CombinedOutput()
		if err != nil || (want == "") != (len(said) == 0) || !strings.HasPrefix(string(said), want) {
			t.Errorf("%s\nis reported as %q, %v; want %q", code, said, err, want)
		}
	}
}
