package integration

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// How long does a deploy take beside the language's own installer, and how much disk do shared packages take?

// installation is a deploy to measure against what a language's own installer takes for the same packages,
// alone.
type installation struct {
	name    string
	needs   []coretest.Need
	dir     string  // of the function
	ratio   float64 // that the deploy may take at most
	command func(b *testing.B, dir, cache string) *exec.Cmd
}

var installers = []installation{
	{"pandas", nil, "integration/testdata/bench/python-heavy", 1.3, func(b *testing.B, dir, cache string) *exec.Cmd {
		b.Helper()
		command := exec.Command(filepath.Join(programs(b), "libexec", "uv"), "pip", "install", "--python", "/usr/bin/python3", "--target", filepath.Join(dir, "target"), "-r", "requirements.txt")
		command.Env = append(os.Environ(), "UV_CACHE_DIR="+cache)
		return command
	}},
	{"express, client-s3 and typescript", []coretest.Need{Runtime("node")}, "integration/testdata/bench/node-heavy", 1.5, func(b *testing.B, _, cache string) *exec.Cmd {
		b.Helper()
		return exec.Command("npm", "ci", "--cache", cache, "--no-audit", "--no-fund")
	}},
}

// BenchmarkDeploy measures deploys of functions with packages: from an empty store against the language's own
// installer with an empty cache, by turns, and from a store that has everything.
func BenchmarkDeploy(b *testing.B) {
	for _, i := range installers {
		b.Run(i.name, func(b *testing.B) {
			system(b)
			coretest.Requires(b, i.needs...)
			f := directory(b, i.dir)
			var baseline, cold, warm samples
			for range 7 {
				baseline = append(baseline, i.alone(b, f))
				w, err := start(programs(b), b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				cold = append(cold, take(1, 0, func() { w.force(b, "first", f) })...) // an installer imports nothing
				warm = append(warm, take(3, 0, func() { w.force(b, "other", f) })...)
				if err := w.stop(); err != nil {
					b.Fatal(err)
				}
			}
			times := float64(cold.at(0.5)) / float64(baseline.at(0.5))
			report(b, "deploy with "+i.name+" from an empty store", fmt.Sprintf("%v, %.2f times the baseline", cold, times), "the installer alone: "+baseline.String(),
				fmt.Sprintf("≤ %g times", i.ratio), times <= i.ratio)
			report(b, "deploy with "+i.name+" from a warm store", warm.String(), "the installer alone: "+baseline.String(), "< 1 s", warm.at(0.99) < time.Second)
		})
	}
}

// alone times the installer itself, in a directory of its own.
func (i installation) alone(b *testing.B, f files) time.Duration {
	b.Helper()
	dir, cache := b.TempDir(), b.TempDir()
	for name, text := range f {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	command := i.command(b, dir, cache)
	command.Dir = dir
	began := time.Now()
	if out, err := command.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return time.Since(began)
}

// BenchmarkShare deploys a hundred functions that have the same packages.
func BenchmarkShare(b *testing.B) {
	system(b)
	w, err := start(programs(b), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = w.stop() }()
	f := directory(b, "integration/testdata/bench/python-heavy")
	w.deploy(b, "share", f)
	w.compiled(b, "python")
	one := diskUse(b, w.data)
	took := take(99, 0, func() {
		f = f.with("handler.py", f["handler.py"]+"#\n")
		w.deploy(b, fmt.Sprint("share-", len(f["handler.py"])), f)
	})
	all := diskUse(b, w.data)
	report(b, "disk of 100 functions that share pandas", fmt.Sprintf("%.1f MB; each deploy %v", float64(all)/1e6, took), fmt.Sprintf("one function: %.1f MB", float64(one)/1e6), "≤ 1.05 times", float64(all) <= 1.05*float64(one))
}

// diskUse returns the bytes that the files below a directory take on the disk, each counted once.
func diskUse(b *testing.B, dir string) (bytes int64) {
	b.Helper()
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && !seen[stat.Ino] {
			seen[stat.Ino] = true
			bytes += stat.Blocks * 512
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}

// twenty are packages that a probe has something to do with.
const twenty = "requests\nflask\nsqlalchemy\nnumpy\npandas\npyyaml\nmarkdown\npygments\n"

// BenchmarkProbe measures how long after the first deploy of some twenty packages these have been compiled,
// and then probed, and that the second has nothing to wait for.
func BenchmarkProbe(b *testing.B) {
	system(b)
	f := handlerFile("import requests, flask, sqlalchemy, pandas, yaml, markdown, pygments\n\ndef handler(event, context):\n    return 1\n").with("requirements.txt", twenty)
	var compiled, probed samples
	packages := 0
	for range 5 {
		w, err := start(programs(b), b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		packages = len(w.deploy(b, "first", f).Packages)
		compiled = append(compiled, take(1, 0, func() { w.compiled(b, "python") })...)
		probed = append(probed, take(1, 0, func() { w.probed(b, "first") })...)
		if fn := w.deploy(b, "second", f); len(fn.Apart) > 0 {
			b.Errorf("the second deploy waits for %v", fn.Apart)
		}
		if err := w.stop(); err != nil {
			b.Fatal(err)
		}
	}
	report(b, fmt.Sprintf("probing %d packages after their first deploy", packages), probed.String(), "nothing in a deploy", "≤ 2 s for 20", packages >= 20 && probed.at(0.5) <= 2*time.Second*time.Duration(packages)/20)
	report(b, fmt.Sprintf("compiling %d packages before that", packages), compiled.String(), "nothing in a deploy", "≤ 3 s for 20", compiled.at(0.5) <= 3*time.Second*time.Duration(packages)/20)
}
