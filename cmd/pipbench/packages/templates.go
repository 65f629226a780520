package packages

import (
	"embed"
	"encoding/json"
	"strings"
	"text/template"
)

//go:embed templates
var texts embed.FS

// written are the templates of the files that do something.
var written = template.Must(template.New("").Funcs(template.FuncMap{
	"module":    module,
	"constant":  constant,
	"gemLimits": gemLimits,
	"json": func(v any) (string, error) {
		text, err := json.Marshal(v)
		return string(text), err
	},
}).ParseFS(texts, "templates/*"))

// module is how a program names a package.
func module(name string) string { return strings.ReplaceAll(name, "-", "_") }

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

// fill returns the text of a template.
func (f facts) fill(name string) string {
	var text strings.Builder
	if err := written.ExecuteTemplate(&text, name, f); err != nil {
		panic(err) // a template is part of the program, and so are its facts
	}
	return text.String()
}
