package integration

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// languages are the words by which core would know a language. The first group is found anywhere in a word;
// the second only as a whole word, because it has other meanings ("pip" is in "pipsqueak"). "node" is not
// here: it is a word of the glossary.
var (
	languageAnywhere = []string{"python", "nodejs", "node.js", "javascript"}
	languageWords    = []string{"ruby", "perl", "lua", "pip", "npm", "gem"}
)

// synonyms are words that the glossary has another word for.
var synonyms = map[string]string{
	"lambda":           "function",
	"container":        "sandbox",
	"worker pool":      "tree (processes) or worker (machine)",
	"workerpool":       "tree (processes) or worker (machine)",
	"warmup":           "preload",
	"warm up":          "preload",
	"prewarm":          "preload",
	"spawn":            "fork, or preload for a root zygote",
	"snapshotting":     "fork",
	"template process": "zygote",
	"payload":          "event or result",
	"dependency":       "package",
	"dependencies":     "packages",
	"executor":         "driver or instance",
	"cold boot":        "cold start",
	"garbage collect":  "evict",
}

var (
	humps    = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)
	nonWords = regexp.MustCompile(`[^a-zA-Z]+`)
)

// words splits an identifier or a text into lower-case words, at humps and at everything that is not a
// letter.
func words(text string) []string {
	text = humps.ReplaceAllString(text, "$1$3 $2$4")
	return strings.Fields(strings.ToLower(nonWords.ReplaceAllString(text, " ")))
}

// language returns the language that the text names, or nothing.
func language(text string) string {
	lower := strings.ToLower(text)
	for _, name := range languageAnywhere {
		if strings.Contains(lower, name) {
			return name
		}
	}
	for _, word := range words(text) {
		if slices.Contains(languageWords, word) {
			return word
		}
	}
	return ""
}

func ruleLanguage(sources []source) (violations []string) {
	for _, s := range sources {
		if s.test() || s.folder() != "core" && !strings.HasPrefix(s.folder(), "core/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			var text string
			switch n := n.(type) {
			case *ast.Ident:
				text = n.Name
			case *ast.BasicLit:
				if n.Kind == token.STRING {
					text = n.Value
				}
			}
			if name := language(text); name != "" {
				violations = append(violations, s.at(n)+": "+text+" names a language ("+name+"): core knows none; let the driver describe it")
			}
			return true
		})
	}
	return violations
}

func ruleVocabulary(sources []source) (violations []string) {
	for _, s := range sources {
		if s.test() || ast.IsGenerated(s.file) {
			continue
		}
		for _, name := range declared(s.file) {
			if !unicode.IsUpper([]rune(name.Name)[0]) {
				continue
			}
			text := " " + strings.Join(words(name.Name), " ") + " "
			for synonym, word := range synonyms {
				if strings.Contains(text, " "+synonym+" ") {
					violations = append(violations, s.at(name)+": "+name.Name+`: the glossary does not have "`+synonym+`"; the word is `+word)
				}
			}
		}
	}
	return violations
}

// homonyms are words that once meant several things: where the names of a package no longer have one, and the
// word for it there.
var homonyms = []struct{ word, folder, instead string }{
	{"manifest", "core/files", "a tree has a list"},
	{"manifest", "core/store", "a tree has a list"},
	{"manifest", "core/bundle", "pipsqueak.yaml has settings; a manifest names packages to a language's own tool"},
	{"scan", "core/files", "a tree is walked; a scan looks for suspicious packages"},
	{"scan", "core/bundle", "a tree is walked; a scan looks for suspicious packages"},
	{"house", "core/worker", "a house is drivertest's; a worker has sandboxes"},
	{"house", "core/driver/conform", "a house is drivertest's; the kit has sandboxes"},
	{"examine", "core/supply", "a machine or a driver is examined, with findings; a deployment is identified"},
	{"examine", "drivers/native", "a machine or a driver is examined, with findings; an object is checked"},
	{"lastwords", "core/sandbox", "the last words of a process are the end of its output; a time says what it bounds"},
}

// owners are the folders that declare a type of a name: one thing, and the parts of it that others want.
var owners = map[string][]string{
	"Sandbox": {"core/sandbox", "core/tree", "core/probe", "core/supply"},
	"Door":    {"core"},
}

// mutexAsLock is how a comment speaks of a mutex by the word for a function's resolved packages.
var mutexAsLock = regexp.MustCompile(`(?i)\block order\b|\b(?:has|holds?|under|without|takes?)\s+(?:the|its|a|no)\s+lock(?:[^\w'’]|$)`)

func ruleHomonyms(sources []source) (violations []string) {
	for _, s := range sources {
		if s.test() || ast.IsGenerated(s.file) {
			continue
		}
		for _, name := range declared(s.file) {
			for _, h := range homonyms {
				begins := func(word string) bool { return strings.HasPrefix(word, h.word) }
				if s.folder() == h.folder && (slices.ContainsFunc(words(name.Name), begins) || begins(strings.ToLower(name.Name))) {
					violations = append(violations, s.at(name)+": "+name.Name+": "+h.word+" means something else; "+h.instead)
				}
			}
		}
		for _, name := range types(s.file) {
			if folders, owned := owners[name.Name]; owned && !slices.Contains(folders, s.folder()) {
				violations = append(violations, s.at(name)+": "+name.Name+": a type of that name is declared in "+strings.Join(folders, ", "))
			}
		}
		for _, group := range s.file.Comments {
			if found := mutexAsLock.FindString(group.Text()); found != "" {
				violations = append(violations, s.at(group)+": "+strconv.Quote(found)+" of a mutex: a lock is a function's packages; say mutex, or mu")
			}
		}
	}
	return violations
}

// types returns the names of a file's types.
func types(file *ast.File) (names []*ast.Ident) {
	for _, decl := range file.Decls {
		if general, ok := decl.(*ast.GenDecl); ok {
			for _, spec := range general.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok {
					names = append(names, spec.Name)
				}
			}
		}
	}
	return names
}

// declared returns the names that a file gives to others: of functions, methods, types, fields, constants and
// variables.
func declared(file *ast.File) (names []*ast.Ident) {
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			names = append(names, decl.Name)
		case *ast.GenDecl:
			ast.Inspect(decl, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.TypeSpec:
					names = append(names, n.Name)
				case *ast.ValueSpec:
					names = append(names, n.Names...)
				case *ast.Field:
					names = append(names, n.Names...)
				}
				return true
			})
		}
	}
	return names
}

// refusedWords are words with a usual one in their place, in code, messages and documents alike. This file
// alone has them.
var refusedWords = []struct {
	word    *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\banew\b`), "again"},
	{regexp.MustCompile(`(?i)\bmend(?:s|ed|ing)?\b`), "fix; repair, of what the worker keeps"},
}

// published are names that users write: they stay as they are.
var published = regexp.MustCompile("--anew\\b|[?&]anew=|\"anew\"|[`\"]mended[`\"]|\"mend[,\"]")

// twoRefused is a text with two of them, and with words that only look alike.
const twoRefused = "Begin anew, and\nagain: it is to be Mended.\nThe commendation is a new amendment, --anew."

// refused returns which words of a text the project does not use, each with its line and the word to take.
func refused(text string) (found []string) {
	for i, line := range strings.Split(text, "\n") {
		line = published.ReplaceAllString(line, "")
		for _, r := range refusedWords {
			if word := r.word.FindString(line); word != "" {
				found = append(found, strconv.Itoa(i+1)+": the word is not "+strconv.Quote(word)+" but "+r.instead)
			}
		}
	}
	return found
}
