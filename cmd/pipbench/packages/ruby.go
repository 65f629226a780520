package packages

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// ruby writes gems. A gem, its file and what is required have one name, with underscores.
type ruby struct{ layout }

// rubyModuleMemory is what a file takes that is required and almost empty.
const rubyModuleMemory = 1 << 10

// GemLimit is one condition of a requirement.
type GemLimit struct{ Operator, Version string }

// GemLimits are the conditions of a requirement.
func GemLimits(r Requirement) []GemLimit {
	switch r.Allows {
	case AtLeast:
		return []GemLimit{{">=", r.Version}}
	case Compatible:
		return []GemLimit{{">=", r.Version}, {"<", fmt.Sprint(major(r.Version) + 1)}}
	case Exact:
		return []GemLimit{{"=", r.Version}}
	}
	return []GemLimit{{">=", "0"}}
}

// Constant is how a program names a gem once it is loaded.
func Constant(name string) string {
	text := ""
	for word := range strings.SplitSeq(name, "-") {
		text += strings.ToUpper(word[:1]) + word[1:]
	}
	return text
}

func (f ruby) write(_ context.Context, dir string, p Package, v Version) ([]Archive, error) {
	filled := facts{Package: p, Version: v, Requires: p.Requirements(v), Modules: []string{}}
	main := Module(p.Name) + ".rb"
	all := f.files(p)
	for i := range all {
		all[i].path = path.Join("lib", Module(p.Name), strings.TrimPrefix(all[i].path, "lib/"))
	}
	for _, i := range p.loaded(all, ".rb") {
		filled.Modules = append(filled.Modules, strings.TrimPrefix(all[i].path, "lib/"))
		all[i].code = fmt.Sprintf("# frozen_string_literal: true\n%q\n", v.Value)
	}
	filled.Memory = max(0, p.Memory-int64(rubyModuleMemory*(1+len(filled.Modules))))
	all = append([]file{{path: "lib/" + main, size: f.rest(p, all), code: filled.fill("ruby_main.rb")}}, all...)
	if p.Builds {
		all = append(all, file{path: "ext/extconf.rb", code: filled.fill("ruby_extconf.rb")})
	}
	for _, one := range all {
		filled.Files = append(filled.Files, one.path)
	}
	specification := zippedBytes([]byte(filled.fill("ruby_gemspec.yaml")))
	a, err := save(dir, fmt.Sprintf("%s-%s.gem", Module(p.Name), v.Number), func(w io.Writer) error {
		var files []entry
		for _, one := range all {
			files = append(files, entry{name: one.path, mode: 0o644, content: f.content(p, v, one, commentOf(one.path))})
		}
		data, err := tarballBytes(files)
		if err != nil {
			return err
		}
		sums := fmt.Sprintf("---\nSHA256:\n  metadata.gz: %x\n  data.tar.gz: %x\n", sha256.Sum256(specification), sha256.Sum256(data))
		return tarball(w, func(add func(entry) error) error {
			return errors.Join(add(entry{name: "metadata.gz", mode: 0o444, content: specification}), add(entry{name: "data.tar.gz", mode: 0o444, content: data}),
				add(entry{name: "checksums.yaml.gz", mode: 0o444, content: zippedBytes([]byte(sums))}))
		})
	})
	a.SHA512 = ""
	return []Archive{a}, err
}
