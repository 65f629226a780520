package store

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// BenchmarkCommit commits 5,000 files of 50 MiB together, in 20 packages of which the first has two thirds of
// them, as a deploy with pandas does. They belong to another user, as what an installer leaves does.
func BenchmarkCommit(b *testing.B) {
	s := openTest(b)
	content := make([]byte, 10<<10)
	for round := 0; b.Loop(); round++ {
		b.StopTimer()
		out, err := s.Stage()
		coretest.Must(b, err)
		for file := range 5000 {
			p := max(0, (file-3300)/90)
			dir := fmt.Sprintf("%s/p%d-1/lib/site/d%d/e%d", out, p, file/100, file/20)
			if file%20 == 0 {
				coretest.Must(b, os.MkdirAll(dir, 0o755))
			}
			copy(content, fmt.Sprint(round, file))
			name := filepath.Join(dir, fmt.Sprint(file))
			if os.WriteFile(name, content, 0o644) != nil {
				coretest.Must(b, os.MkdirAll(dir, 0o755))
				coretest.Must(b, os.WriteFile(name, content, 0o644))
			}
			if os.Geteuid() == 0 {
				coretest.Must(b, os.Lchown(name, 12345, 12345))
			}
		}
		b.StartTimer()
		var staged []Staged
		for p := range 19 {
			staged = append(staged, Staged{core.Locked{Name: fmt.Sprint("p", p), Version: fmt.Sprint(round)}, core.Receipt{}, fmt.Sprintf("%s/p%d-1", out, p)})
		}
		_, err = s.CommitPackages("fake1", staged, s.Hold())
		coretest.Must(b, err)
	}
}
