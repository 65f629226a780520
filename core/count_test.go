package core

import "testing"

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 packages", 1: "1 package", 2: "2 packages"} {
		if got := Count(n, "package", "packages"); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
