package store

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// BenchmarkInstalledOf looks up the packages of a function among all that there are.
func BenchmarkInstalledOf(b *testing.B) {
	for _, count := range []int{100, 1000, 5000} {
		s, _, err := Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(s.dir, "index", "lang1"), 0o755); err != nil {
			b.Fatal(err)
		}
		for i := range count {
			p := core.Installed{Package: core.Package{Name: fmt.Sprintf("p%d", i), Version: "1", Digest: fmt.Sprintf("sha256:%064d", i)}, Runtime: "lang1", Added: time.Now()}
			p.Locked = core.Locked{Name: p.Name, Version: p.Version}
			p.Probe = &core.Probe{}
			for j := range 30 {
				p.Probe.Asks = append(p.Probe.Asks, fmt.Sprintf("name%d.of.some", j))
			}
			path, err := s.indexPath("lang1", p.Locked, "sha256:aa")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := writeEntry(path, p); err != nil {
				b.Fatal(err)
			}
		}
		s.Close()
		if s, _, err = Open(s.dir); err != nil {
			b.Fatal(err)
		}
		all := s.Installed()
		var some core.Set
		for _, p := range all[:100] {
			some = append(some, p.Package)
		}
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			for b.Loop() {
				if len(s.InstalledOf("lang1", some)) != len(some) {
					b.Fatal(count)
				}
			}
		})
		s.Close()
	}
}
