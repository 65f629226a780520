package registry

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/md5"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
)

func digest(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// The pages of PEP 503.
var (
	projects = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html><head><meta name="pypi:repository-version" content="1.1"><title>Simple index</title></head><body>
{{range .}}<a href="/python/simple/{{.}}/">{{.}}</a>
{{end}}</body></html>
`))
	project = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html><head><meta name="pypi:repository-version" content="1.1"><title>Links for {{.Name}}</title></head><body>
{{range .Files}}<a href="{{.URL}}#sha256={{.Hashes.sha256}}" data-requires-python="{{.RequiresPython}}"
{{- if .Metadata}} data-core-metadata="sha256={{.Metadata.sha256}}" data-dist-info-metadata="sha256={{.Metadata.sha256}}"{{end}}>{{.Filename}}</a>
{{end}}</body></html>
`))
)

// pythonFile is one of a project, as PEP 691 has it.
type pythonFile struct {
	Filename       string            `json:"filename"`
	URL            string            `json:"url"`
	Hashes         map[string]string `json:"hashes"`
	Size           int64             `json:"size"`
	UploadTime     string            `json:"upload-time"`
	RequiresPython string            `json:"requires-python"`
	Metadata       map[string]string `json:"core-metadata,omitempty"`
}

// addPython serves the simple index: as HTML (PEP 503) and JSON (PEP 691), with the metadata of wheels beside
// them (PEP 658).
func (r *Registry) addPython(c *packages.Catalog) error {
	meta := map[string]string{"api-version": "1.1"}
	var names []string
	var list []map[string]string
	for _, p := range c.Packages {
		names = append(names, p.Name)
		list = append(list, map[string]string{"name": p.Name})
		of := struct {
			Meta     map[string]string `json:"meta"`
			Name     string            `json:"name"`
			Versions []string          `json:"versions"`
			Files    []pythonFile      `json:"files"`
		}{Meta: meta, Name: p.Name}
		for _, v := range p.Versions {
			of.Versions = append(of.Versions, v.Number)
			for _, a := range v.Archives {
				f := pythonFile{a.File, "/python/files/" + a.File, map[string]string{"sha256": a.SHA256}, a.Size, released, ">=3.7", nil}
				if strings.HasSuffix(a.File, ".whl") {
					f.Metadata = map[string]string{"sha256": digest(a.Metadata)}
					r.pages[f.URL+".metadata"] = page{form: plain, text: a.Metadata}
				}
				of.Files = append(of.Files, f)
			}
		}
		if err := r.addSimple("/python/simple/"+p.Name+"/", project, of, of); err != nil {
			return err
		}
	}
	return r.addSimple("/python/simple/", projects, names, map[string]any{"meta": meta, "projects": list})
}

func (r *Registry) addSimple(path string, shown *template.Template, asHTML, asJSON any) error {
	var text bytes.Buffer
	if err := shown.Execute(&text, asHTML); err != nil {
		return err
	}
	structured, err := json.Marshal(asJSON)
	r.pages[path] = page{form: html, text: text.String(), json: string(structured)}
	return err
}

// addNode serves each package's document, with all its versions.
func (r *Registry) addNode(c *packages.Catalog) error {
	for _, p := range c.Packages {
		versions, times := map[string]any{}, map[string]string{"created": released, "modified": released}
		for _, v := range p.Versions {
			for _, a := range v.Archives {
				version := map[string]any{}
				if err := json.Unmarshal([]byte(a.Metadata), &version); err != nil {
					return fmt.Errorf("%s %s: %w", p.Name, v.Number, err)
				}
				version["dist"] = map[string]any{"tarball": here + "/node/files/" + a.File, "integrity": "sha512-" + a.SHA512, "unpackedSize": p.Size, "fileCount": p.Files}
				if p.Builds {
					version["hasInstallScript"] = true
				}
				versions[v.Number], times[v.Number] = version, released
			}
		}
		text, err := json.Marshal(map[string]any{"name": p.Name, "dist-tags": map[string]string{"latest": p.Latest().Number}, "versions": versions, "time": times})
		if err != nil {
			return err
		}
		r.pages["/node/"+p.Name] = page{form: jsonForm, text: string(text)}
	}
	return nil
}

