package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"
)

// epoch is when all files of archives were changed.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// save writes an archive to a file of a directory.
func save(dir, name string, write func(io.Writer) error) (a Archive, err error) {
	out, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return Archive{}, err
	}
	defer func() {
		if closed := out.Close(); err == nil {
			err = closed
		}
	}()
	digest, long := sha256.New(), sha512.New()
	if err := write(io.MultiWriter(out, digest, long)); err != nil {
		return Archive{}, err
	}
	info, err := out.Stat()
	if err != nil {
		return Archive{}, err
	}
	return Archive{File: name, Size: info.Size(), SHA256: fmt.Sprintf("%x", digest.Sum(nil)), SHA512: base64.StdEncoding.EncodeToString(long.Sum(nil))}, nil
}

// entry is a file of a tar archive; a directory, if its name ends with a slash; or a symbolic link.
type entry struct {
	name, link string
	mode       int64
	content    []byte
}

// tarball writes the entries that each adds as a tar archive, all of root.
func tarball(w io.Writer, each func(add func(entry) error) error) error {
	archive := tar.NewWriter(w)
	err := each(func(e entry) error {
		header := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), ModTime: epoch, Format: tar.FormatGNU}
		if e.link != "" {
			header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, e.link, 0o777
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := archive.Write(e.content)
		return err
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

// tarballBytes returns entries as a compressed tar archive.
func tarballBytes(entries []entry) ([]byte, error) {
	var buffer bytes.Buffer
	err := zipped(&buffer, func(w io.Writer) error {
		return tarball(w, func(add func(entry) error) error {
			for _, e := range entries {
				if err := add(e); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return buffer.Bytes(), err
}

// zipped compresses what is written, as fast as can be: most of it cannot be compressed.
func zipped(w io.Writer, write func(io.Writer) error) error {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := write(compressed); err != nil {
		return err
	}
	return compressed.Close()
}

// zippedBytes returns a text compressed.
func zippedBytes(text []byte) []byte {
	var buffer bytes.Buffer
	_ = zipped(&buffer, func(w io.Writer) error { // a buffer takes everything
		_, err := w.Write(text)
		return err
	})
	return buffer.Bytes()
}

// comments are what lines of noise begin with in a source file, by its extension.
var comments = map[string]string{".py": "# ", ".js": "// ", ".rb": "# "}

// commentOf is the comment of a file, which has none if it is no source file.
func commentOf(name string) string { return comments[path.Ext(name)] }
