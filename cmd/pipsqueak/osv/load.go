package osv

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// file is a file of the database.
type file struct {
	path     string
	size     int64
	modified time.Time
}

// list returns the files of the database, sorted. There is at least one.
func list(path string) ([]file, error) {
	path, err := filepath.EvalSymlinks(path) // a walk does not follow its root
	if err != nil {
		return nil, err
	}
	var files []file
	err = filepath.WalkDir(path, func(name string, found fs.DirEntry, err error) error {
		if err != nil || found.IsDir() || name != path && kindOf(name) == "" {
			return err
		}
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) { // a link that leads nowhere, or removed since the directory was read
			return nil
		}
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		files = append(files, file{name, info.Size(), info.ModTime()})
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("there is no .json and no .zip in %s", path)
	}
	return files, err
}

func kindOf(name string) string {
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".json", ".zip":
		return ext
	}
	return ""
}

// fingerprint changes when any of the files does.
func fingerprint(files []file) string {
	sum := sha256.New()
	for _, f := range files {
		fmt.Fprintf(sum, "%q %d %d\n", f.path, f.size, f.modified.UnixNano())
	}
	return string(sum.Sum(nil))
}

// maxWarnings is how many of the files and entries that cannot be read are named in the log.
const maxWarnings = 20

// source is something with entries: a file, or one in a zip.
type source struct {
	name string
	open func() (io.ReadCloser, error)
}

// read makes an index of the files. It is an error when a zip cannot be read, because it may have nearly
// everything in it, and when there is no entry at all.
func (d *Database) read(files []file) (*index, error) {
	began := time.Now()
	r := &reader{index: &index{packages: map[string][]finding{}}}
	sources, end := make(chan source), sync.WaitGroup{}
	for range runtime.GOMAXPROCS(0) {
		end.Go(func() {
			for s := range sources {
				r.source(s)
			}
		})
	}
	var err error
	for _, f := range files {
		if err = r.send(f, sources); err != nil {
			break
		}
	}
	close(sources)
	end.Wait()
	for _, zipped := range r.zips {
		zipped.Close()
	}
	if err == nil && r.index.entries == 0 {
		err = errors.Join(append([]error{fmt.Errorf("there is no entry in %s", d.path)}, r.problems...)...)
	}
	if err != nil {
		return nil, err
	}
	for _, problem := range r.problems {
		d.log.Warn("vulnerabilities: left out", "err", problem)
	}
	if more := r.failed - len(r.problems); more > 0 {
		d.log.Warn("vulnerabilities: left out", "more", more)
	}
	debug.FreeOSMemory() // reading takes several times what stays
	d.log.Info("vulnerabilities", "path", d.path, "entries", r.index.entries, "packages", len(r.index.packages), "took", time.Since(began))
	return r.index, nil
}

// send sends what is in a file to the readers.
func (r *reader) send(f file, sources chan<- source) error {
	if kindOf(f.path) != ".zip" {
		sources <- source{f.path, func() (io.ReadCloser, error) { return os.Open(f.path) }}
		return nil
	}
	zipped, err := zip.OpenReader(f.path)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	r.zips = append(r.zips, zipped)
	for _, entry := range zipped.File {
		if kindOf(entry.Name) == ".json" {
			sources <- source{f.path + ": " + entry.Name, entry.Open}
		}
	}
	return nil
}

// reader puts what several goroutines read into one index.
type reader struct {
	zips []*zip.ReadCloser // open until everything has been read

	mu       sync.Mutex
	index    *index
	problems []error // the first ones
	failed   int     // all of them
}

func (r *reader) fail(s source, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed++; len(r.problems) < maxWarnings {
		r.problems = append(r.problems, fmt.Errorf("%s: %w", s.name, err))
	}
}

// source reads all entries of a source: one, several one after the other, an array of them, or an object with
// an array called "vulns", as OSV's own service answers.
func (r *reader) source(s source) {
	file, err := s.open()
	if err != nil {
		r.fail(s, err)
		return
	}
	defer file.Close()
	buffered := bufio.NewReader(file)
	decoder := json.NewDecoder(buffered)
	array, err := begins(buffered, '[')
	if array {
		_, err = decoder.Token()
	}
	if err != nil {
		r.fail(s, err)
		return
	}
	for decoder.More() {
		var one struct {
			record
			Several []record `json:"vulns"`
		}
		err := decoder.Decode(&one)
		var mistyped *json.UnmarshalTypeError
		switch {
		case errors.As(err, &mistyped): // the decoder stands behind it
			r.fail(s, fmt.Errorf("%s: %w", one.ID, err))
			continue
		case err != nil:
			r.fail(s, err)
			return
		}
		if one.Several == nil {
			one.Several = []record{one.record}
		}
		for _, record := range one.Several {
			r.add(s, record)
		}
	}
	if _, err := decoder.Token(); err != nil && (array || !errors.Is(err, io.EOF)) {
		r.fail(s, err)
	}
}

// begins reports whether the first byte that is no blank is that one.
func begins(in *bufio.Reader, wanted byte) (bool, error) {
	for n := 1; ; n++ {
		ahead, err := in.Peek(n)
		if err != nil {
			return false, err
		}
		if last := ahead[n-1]; !bytes.ContainsRune([]byte(" \t\r\n"), rune(last)) {
			return last == wanted, nil
		}
	}
}

func (r *reader) add(s source, record record) {
	found, err := record.findings()
	if err != nil {
		r.fail(s, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index.entries++
	for key, findings := range found {
		r.index.packages[key] = append(r.index.packages[key], findings...)
	}
}
