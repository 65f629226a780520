package packages

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"path"
	"strings"
)

// python writes wheels, and source distributions for the packages that are built when they are installed.
type python struct{ layout }

const wheelText = "Wheel-Version: 1.0\nGenerator: pipbench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

// pythonModuleMemory is what a module takes that is loaded from an almost empty file.
const pythonModuleMemory = 4 << 10

func (f python) write(_ context.Context, dir string, p Package, v Version) ([]Archive, error) {
	base := fmt.Sprintf("%s-%s", Module(p.Name), v.Number)
	metadata := pythonMetadata(p, v)
	var a Archive
	var err error
	if p.Builds {
		a, err = save(dir, base+".tar.gz", func(w io.Writer) error {
			return zipped(w, func(w io.Writer) error {
				return tarball(w, func(add func(entry) error) error { return f.source(base, metadata, p, v, add) })
			})
		})
	} else {
		a, err = save(dir, base+"-py3-none-any.whl", func(w io.Writer) error { return f.wheel(w, base, metadata, p, v) })
	}
	a.SHA512, a.Metadata = "", metadata
	return []Archive{a}, err
}

// pythonMetadata is the file METADATA of a wheel.
func pythonMetadata(p Package, v Version) string {
	text := fmt.Sprintf("Metadata-Version: 2.2\nName: %s\nVersion: %s\nSummary: an artificial package, made by pipbench\nRequires-Python: >=3.7\n", p.Name, v.Number)
	for _, r := range p.Requirements(v) {
		limit := ""
		switch r.Allows {
		case AtLeast:
			limit = ">=" + r.Version
		case Compatible:
			limit = fmt.Sprintf(">=%s,<%d", r.Version, major(r.Version)+1)
		case Exact:
			limit = "==" + r.Version
		}
		text += "Requires-Dist: " + r.Package + limit + "\n"
	}
	return text
}

// each calls add with the files below the directory that is on the path of modules.
func (f python) each(p Package, v Version, add func(name string, content []byte) error) error {
	all := f.files(p)
	filled := facts{Package: p, Version: v, Requires: p.Requirements(v), Modules: []string{}}
	for _, i := range p.loaded(all, ".py") {
		filled.Modules = append(filled.Modules, strings.ReplaceAll(strings.TrimSuffix(all[i].path, ".py"), "/", "."))
		all[i].code = fmt.Sprintf("value = %q\n", v.Value)
	}
	filled.Memory = max(0, p.Memory-int64(pythonModuleMemory*(1+len(filled.Modules))))
	all = append([]file{{path: "__init__.py", size: f.rest(p, all), code: filled.fill("python_init.py")}}, all...)
	for _, one := range all {
		if err := add(path.Join(Module(p.Name), one.path), f.content(p, v, one, commentOf(one.path))); err != nil {
			return err
		}
	}
	return nil
}

func (f python) wheel(w io.Writer, base, metadata string, p Package, v Version) error {
	archive := zip.NewWriter(w)
	var record strings.Builder
	add := func(name string, content []byte) error {
		header := &zip.FileHeader{Name: name, Method: zip.Store, Modified: epoch}
		if path.Ext(name) == ".py" && len(content) > 4<<10 { // a compressor costs more than a small file
			header.Method = zip.Deflate
		}
		header.SetMode(0o644)
		out, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(sum[:]), len(content))
		_, err = out.Write(content)
		return err
	}
	if err := f.each(p, v, add); err != nil {
		return err
	}
	for _, one := range [][2]string{{"METADATA", metadata}, {"WHEEL", wheelText}} {
		if err := add(base+".dist-info/"+one[0], []byte(one[1])); err != nil {
			return err
		}
	}
	record.WriteString(base + ".dist-info/RECORD,,\n")
	if err := add(base+".dist-info/RECORD", []byte(record.String())); err != nil {
		return err
	}
	return archive.Close()
}

// source adds the files of a source distribution. It is its own build backend, so that building it needs
// nothing else.
func (f python) source(base, metadata string, p Package, v Version, add func(entry) error) error {
	filled := facts{Package: p, Version: v, Wheel: wheelText}
	for _, one := range [][2]string{
		{"PKG-INFO", metadata},
		{"pyproject.toml", "[build-system]\nrequires = []\nbuild-backend = \"pipbench_backend\"\nbackend-path = [\".\"]\n"},
		{"pipbench_backend.py", filled.fill("python_backend.py")},
	} {
		if err := add(entry{name: base + "/" + one[0], mode: 0o644, content: []byte(one[1])}); err != nil {
			return err
		}
	}
	return f.each(p, v, func(name string, content []byte) error {
		return add(entry{name: base + "/src/" + name, mode: 0o644, content: content})
	})
}
