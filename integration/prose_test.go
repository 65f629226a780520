package integration

import (
	"fmt"
	"go/ast"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/conform"
)

// Can the documents be read? Their commands are run by documents_test.go; this is about their form.

// lineLimit is how many columns a line of a document has at most, and rowLimit a row of a table, which cannot
// be wrapped: longer rows are better read as items of a list. Blocks of code are as they are typed.
const lineLimit, rowLimit = 110, 120

// tooLong returns the numbers of the lines of a document that are too long.
func tooLong(text string) (lines []int) {
	for i, line := range strings.Split(text, "\n") {
		limit := lineLimit
		if strings.HasPrefix(line, "|") {
			limit = rowLimit
		}
		if utf8.RuneCountInString(line) > limit && !strings.HasPrefix(line, "    ") {
			lines = append(lines, i+1)
		}
	}
	return lines
}

// documents returns the text of each document of the repository by its path.
func documents(t *testing.T) map[string]string { return texts(t, ".md") }

// texts returns the text of each file of the repository with that extension by its path.
func texts(t *testing.T, extension string) map[string]string {
	t.Helper()
	root := repositoryRoot(t)
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if entry.IsDir() && slices.Contains([]string{".git", ".deps", "bin", "build"}, name) {
			return fs.SkipDir
		}
		if err != nil || entry.IsDir() || filepath.Ext(name) != extension {
			return err
		}
		text, err := os.ReadFile(path)
		all[name] = string(text)
		return err
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("%d files, %v", len(all), err)
	}
	return all
}

func TestDocumentLines(t *testing.T) {
	for name, text := range documents(t) {
		for _, line := range tooLong(text) {
			t.Errorf("%s:%d has more than %d columns, or %d as a row of a table", name, line, lineLimit, rowLimit)
		}
	}
	wide := strings.Repeat("ä", lineLimit)
	if found := tooLong(wide + "\n" + wide + "x\n| " + wide + "\n    " + wide + "\n| 45678 " + wide + " |"); fmt.Sprint(found) != "[2]" {
		t.Errorf("the test finds lines %v too long, want 2 alone", found)
	}
	if found := tooLong("| 456789 " + wide + " |"); fmt.Sprint(found) != "[1]" {
		t.Errorf("the test finds the rows %v too long, want 1", found)
	}
}

// wideComments returns the numbers of the lines of a Go file that are comments and too long. A tab has four
// columns.
func wideComments(text string) (lines []int) {
	for i, line := range strings.Split(text, "\n") {
		wide := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")) > lineLimit
		if wide && strings.HasPrefix(strings.TrimLeft(line, "\t"), "// ") {
			lines = append(lines, i+1)
		}
	}
	return lines
}

func TestCommentLines(t *testing.T) {
	for name, text := range texts(t, ".go") {
		if strings.HasSuffix(name, ".pb.go") {
			continue // made by protoc
		}
		for _, line := range wideComments(text) {
			t.Errorf("%s:%d is a comment of more than %d columns", name, line, lineLimit)
		}
	}
	fits := "// " + strings.Repeat("ä", lineLimit-3)
	if found := wideComments(fits + "\n" + fits + "x\n\t" + fits + "\nx " + fits); fmt.Sprint(found) != "[2 3]" {
		t.Errorf("the test finds the comments %v too long, want 2 and 3", found)
	}
}

// decision is an entry of DECISIONS.md: its heading and its text, up to the next heading.
var decision = regexp.MustCompile(`(?m)^### (.+)\n\n((?:[^#\n].*\n|\n)+)`)

// reconsider is what an entry of DECISIONS.md says last: what would change the decision.
var reconsider = regexp.MustCompile(`\bReconsider[,\s]`)

// TestDocumentDecisions keeps each decision short and open to change, and the index of DECISIONS.md complete
// and in order.
func TestDocumentDecisions(t *testing.T) {
	text := documents(t)["DECISIONS.md"]
	index, entries, found := strings.Cut(text, "\n## Core\n")
	if !found {
		t.Fatal("DECISIONS.md has no area Core")
	}
	var listed, written []string
	for _, match := range regexp.MustCompile(`(?m)^- (.+)$`).FindAllStringSubmatch(index, -1) {
		listed = append(listed, match[1])
	}
	for _, match := range decision.FindAllStringSubmatch(entries, -1) {
		written = append(written, match[1])
		if n := strings.Count(strings.TrimSpace(match[2]), "\n") + 1; n > 6 {
			t.Errorf("%q has %d lines, and a decision has at most 6", match[1], n)
		}
		if !reconsider.MatchString(match[2]) {
			t.Errorf("%q does not say what would change it: \"Reconsider if …\"", match[1])
		}
	}
	if len(written) < 100 || strings.Count(entries, "\n### ") != len(written) {
		t.Errorf("%d decisions were found", len(written))
	}
	if !slices.Equal(listed, written) {
		both := map[string]int{}
		for _, title := range listed {
			both[title]++
		}
		for _, title := range written {
			both[title]--
		}
		maps.DeleteFunc(both, func(_ string, n int) bool { return n == 0 })
		t.Errorf("the index of DECISIONS.md differs from its headings, or their order: %v", slices.Sorted(maps.Keys(both)))
	}
}

