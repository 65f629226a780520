package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Do the commands and flags that texts mention exist?

var (
	code     = regexp.MustCompile("`([^`]+)`")
	mentions = regexp.MustCompile(`^(?:sudo )?(?:bin/)?((?:pipsqueak|drivercheck|pipbench)(?: .*)?)$`)
	flags    = regexp.MustCompile(`(?:^|[ \[|])(--?[a-z][a-z-]*)`)
)

// commandOf returns the longest command that some words begin with.
func commandOf(words []string, texts map[string]string) string {
	for n := len(words); n > 0; n-- {
		if command := strings.Join(words[:n], " "); texts[command] != "" {
			return command
		}
	}
	return ""
}

// unknown returns what of a command line, as a text mentions it, the programs do not know.
func unknown(line string, texts map[string]string) (wrong []string) {
	words := strings.Fields(line)
	command := commandOf(words, texts)
	if next := len(strings.Fields(command)); subcommand.MatchString(texts[command]) && next < len(words) && regexp.MustCompile(`^[a-z]+$`).MatchString(words[next]) {
		wrong = append(wrong, "the command "+words[next])
	}
	known := flags.FindAllStringSubmatch(strings.NewReplacer(",", " ", "\n", " ").Replace(texts[command]), -1)
	for _, flag := range flags.FindAllStringSubmatch(line, -1) {
		found := false
		for _, one := range known {
			found = found || one[1] == flag[1]
		}
		if !found {
			wrong = append(wrong, "the flag "+flag[1]+" of "+command)
		}
	}
	return wrong
}

// TestMentions looks at the commands and flags that texts name inside of sentences, and at the list of
// commands in docs/cli.md, which has all of them.
func TestMentions(t *testing.T) {
	texts := helps(t, programs(t))
	root := repositoryRoot(t)
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	seen := 0
	for _, document := range append(documents, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range unwrapped(string(text)) {
			for _, span := range code.FindAllStringSubmatch(line, -1) {
				mentioned := span[1]
				before, _, _ := strings.Cut(line, span[0])
				if filepath.Base(document) == "cli.md" && strings.HasPrefix(line, "- `") && !strings.Contains(before, "`: ") {
					mentioned = "pipsqueak " + mentioned
					listed[commandOf(strings.Fields(mentioned), texts)] = true
				}
				found := mentions.FindStringSubmatch(mentioned)
				if found == nil {
					continue
				}
				seen++
				for _, wrong := range unknown(found[1], texts) {
					t.Errorf("%s: `%s`: there is not %s", filepath.Base(document), mentioned, wrong)
				}
			}
		}
	}
	for command := range texts {
		for quoted := range strings.SplitSeq(texts[command], "'") {
			if found := mentions.FindStringSubmatch(quoted); found != nil && !strings.Contains(quoted, "\n") {
				seen++
				for _, wrong := range unknown(found[1], texts) {
					t.Errorf("%s --help: '%s': there is not %s", command, quoted, wrong)
				}
			}
		}
		if subcommand.MatchString(texts[command]) || strings.HasPrefix(command, "pipsqueak completion") || command == "drivercheck" || strings.HasPrefix(command, "pipbench") {
			continue
		}
		if !listed[command] {
			t.Errorf("docs/cli.md does not list %s", command)
		}
	}
	if seen < 40 {
		t.Errorf("only %d commands were found in texts", seen)
	}
}

// saysItsVersion checks that a program knows --version.
func saysItsVersion(t *testing.T, program string) {
	t.Helper()
	out, err := exec.Command(program, "--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), filepath.Base(program)+" ") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%s --version: %v\n%s", program, err, out)
	}
}

func TestEveryProgramSaysItsVersion(t *testing.T) {
	found, err := filepath.Glob(filepath.Join(programs(t), "*"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, program := range found {
		if info, err := os.Stat(program); err == nil && info.Mode().IsRegular() {
			saysItsVersion(t, program)
			seen++
		}
	}
	if seen < 6 {
		t.Errorf("%d programs in %v", seen, found)
	}
}
