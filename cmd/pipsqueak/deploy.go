package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/store"
)

func (p *program) deploy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deploy DIR|ARCHIVE",
		Short: "Deploy a function or an application, or replace it",
		Long: `Deploy a function from a directory, or from a tar.gz or zip archive of one. Its packages are installed before the function
replaces the one it had been before; when something fails, that one stays.

The name is --name, or the one in pipsqueak.yaml, or else that of the directory. .git and __pycache__ are left out.

A directory whose pipsqueak.yaml lists several functions is an application: they are deployed one after the other, in that order. The first
that fails ends the command; those before it stay deployed.`,
		Example: "  pipsqueak deploy examples/hello\n  pipsqueak deploy . --name hello\n  pipsqueak deploy hello.tar.gz -o json",
		GroupID: groupFunctions,
		Args:    cobra.ExactArgs(1),
	}
	name := cmd.Flags().String("name", "", "`NAME` of the function")
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		parts, err := partsOf(args[0], *name)
		if err != nil {
			return err
		}
		functions := []core.Function{}
		for _, part := range parts {
			f, err := p.deployPart(cmd, part, !as.json())
			if err != nil {
				return err
			}
			functions = append(functions, f)
		}
		switch {
		case !as.json():
			return nil
		case len(parts) == 1 && parts[0].Manifest == nil:
			return p.printJSON(functions[0])
		}
		return p.printJSON(functions)
	}
	return cmd
}

// deployPart deploys one function, and tells of it unless quiet is wanted.
func (p *program) deployPart(cmd *cobra.Command, part store.Part, tell bool) (core.Function, error) {
	began := p.now()
	archive, err := openArchive(part)
	if err != nil {
		return core.Function{}, err
	}
	defer archive.Close()
	show := &progress{out: p.err, terminal: p.terminal, now: p.now, seen: map[string]bool{}}
	f, err := p.client().deploy(cmd.Context(), part.Name, show.upload(archive), show.step)
	show.clear()
	if err != nil || !tell {
		return f, err
	}
	_, err = fmt.Fprintf(p.out, "deployed %s version %d: %s, %d packages, in %s\n",
		f.Name, f.Version, f.Runtime, len(f.Packages), p.now().Sub(began).Round(10*time.Millisecond))
	return f, err
}

// partsOf returns the functions to deploy from a path: one without a manifest of ours, or those of an application with the place
// of each on this machine. The name is empty when the server is to find one in the archive.
func partsOf(path, name string) ([]store.Part, error) {
	one := []store.Part{{Name: name, Dir: path}}
	if !isDir(path) {
		return one, nil // openArchive tells of an error, and an archive's manifest is only the server's to read
	}
	if content, err := os.ReadFile(filepath.Join(path, store.ManifestFile)); err == nil {
		manifest, err := store.ParseManifest(content)
		switch {
		case err != nil:
			return one, nil //nolint:nilerr // the server's to say
		case manifest.Name != "":
			return one, nil
		case len(manifest.Functions) > 0 && name != "":
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s lists %d functions, which have their names: leave --name out", filepath.Join(path, store.ManifestFile), len(manifest.Functions))
		case len(manifest.Functions) > 0:
			return placed(path, manifest.Functions)
		}
	}
	if name == "" {
		whole, err := filepath.Abs(path)
		if err == nil {
			one[0].Name = filepath.Base(whole)
		}
	}
	return one, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// placed puts the functions of an application below its directory, and makes sure that each is there before any is deployed.
func placed(dir string, parts []store.Part) ([]store.Part, error) {
	for i, part := range parts {
		parts[i].Dir = filepath.Join(dir, filepath.FromSlash(part.Dir))
		info, err := os.Stat(parts[i].Dir)
		if err == nil && !info.IsDir() {
			err = errors.New("it is not a directory")
		}
		if err != nil {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the directory of %s: %w; make it, or name another one with 'dir'", part.Name, err)
		}
		own := filepath.Join(parts[i].Dir, store.ManifestFile)
		if _, err := os.Stat(own); err == nil && part.Dir != "." {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s would not be read: move what it says below %s in %s", own, part.Name, filepath.Join(dir, store.ManifestFile))
		}
	}
	return parts, nil
}

// openArchive opens an archive, or a directory as one that is made while it is read. The caller closes it.
func openArchive(part store.Part) (io.ReadCloser, error) {
	wrong := func(err error) error {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "cannot deploy %s: %w", part.Dir, err)
	}
	info, err := os.Stat(part.Dir)
	if err != nil {
		return nil, wrong(err)
	}
	switch {
	case info.IsDir():
		reader, writer := io.Pipe()
		go func() {
			if err := pack(writer, part.Dir, part.Manifest); err != nil {
				writer.CloseWithError(wrong(err))
				return
			}
			writer.Close()
		}()
		return reader, nil
	case info.Mode().IsRegular():
		file, err := os.Open(part.Dir)
		if err != nil {
			return nil, wrong(err)
		}
		return file, nil
	default:
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot deploy %s: it is neither a directory nor a file", part.Dir)
	}
}

// progress tells a person who waits how far a deploy is: on a terminal in one line that changes, elsewhere with a line a step.
type progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time

	mu    sync.Mutex      // the upload goes on while the server already tells of its steps
	last  string          // step that was shown
	seen  map[string]bool // steps that have had their line, when it is not a terminal
	drawn time.Time
	ended bool
}

// step shows a step of the server.
func (s *progress) step(p core.Progress) {
	what := strings.TrimSpace(p.Verb + " " + p.Item)
	far := ""
	if p.Total > 0 {
		far = fmt.Sprintf(" %d %%", 100*p.Done/p.Total)
	}
	if p.Detail != "" {
		far += " (" + p.Detail + ")"
	}
	s.show(what, far)
}

// upload returns the archive such that reading it is shown.
func (s *progress) upload(archive io.Reader) io.Reader {
	s.show("upload", "")
	return &uploading{archive: archive, shown: s}
}

type uploading struct {
	archive io.Reader
	shown   *progress
	sent    int64
}

func (u *uploading) Read(p []byte) (int, error) {
	n, err := u.archive.Read(p)
	u.sent += int64(n)
	u.shown.show("upload", " "+humanBytes(u.sent))
	return n, err
}

// show shows what is going on and how far it is. Ten times a second is enough for a terminal.
func (s *progress) show(what, far string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	switch {
	case s.ended:
	case !s.terminal && !s.seen[what]:
		fmt.Fprintln(s.out, what)
		s.seen[what] = true
	case s.terminal && (what != s.last || now.Sub(s.drawn) > 100*time.Millisecond):
		fmt.Fprint(s.out, "\r\x1b[K"+oneLine(what+far))
		s.drawn = now
	}
	s.last = what
}

// clear takes the line away again. What is still being read of an upload that was refused is not shown any more.
func (s *progress) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.terminal && s.last != "" {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
}

// oneLine shortens text so that it does not wrap.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for utf8.RuneCountInString(text) > 79 {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
