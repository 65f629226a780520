package worker

import (
	"slices"
	"testing"
	"testing/fstest"
)

func TestManifests(t *testing.T) {
	dir := fstest.MapFS{"b.lock": {}, "m.json": {}, "x/m.json": {}, "x/y/m.json": {}, "x/b.lock": {}, "x/m.json.orig": {}}
	for _, test := range []struct{ wanted, found []string }{
		{nil, nil},
		{[]string{"m.json", "b.lock", "c.lock"}, []string{"b.lock", "c.lock", "m.json"}},
		{[]string{"**/m.json", "b.lock", "m.json"}, []string{"b.lock", "m.json", "x/m.json", "x/y/m.json"}},
	} {
		if got, err := manifests(dir, test.wanted); err != nil || !slices.Equal(got, test.found) {
			t.Errorf("%v: %v %v, want %v", test.wanted, got, err, test.found)
		}
	}
}
