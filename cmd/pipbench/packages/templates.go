package packages

import (
	"embed"
	"encoding/json"
	"math"
	"strings"
	"text/template"
)

//go:embed templates
var texts embed.FS

// written are the templates of the files that do something.
var written = template.Must(template.New("").Funcs(template.FuncMap{
	"module":    Module,
	"constant":  Constant,
	"gemLimits": GemLimits,
	"json": func(v any) (string, error) {
		text, err := json.Marshal(v)
		return string(text), err
	},
}).ParseFS(texts, "templates/*"))

// Module is how a program names a package.
func Module(name string) string { return strings.ReplaceAll(name, "-", "_") }

// facts are what templates are filled with.
type facts struct {
	Package  Package
	Version  Version
	Requires []Requirement
	Modules  []string // that an import loads, as the language names them
	Memory   int64    // that an import allocates, in bytes
	Wheel    string   // the file of this name
	Files    []string // all of a gem
}

// Nanoseconds are those of an import.
func (f facts) Nanoseconds() int64 { return int64(f.Package.Import * 1e6) }

// InstallNanoseconds are those of an installation.
func (f facts) InstallNanoseconds() int64 { return int64(f.Package.Install * 1e6) }

// Search is how long a text is that a program searches to take a small part of an import's time: each further
// letter doubles it.
func (f facts) Search() int { return 12 + int(math.Log2(max(1, f.Package.Import))) }

// fill returns the text of a template.
func (f facts) fill(name string) string {
	var text strings.Builder
	if err := written.ExecuteTemplate(&text, name, f); err != nil {
		panic(err) // a template is part of the program, and so are its facts
	}
	return text.String()
}
