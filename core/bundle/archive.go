package bundle

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// readTar writes the entries of a tar.gz to out.
func readTar(archive io.Reader, out *sink) error {
	gz, err := gzip.NewReader(archive)
	if err != nil {
		return files.Refusef("the archive begins as gzip does but is damaged; make it again: %w", err)
	}
	stream := &inflated{Reader: gz, upload: out.upload}
	reader := tar.NewReader(stream)
	last := ""
	for {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil && last == "" {
			return files.Refusef("the archive is gzip, but there is no tar in it that can be read; send a tar.gz or zip of the function's directory: %w", err)
		}
		if err != nil {
			return damaged("after "+last, err)
		}
		last = header.Name
		if err := tarEntry(header, reader, out); err != nil {
			return err
		}
	}
	// The checksum of gzip comes after the padding of tar.
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return damaged("after "+last, err)
	}
	return nil
}

func tarEntry(header *tar.Header, content io.Reader, out *sink) error {
	// Attributes of the whole archive, such as git's commit, have no file.
	if header.Typeflag == tar.TypeXGlobalHeader {
		return out.count()
	}
	name, err := clean(header.Name)
	if err != nil {
		return err
	}
	mode := header.FileInfo().Mode()
	switch header.Typeflag {
	case tar.TypeDir:
		return out.directory(name)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return out.file(name, mode, header.ModTime, content)
	case tar.TypeSymlink:
		return out.link(name, header.Linkname)
	case tar.TypeLink:
		return out.hardLink(name, header.Linkname)
	default:
		return forbidden(name, mode)
	}
}

func forbidden(name string, mode fs.FileMode) error {
	return files.Refusef("the archive's entry %q is a %s; only files, directories and links are allowed: leave it out", name, files.TypeName(mode))
}

// maxZipDirectory bounds what is read of the list of entries at the end of a zip, which is held in memory
// before it can be counted: 20,000 entries with long names fit.
const maxZipDirectory = 8 << 20

// readZip writes the entries of a zip to out, by way of a file beside the directory, because a zip is read
// from its end.
func readZip(archive io.Reader, out *sink) error {
	above := filepath.Dir(out.root.Name())
	file, err := os.CreateTemp(above, "upload-*.zip")
	if err != nil {
		return files.DiskError(above, err)
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return files.DiskError(file.Name(), err)
	}
	size, err := io.Copy(file, archive)
	if err != nil && out.upload.err == nil {
		return files.DiskError(file.Name(), err)
	}
	if err != nil {
		return err
	}
	bounded := &boundedAt{file: file, left: maxZipDirectory}
	reader, err := zip.NewReader(bounded, size)
	if err != nil && bounded.left < 0 {
		return files.TooLargef("the zip's list of entries has more than %d MiB, which is too much for the %d files and directories that are allowed; "+
			"leave out what the function does not need", maxZipDirectory>>20, out.upload.bounds.entries)
	}
	if err != nil {
		return files.Refusef("the zip is damaged or cut off; make it again: %w", err)
	}
	bounded.unbounded = true
	for _, entry := range reader.File {
		if err := zipEntry(entry, out); err != nil {
			return err
		}
	}
	return nil
}

func zipEntry(entry *zip.File, out *sink) error {
	if strings.Contains(entry.Name, `\`) {
		return files.Refusef("the zip's entry %s has a backslash in its path; make the zip with a program that writes '/'", files.Quote(entry.Name))
	}
	name, err := clean(entry.Name)
	if err != nil {
		return err
	}
	if entry.Flags&1 != 0 {
		return files.Refusef("the zip's entry %q is encrypted; make the zip without a password", name)
	}
	mode := entry.Mode()
	switch mode.Type() {
	case fs.ModeDir:
		return out.directory(name)
	case 0, fs.ModeSymlink:
	default:
		return forbidden(name, mode)
	}
	content, err := entry.Open()
	if errors.Is(err, zip.ErrAlgorithm) {
		return files.Refusef("the zip's entry %q is compressed with method %d, which is not supported; make the zip with 'deflate'", name, entry.Method)
	}
	if err != nil {
		return damaged(name, err)
	}
	defer content.Close()
	if mode.IsRegular() {
		return out.file(name, mode, entry.Modified, content)
	}
	target, err := io.ReadAll(io.LimitReader(content, files.MaxPath+1))
	if err != nil {
		return damaged(name, err)
	}
	return out.link(name, string(target))
}

// boundedAt is a file of which only so many bytes may be read until it is unbounded.
type boundedAt struct {
	file      io.ReaderAt
	left      int
	unbounded bool
}

func (b *boundedAt) ReadAt(p []byte, offset int64) (int, error) {
	if b.unbounded {
		return b.file.ReadAt(p, offset)
	}
	if b.left -= len(p); b.left < 0 {
		return 0, core.Errorf(core.KindTooLarge, core.FaultCaller, "the zip's list of entries is too long")
	}
	return b.file.ReadAt(p, offset)
}
