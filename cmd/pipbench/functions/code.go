package functions

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
)

//go:embed templates
var texts embed.FS

// written are the templates of code.
var written = template.Must(template.New("").Funcs(template.FuncMap{
	"module":   packages.Module,
	"constant": packages.Constant,
}).ParseFS(texts, "templates/*"))

// files are those of a function by name: its code, what it requires as its language says it, and a main
// program, which runs the function once in a process of its own.
func (f Function) files() map[string]string {
	settings := "timeout_ms: 90000\n" // executions of traces take up to a minute
	scripts := f.Builds
	var all map[string]string
	switch f.Language {
	case "python":
		all = f.filled("handler.py", "main.py")
		all["requirements.txt"] = "" // pip wants the file
		for _, p := range f.Packages {
			all["requirements.txt"] += p.Name + "==" + p.Version + "\n"
		}
	case "node":
		all = f.filled("index.js", "main.js")
		all["package.json"] = f.packageJSON()
	case "ruby":
		all = f.filled("handler.rb", "main.rb")
		all["Gemfile"] = "source \"https://rubygems.org\"\n"
		for _, p := range f.Packages {
			all["Gemfile"] += fmt.Sprintf("gem %q, %q\n", packages.Module(p.Name), p.Version)
		}
		scripts = slices.Clone(scripts)
		for i := range scripts {
			scripts[i] = packages.Module(scripts[i])
		}
	case "native":
		all = f.filled("function.h", "handler.c", "main.c")
		var libraries []string
		for _, p := range f.Packages {
			libraries = append(libraries, "lib"+p.Name+"-dev")
		}
		settings += "debian: [" + strings.Join(libraries, ", ") + "]\n"
	}
	if len(scripts) > 0 {
		settings += "allow_scripts: [" + strings.Join(scripts, ", ") + "]\n"
	}
	all["pipsqueak.yaml"] = settings
	return all
}

// Mains are the files that run a function of a language once, in a process of its own; and for a compiled
// one, whose function.h has everything, its handler too.
func Mains(language string) map[string]string {
	return Function{}.filled(map[string][]string{"python": {"main.py"}, "node": {"main.js"}, "ruby": {"main.rb"}, "native": {"handler.c", "main.c"}}[language]...)
}

// filled are templates, filled.
func (f Function) filled(names ...string) map[string]string {
	all := map[string]string{}
	for _, name := range names {
		var text strings.Builder
		if err := written.ExecuteTemplate(&text, name, f); err != nil {
			panic(err) // a template is part of the program, and so are its facts
		}
		all[name] = text.String()
	}
	return all
}

func (f Function) packageJSON() string {
	project := struct {
		Name         string            `json:"name"`
		Version      string            `json:"version"`
		Private      bool              `json:"private"`
		Dependencies map[string]string `json:"dependencies"`
	}{f.Name, "1.0.0", true, map[string]string{}}
	for _, p := range f.Packages {
		project.Dependencies[p.Name] = p.Version
	}
	text, err := json.MarshalIndent(project, "", "  ")
	if err != nil {
		panic(err) // texts alone
	}
	return string(text) + "\n"
}
