package bundle

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestWordsOfPackages: whoever deploys is told which directories with packages are left out, and which are
// the function's own code.
func TestWordsOfPackages(t *testing.T) {
	for name, test := range map[string]struct {
		files     string
		left, own []string // what each begins with, or has
	}{
		"nothing":   {"handler.js package.json lib/node_modules/p", nil, nil},
		"made":      {"package.json node_modules/p Gemfile vendor/bundle/g CMakeLists.txt out/CMakeCache.txt", []string{"left out node_modules: a deploy makes it again from package.json; '!node_modules'", "left out out: ", "left out vendor/bundle: a deploy makes it again from Gemfile; '!vendor/bundle' in .pipsqueakignore"}, nil},
		"own":       {"node_modules/p vendor/bundle/g", nil, []string{"vendor/bundle: packages that", "node_modules: packages that a function brings along are code of its own, so none is locked, listed, shared or in a zygote; name them in package.json instead"}},
		"installed": {"a-1.dist-info/x b-1.dist-info/x c-1.dist-info/x d-1.dist-info/x e-1.dist-info/x site-packages/x requirements.txt", nil, []string{"a-1.dist-info, b-1.dist-info, c-1.dist-info, … and 3 more: "}},
		"wanted":    {"package.json node_modules/p .pipsqueakignore=!node_modules", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var entries []entry
			for _, name := range strings.Fields(test.files) {
				name, text, _ := strings.Cut(name, "=")
				entries = append(entries, file(name, text))
			}
			dir, left, err := Unpack(t.Context(), bytes.NewReader(tarGz(t, entries...)), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for _, told := range []struct{ got, want []string }{{left, test.left}, {OwnCode(os.DirFS(dir)), test.own}} {
				if !slices.EqualFunc(told.got, told.want, strings.HasPrefix) {
					t.Errorf("%q, want %q", told.got, told.want)
				}
			}
		})
	}
}
