package aws

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// most is how many bytes of an archive Lambda takes in a request.
const most = 50 << 20

// places say where Lambda wants the files of a language that an installer has put somewhere else, or nowhere:
// the first pattern that fits decides, and other files stay where they are.
var places = map[string][]struct {
	from *regexp.Regexp
	to   string
}{
	"python": {
		{regexp.MustCompile(`^venv/lib/python3[^/]*/site-packages/(pip|setuptools|pkg_resources|_distutils_hack|distutils-precedence)[-./].*`), ""},
		{regexp.MustCompile(`^venv/lib/python3[^/]*/site-packages/`), ""},
		{regexp.MustCompile(`^venv/.*`), ""},
	},
	"ruby": {
		{regexp.MustCompile(`^gems/ruby/[^/]+/cache/.*`), ""},
		{regexp.MustCompile(`^gems/ruby/[^/]+/`), "vendor/bundle/ruby/3.4.0/"},
	},
}

// placed is where Lambda wants a file of a language; nowhere, if it is empty.
func placed(language, name string) string {
	for _, place := range places[language] {
		if place.from.MatchString(name) {
			return place.from.ReplaceAllString(name, place.to)
		}
	}
	return name
}

// zipped returns a directory, in which a function was installed, as an archive for Lambda. Links are left
// out.
func zipped(dir, language string) ([]byte, error) {
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if name = placed(language, filepath.ToSlash(name)); name == "" {
			return nil
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(0o755)
		out, err := archive.CreateHeader(header)
		if err == nil {
			_, err = io.Copy(out, file)
		}
		return err
	})
	if err == nil {
		err = archive.Close()
	}
	if err == nil && buffer.Len() > most {
		err = fmt.Errorf("its archive has %d MB, and Lambda takes %d: make packages with a smaller --scale", buffer.Len()>>20, most>>20)
	}
	return buffer.Bytes(), err
}
