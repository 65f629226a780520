package supply

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/core/scan"
)

// Crawl says how many archives are scanned.
type Crawl struct {
	Jobs  int                                                         // sandboxes at once
	Known func(digest, scanner string) (earlier scan.Result, ok bool) // results that there are already; nil for none
	Tell  func(result scan.Result, known bool) error                  // gets each result, from one goroutine at a time; an error ends the crawl
}

// ScannedRuntimes returns the runtimes whose drivers scan archives: all of them, or only the wanted one when
// it is not empty.
func (s *Supply) ScannedRuntimes(wanted core.RuntimeID) ([]core.Runtime, error) {
	runtimes := slices.DeleteFunc(s.runtimes(), func(r core.Runtime) bool { return wanted != "" && r.ID != wanted || len(r.Archives) == 0 })
	if len(runtimes) == 0 {
		return nil, core.Errorf(core.KindUnsupported, core.FaultCaller, "no runtime %s of this machine can scan archives: `pipsqueak doctor` lists the runtimes", wanted)
	}
	return runtimes, nil
}

// IsFunction reports whether a directory is that of a function that can be deployed here.
func (s *Supply) IsFunction(dir string) bool {
	settings, err := bundle.LoadSettings(dir)
	if err == nil {
		_, err = bundle.Detect(dir, settings, s.runtimes())
	}
	return err == nil
}

// ScanArchives scans archives, each in a sandbox of its own. An archive that cannot be scanned is a result
// with an error. An error that ScanArchives returns has ended the crawl.
func (s *Supply) ScanArchives(outer context.Context, archives []string, runtimes []core.Runtime, crawl Crawl) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	var workers sync.WaitGroup
	var telling sync.Mutex
	todo := make(chan string)
	for range max(1, crawl.Jobs) {
		workers.Go(func() {
			for archive := range todo {
				result, known := s.scanArchive(ctx, archive, runtimes, crawl.Known)
				if ctx.Err() != nil {
					continue // an interrupted scan is no result
				}
				telling.Lock()
				err := crawl.Tell(result, known)
				telling.Unlock()
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, archive := range archives {
		if ctx.Err() != nil {
			break
		}
		todo <- archive
	}
	close(todo)
	workers.Wait()
	if err := outer.Err(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (s *Supply) scanArchive(ctx context.Context, archive string, runtimes []core.Runtime, known func(digest, scanner string) (scan.Result, bool)) (result scan.Result, earlier bool) {
	began := time.Now()
	runtime, _ := scan.RuntimeOf(archive, runtimes)
	result = scan.Result{Archive: archive, Runtime: runtime.ID, Time: began.UTC()}
	d := s.deployment(core.DeployRequest{}, "", nil)
	d.fn = core.Function{Name: "scan", Runtime: runtime.ID}
	err := d.find(ctx)
	if err == nil {
		result.Scanner = scanner(d.driver)
	}
	if err == nil && known != nil {
		if result.Digest, err = digestOf(archive, io.Discard); err == nil {
			if one, ok := known(result.Digest, result.Scanner); ok {
				return one, true
			}
		}
	}
	if err == nil {
		err = d.scanStaged(ctx, &result)
	}
	if err != nil {
		result.Error = err.Error()
	}
	result.Took = time.Since(began)
	return result, false
}

// scanStaged copies the archive, so that what is scanned is what has the digest, and scans the copy.
func (d *deployment) scanStaged(ctx context.Context, result *scan.Result) (err error) {
	out, err := d.store.Stage()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.store.Discard(out)) }()
	name := filepath.Base(result.Archive)
	if result.Digest, err = copyTo(filepath.Join(out, name), result.Archive); err != nil {
		return err
	}
	scanned, err := d.scan(ctx, out, core.ScanRequest{Archive: core.OutDir + "/" + name})
	if err == nil && len(scanned.Packages) == 0 {
		err = core.Errorf(core.KindInternal, core.FaultDriver, "the driver of %s does not say which package %s is", d.runtime.ID, name)
	}
	if err == nil {
		result.Package, result.Suspicions = scanned.Packages[0].String(), scanned.Suspicions
	}
	return err
}

func copyTo(target, source string) (digest string, err error) {
	file, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	digest, err = digestOf(source, file)
	return digest, errors.Join(err, file.Close())
}

// digestOf returns the digest of a file, which it copies on the way.
func digestOf(name string, to io.Writer) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(sum, to), file); err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sum.Sum(nil)), nil
}

// ScanFunction installs the packages of a function as a deploy would, scans them, and imports each once
// (probe). The archive is as in core.DeployRequest.
func (s *Supply) ScanFunction(ctx context.Context, archive io.Reader, progress func(core.Progress)) ([]scan.Result, error) {
	dir, _, err := bundle.Unpack(ctx, archive, s.store.Staging())
	if err != nil {
		return nil, err
	}
	results, err := s.deployment(core.DeployRequest{}, dir, progress).scanFunction(ctx)
	return results, errors.Join(err, s.store.Discard(dir))
}

func (d *deployment) scanFunction(ctx context.Context) ([]scan.Result, error) {
	if err := d.identify(); err != nil {
		return nil, err
	}
	if err := d.find(ctx); err != nil {
		return nil, err
	}
	if d.parts.Installer == nil || d.parts.Scanner == nil {
		return nil, core.Errorf(core.KindUnsupported, core.FaultCaller, "the driver of %s cannot scan packages", d.runtime.ID)
	}
	d.fn.Name = "scan"
	began := time.Now()
	d.hold = d.store.Hold()
	defer d.hold.Release()
	out, err := d.store.Stage()
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.store.Discard(out) }()
	d.out = out
	lock, _, err := d.lock(ctx)
	if err == nil {
		d.locked = lock.Packages
		err = d.install(ctx)
	}
	var found []core.Suspicion
	if err == nil && len(d.fn.Packages) > 0 {
		found, err = d.suspicions(ctx)
	}
	if err != nil {
		return nil, err
	}
	d.prepare(ctx)
	probes := map[string]*core.Probe{}
	for _, p := range d.installed(&d.fn) {
		probes[p.String()] = p.Probe
	}
	results := make([]scan.Result, len(d.fn.Packages))
	for i, p := range d.fn.Packages {
		results[i] = scan.Result{Digest: p.Digest, Package: p.String(), Runtime: d.runtime.ID, Scanner: scanner(d.driver), Time: began.UTC(), Took: time.Since(began), Probe: probes[p.String()],
			Suspicions: slices.DeleteFunc(slices.Clone(found), func(s core.Suspicion) bool { return s.Package != p.String() })}
	}
	return results, nil
}
