package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Do the functions, manifests and data that the documents show work as they stand?

var (
	shownHandler  = regexp.MustCompile(`^(handler|index)\.\w+$`)
	shownManifest = []string{"requirements.txt", "Makefile", "pipsqueak.yaml"} // not a Gemfile: the tests of gems have an index of their own
	shownFunction = regexp.MustCompile(`(?m)^  (\w+):\n(?:    dir: (\w+)\n)?`) // of the manifest of an application
)

// shown is the files that a document shows: a handler, alone or with the handlers above it and a manifest.
type shown struct {
	place string // file:line of the block
	files files
}

// show returns every handler of a document alone, and every manifest with the handlers above it.
func show(t *testing.T, name, text string) (all []shown) {
	t.Helper()
	blocks := indented(t, name, text)
	handlers := files{}
	for _, first := range slices.Sorted(maps.Keys(blocks)) {
		title := named.FindStringSubmatch(blocks[first][0])
		if title == nil {
			continue
		}
		file, place := title[2], fmt.Sprintf("%s:%d", name, first)
		code := strings.Join(blocks[first][1:], "\n")
		switch {
		case shownHandler.MatchString(file):
			handlers[file] = code
			all = append(all, shown{place, files{file: code}})
		case slices.Contains(shownManifest, file):
			all = append(all, shown{place, handlers.with(file, code)})
		}
	}
	return all
}

// deployShown deploys a function as a document shows it, and expects its result of the event; of an
// application, that it is deployed.
func deployShown(t *testing.T, w *worker, s shown) {
	t.Helper()
	if functions := shownFunction.FindAllStringSubmatch(s.files["pipsqueak.yaml"], -1); functions != nil {
		dir := filepath.Join(t.TempDir(), "shown")
		writeFile(t, filepath.Join(dir, "pipsqueak.yaml"), s.files["pipsqueak.yaml"])
		for _, function := range functions {
			folder := function[1]
			if function[2] != "" {
				folder = function[2]
			}
			writeFile(t, filepath.Join(dir, folder, "handler.py"), says(folder))
		}
		if _, stderr, err := w.command(t, "", "deploy", dir, "--wait", "deployed"); err != nil {
			t.Errorf("%v\n%s", err, stderr)
		}
		return
	}
	w.deploy(t, "shown-here", s.files)
	if a := w.run(t, "shown-here", `{"name": "pip"}`); !strings.Contains(string(a.body), "pip") {
		t.Errorf("the answer is %v", a)
	}
}

func TestDocumentFiles(t *testing.T) {
	w, seen := shared(t), 0
	texts := documents(t)
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if filepath.Dir(name) != "docs" {
			continue
		}
		for _, s := range show(t, name, texts[name]) {
			seen++
			t.Run(s.place, func(t *testing.T) { deployShown(t, w, s) })
		}
	}
	if seen < 10 {
		t.Errorf("only %d functions were found", seen)
	}
}

// TestDocumentData parses each block of JSON. What it leaves out, as in {"name": "f", …}, is left out before.
func TestDocumentData(t *testing.T) {
	seen := 0
	for name, text := range documents(t) {
		for first, lines := range indented(t, name, text) {
			if !strings.HasPrefix(lines[0], "{") {
				continue
			}
			seen++
			values := json.NewDecoder(strings.NewReader(strings.ReplaceAll(strings.Join(lines, "\n"), ", …", "")))
			for {
				var value any
				if err := values.Decode(&value); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Errorf("%s:%d: %v", name, first, err)
					break
				}
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d blocks of JSON were found", seen)
	}
}
