package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// installation is a deploy to measure against what a language's own installer takes for the same packages, alone.
type installation struct {
	name    string
	needs   []need
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
	{"express, client-s3 and typescript", []need{Runtime("node")}, "integration/testdata/bench/node-heavy", 1.5, func(b *testing.B, _, cache string) *exec.Cmd {
		b.Helper()
		return exec.Command("npm", "ci", "--cache", cache, "--no-audit", "--no-fund")
	}},
}

// BenchmarkDeploy measures deploys of functions with packages: from an empty store against the language's own installer with an empty cache, by
// turns, and from a store that has everything.
func BenchmarkDeploy(b *testing.B) {
	for _, i := range installers {
		b.Run(i.name, func(b *testing.B) {
			system(b)
			requires(b, i.needs...)
			f := directory(b, i.dir)
			var baseline, cold, warm samples
			for range 7 {
				baseline = append(baseline, i.alone(b, f))
				w, err := start(programs(b), b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				cold = append(cold, take(1, 0, func() { w.deploy(b, "first", f) })...)
				warm = append(warm, take(3, 0, func() { w.deploy(b, "other", f) })...)
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

// BenchmarkProbe measures what probing adds to the first deploy of some twenty packages, and to the second.
func BenchmarkProbe(b *testing.B) {
	system(b)
	w, err := start(programs(b), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = w.stop() }()
	f := handlerFile("import requests\n\ndef handler(event, context):\n    return 1\n").with("requirements.txt", twenty)
	first, packages := w.probing(b, "first", f)
	second, _ := w.probing(b, "second", f)
	report(b, fmt.Sprintf("probing %d packages", packages), fmt.Sprintf("first deploy %v, second %v", first.Round(time.Millisecond), second), "–", "≤ 2 s for 20, and nothing", packages >= 20 && first <= 2*time.Second*time.Duration(packages)/20 && second == 0)
}

// probing deploys a function and returns how long its packages were probed, and how many it has.
func (w *worker) probing(b *testing.B, name string, f files) (took time.Duration, packages int) {
	b.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPut, w.url+"/v1/functions/"+name, strings.NewReader(string(f.archive(b))))
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Accept", "application/x-ndjson")
	response, err := client.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	for lines := json.NewDecoder(response.Body); ; {
		var line struct {
			Progress core.Progress
			Function *core.Function
			Error    *core.Error
		}
		if err := lines.Decode(&line); err != nil || line.Error != nil {
			b.Fatal(err, line.Error)
		}
		if line.Function != nil {
			return took, len(line.Function.Packages)
		}
		if line.Progress.Verb == "probe" && line.Progress.Item == name && line.Progress.Ended {
			took += line.Progress.Took
		}
	}
}