// linked is a link of a document to another one or to a part of one.
var linked = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// anchors returns the names of the headings of a document, as GitHub makes them.
func anchors(text string) (names []string) {
	for _, match := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(match[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// TestDocumentLinks follows every link of a document that leads to this repository, also to a heading.
func TestDocumentLinks(t *testing.T) {
	texts, root, seen := documents(t), repositoryRoot(t), 0
	for name, text := range texts {
		for _, match := range linked.FindAllStringSubmatch(text, -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			seen++
			file, anchor, inside := strings.Cut(match[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, match[1])
			} else if inside && !slices.Contains(anchors(texts[target]), anchor) {
				t.Errorf("%s links to %s: %s has no such heading", name, match[1], target)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d links were found", seen)
	}
}

// step is an item of an event's or a deploy's way through the code: its places, before what happens there.
var step = regexp.MustCompile("^\\d+\\. (`[a-z]+/.*?`): ")

// method is a method that a text names without its file.
var method = regexp.MustCompile("`([A-Z]\\w*\\.[A-Za-z]\\w*)`")

// declares reports whether a file declares a function, or a method as Type.method, in Go, C or Python.
func declares(text, name string) bool {
	if of, method, is := strings.Cut(name, "."); is {
		return regexp.MustCompile(`(?m)^func \(\w+ \*?` + of + `\) ` + method + `\(`).MatchString(text)
	}
	return regexp.MustCompile(`(?m)^(func |def |[a-z][\w ]* \**)` + name + `\(`).MatchString(text)
}

// methodsOf returns the methods of all types, as Type.method.
func methodsOf(sources []source) map[string]bool {
	methods := map[string]bool{}
	for _, s := range sources {
		for _, decl := range s.file.Decls {
			if f, is := decl.(*ast.FuncDecl); is && f.Recv != nil {
				methods[receiver(f)+"."+f.Name.Name] = true
			}
		}
	}
	return methods
}

// TestDocumentCode looks for each file, function and method by which ARCHITECTURE.md leads through the code.
func TestDocumentCode(t *testing.T) {
	steps := 0
	for _, one := range items(documents(t)["ARCHITECTURE.md"]) {
		places := step.FindStringSubmatch(one)
		if places == nil {
			continue
		}
		steps++
		var path, text string
		for _, span := range code.FindAllStringSubmatch(places[1], -1) {
			if strings.Contains(span[1], "/") {
				path = span[1]
				read, err := os.ReadFile(filepath.Join(repositoryRoot(t), path))
				if err != nil {
					t.Errorf("ARCHITECTURE.md: %v", err)
				}
				text = string(read)
			} else if !declares(text, span[1]) {
				t.Errorf("ARCHITECTURE.md: %s has no %s", path, span[1])
			}
		}
	}
	if steps < 23 {
		t.Errorf("only %d steps were found", steps)
	}
	methods := methodsOf(repository(t))
	for _, name := range method.FindAllStringSubmatch(documents(t)["ARCHITECTURE.md"], -1) {
		if !methods[name[1]] {
			t.Errorf("ARCHITECTURE.md: no type has the method %s", name[1])
		}
	}
}

// question is a comment of one or two lines at the top of a file.
var question = regexp.MustCompile(`(?m)^// [A-Z].*(?:\n// .*)?\?(?:$| )`)

// TestFilesHaveAQuestion reads the top of each file with tests: it asks the question that the tests answer.
func TestFilesHaveAQuestion(t *testing.T) {
	names, err := filepath.Glob("*_test.go")
	if err != nil || len(names) < 50 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		top, _, hasTests := strings.Cut(string(text), "\nfunc ")
		hasTests = hasTests && regexp.MustCompile(`(?m)^func (Test|Benchmark|Fuzz)`).Match(text)
		if helps := strings.HasPrefix(name, "rig_") || strings.HasPrefix(name, "rule_"); hasTests == helps {
			t.Errorf("integration/%s: a file without tests begins with rig_ or rule_, and no other does", name)
		}
		if hasTests && !question.MatchString(top) {
			t.Errorf("integration/%s does not begin with the question that its tests answer", name)
		}
	}
}

// TestDocumentCases compares how many cases the conformance kit has with what the documents say.
func TestDocumentCases(t *testing.T) {
	seen := 0
	for name, text := range documents(t) {
		for _, match := range regexp.MustCompile(`\b(\d{3}) cases\b`).FindAllStringSubmatch(text, -1) {
			if seen++; match[1] != fmt.Sprint(len(conform.Cases())) {
				t.Errorf("%s says that the kit has %s cases; it has %d", name, match[1], len(conform.Cases()))
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d numbers were found", seen)
	}
}
