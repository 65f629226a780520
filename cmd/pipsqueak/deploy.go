package main

import (
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
		Short: "Deploy a function, or replace it",
		Long: `Deploy a function from a directory, or from a tar.gz or zip archive of one. Its packages are installed before the function
replaces the one it had been before; when something fails, that one stays.

The name is --name, or the one in pipsqueak.yaml, or else that of the directory. .git and __pycache__ are left out.`,
		Example: "  pipsqueak deploy examples/hello\n  pipsqueak deploy . --name hello\n  pipsqueak deploy hello.tar.gz -o json",
		GroupID: groupFunctions,
		Args:    cobra.ExactArgs(1),
	}
	name := cmd.Flags().String("name", "", "`NAME` of the function")
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		began := p.now()
		archive, err := openArchive(args[0])
		if err != nil {
			return err
		}
		defer archive.Close()
		if *name == "" {
			*name = nameOf(args[0])
		}
		show := &progress{out: p.err, terminal: p.terminal, now: p.now, seen: map[string]bool{}}
		f, err := p.client().deploy(cmd.Context(), *name, show.upload(archive), show.step)
		show.clear()
		if err != nil {
			return err
		}
		if as.json() {
			return p.printJSON(f)
		}
		_, err = fmt.Fprintf(p.out, "deployed %s version %d: %s, %d packages, in %s\n",
			f.Name, f.Version, f.Runtime, len(f.Packages), p.now().Sub(began).Round(10*time.Millisecond))
		return err
	}
	return cmd
}

// openArchive opens an archive, or a directory as one that is made while it is read. The caller closes it.
func openArchive(path string) (io.ReadCloser, error) {
	wrong := func(err error) error {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "cannot deploy %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, wrong(err)
	}
	switch {
	case info.IsDir():
		reader, writer := io.Pipe()
		go func() {
			if err := pack(writer, path); err != nil {
				writer.CloseWithError(wrong(err))
				return
			}
			writer.Close()
		}()
		return reader, nil
	case info.Mode().IsRegular():
		file, err := os.Open(path)
		if err != nil {
			return nil, wrong(err)
		}
		return file, nil
	default:
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot deploy %s: it is neither a directory nor a file", path)
	}
}

// nameOf returns the name that a directory without one in its manifest is deployed under. It is empty when the manifest has one,
// or cannot be read: then it is the server's to say so. An archive's manifest is only the server's to read.
func nameOf(path string) string {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return ""
	}
	content, err := os.ReadFile(filepath.Join(path, store.ManifestFile))
	if err == nil {
		if manifest, err := store.ParseManifest(content); err != nil || manifest.Name != "" {
			return ""
		}
	}
	whole, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	return filepath.Base(whole)
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