// addRuby serves the compact index.
func (r *Registry) addRuby(c *packages.Catalog) {
	names, versions := "---\n", "created_at: "+released+"\n---\n"
	for _, p := range c.Packages {
		name := packages.Module(p.Name)
		info := "---\n"
		var numbers []string
		for _, v := range p.Versions {
			var requires []string
			for _, q := range p.Requirements(v) {
				var limits []string
				for _, l := range packages.GemLimits(q) {
					limits = append(limits, l.Operator+" "+l.Version)
				}
				requires = append(requires, packages.Module(q.Package)+":"+strings.Join(limits, "&"))
			}
			for _, a := range v.Archives {
				info += fmt.Sprintf("%s %s|checksum:%s\n", v.Number, strings.Join(requires, ","), a.SHA256)
				r.files["/ruby/gems/"+a.File] = r.files["/ruby/files/"+a.File]
			}
			numbers = append(numbers, v.Number)
		}
		names += name + "\n"
		versions += fmt.Sprintf("%s %s %x\n", name, strings.Join(numbers, ","), md5.Sum([]byte(info)))
		r.pages["/ruby/info/"+name] = page{form: plain, text: info}
	}
	r.pages["/ruby/names"], r.pages["/ruby/versions"] = page{form: plain, text: names}, page{form: plain, text: versions}
}

// addNative serves an apt repository, whose Release is signed by a key that lives as long as the registry.
func (r *Registry) addNative(c *packages.Catalog) error {
	index, architecture := "", ""
	for _, p := range c.Packages {
		for _, v := range p.Versions {
			for _, a := range v.Archives {
				index += a.Metadata + fmt.Sprintf("Filename: files/%s\nSize: %d\nSHA256: %s\n\n", a.File, a.Size, a.SHA256)
				architecture = strings.TrimSuffix(a.File[strings.LastIndex(a.File, "_")+1:], ".deb")
			}
		}
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write([]byte(index))
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return err
	}
	release := fmt.Sprintf("Origin: pipbench\nLabel: pipbench\nSuite: stable\nCodename: stable\nDate: Wed, 01 Jan 2020 00:00:00 UTC\nArchitectures: %s\nComponents: main\nSHA256:\n", architecture)
	for _, one := range [][2]string{{"Packages", index}, {"Packages.gz", packed.String()}} {
		file := "main/binary-" + architecture + "/" + one[0]
		release += fmt.Sprintf(" %s %d %s\n", digest(one[1]), len(one[1]), file)
		r.pages["/native/dists/stable/"+file] = page{form: "application/octet-stream", text: one[1]}
	}
	signed, key, err := sign(release)
	if err != nil {
		return err
	}
	r.pages["/native/dists/stable/Release"], r.pages["/native/dists/stable/InRelease"] = page{form: plain, text: release}, page{form: plain, text: signed}
	r.pages["/native/pipbench.sources"] = page{form: plain, text: "Types: deb\nURIs: " + here + "/native\nSuites: stable\nComponents: main\nSigned-By:\n" + field(key)}
	return nil
}

// field is a text as the value of a field that has lines: each begins with a space, an empty one is a dot.
func field(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		lines[i] = " " + line
		if line == "" {
			lines[i] = " ."
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// sign returns a text with its signature, and the public key of a key that was made for it.
func sign(text string) (signed, key string, err error) {
	entity, err := openpgp.NewEntity("pipbench", "artificial packages", "nobody@example.org", &packet.Config{DefaultHash: crypto.SHA256})
	if err != nil {
		return "", "", err
	}
	var public, out bytes.Buffer
	block, err := armor.Encode(&public, openpgp.PublicKeyType, nil)
	if err == nil {
		err = entity.Serialize(block)
	}
	if err == nil {
		err = block.Close()
	}
	if err != nil {
		return "", "", err
	}
	plaintext, err := clearsign.Encode(&out, entity.PrivateKey, &packet.Config{DefaultHash: crypto.SHA256})
	if err == nil {
		_, err = plaintext.Write([]byte(text))
	}
	if err == nil {
		err = plaintext.Close()
	}
	return out.String() + "\n", public.String(), err
}
