package packages

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
)

// node writes npm tarballs.
type node struct{ layout }

// What a module takes that is loaded from an almost empty file, in bytes; and what finding and compiling
// index.js takes before its first line can look at a clock, in milliseconds.
const (
	nodeModuleMemory = 26 << 10
	nodeFirst        = 0.5
)

// npmPackage is a package.json.
type npmPackage struct {
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	Description string            `json:"description"`
	License     string            `json:"license"`
	Main        string            `json:"main"`
	Scripts     map[string]string `json:"scripts,omitempty"`
	Requires    map[string]string `json:"dependencies,omitempty"`
}

func (f node) write(_ context.Context, dir string, p Package, v Version) ([]Archive, error) {
	description := npmPackage{Name: p.Name, Version: v.Number, Description: "an artificial package, made by pipbench", License: "MIT", Main: "index.js"}
	if p.Builds {
		description.Scripts = map[string]string{"install": "node install.js"}
	}
	for _, r := range p.Requirements(v) {
		if description.Requires == nil {
			description.Requires = map[string]string{}
		}
		description.Requires[r.Package] = map[Kind]string{Any: "*", AtLeast: ">=" + r.Version, Compatible: "^" + r.Version, Exact: r.Version}[r.Allows]
	}
	text, err := json.MarshalIndent(description, "", "  ")
	if err != nil {
		return nil, err
	}
	a, err := save(dir, fmt.Sprintf("%s-%s.tgz", p.Name, v.Number), func(w io.Writer) error {
		return zipped(w, func(w io.Writer) error {
			return tarball(w, func(add func(entry) error) error { return f.each(p, v, text, add) })
		})
	})
	a.Metadata = string(text)
	return []Archive{a}, err
}

// each adds the files of a package: package.json is one of them.
func (f node) each(p Package, v Version, description []byte, add func(entry) error) error {
	p.Files = max(1, p.Files-1)
	p.Import = max(0, p.Import-nodeFirst)
	all := f.files(p)
	filled := facts{Package: p, Version: v, Requires: p.Requirements(v), Modules: []string{}}
	for _, i := range p.loaded(all, ".js") {
		filled.Modules = append(filled.Modules, all[i].path)
		all[i].code = fmt.Sprintf("exports.value = %q;\n", v.Value)
	}
	filled.Memory = max(0, p.Memory-int64(nodeModuleMemory*(1+len(filled.Modules))))
	all = append([]file{{path: "package.json", code: string(description)}, {path: "index.js", size: f.rest(p, all), code: filled.fill("node_index.js")}}, all...)
	if p.Builds {
		all = append(all, file{path: "install.js", code: filled.fill("node_install.js")})
	}
	for _, one := range all {
		if err := add(entry{name: path.Join("package", one.path), mode: 0o644, content: f.content(p, v, one, commentOf(one.path))}); err != nil {
			return err
		}
	}
	return nil
}
