package integration

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Are artificial packages what pipbench check finds that they should be, in every language?

func TestPipbenchCheck(t *testing.T) {
	rubySystem(t)
	program := filepath.Join(programs(t), "pipbench")
	dir := filepath.Join(t.TempDir(), "bench")
	languages := []string{"python", "node", "ruby", "native"}
	for _, language := range languages {
		count := "150"
		if language == "native" { // each is compiled, and few cost enough to be measured
			count = "50"
		}
		succeed(t, program, "packages", "--language", language, "--count", count, "--seed", "9", "--scale", "0.001", "--out", dir)
	}
	out, err := exec.Command(program, "check", dir).CombinedOutput()
	said := string(out)
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Log(said)
	for _, language := range languages {
		for _, what := range []string{"measured import", "measured memory"} {
			if !regexp.MustCompile(language + ` +` + what + ` +\d+ +(\d\.\d\d \(|too few)`).MatchString(said) {
				t.Errorf("%s: no %s", language, what)
			}
		}
	}
	if n := len(regexp.MustCompile(`measured \w+ +\d+ +\d`).FindAllString(said, -1)); n < 5 {
		t.Errorf("%d of 8 costs were measured", n)
	}
}
