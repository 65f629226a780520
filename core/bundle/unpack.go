package bundle

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// bounds limits an archive.
type bounds struct {
	upload     int64 // bytes of the archive itself
	unpacked   int64 // bytes of the files in it, each hard link counted as a file
	entries    int   // files, directories (also those only implied by a path) and links
	ratio      int64 // unpacked bytes for each byte of the archive
	ratioFloor int64 // unpacked bytes up to which the ratio does not matter: small files compress well
}

var defaultBounds = bounds{upload: 256 << 20, unpacked: files.Code.Bytes, entries: files.Code.Entries, ratio: 200, ratioFloor: 16 << 20}

// tarOverhead is how many bytes a tar stream may have besides those of its files: headers and padding of all
// the entries.
const tarOverhead = 64 << 20

// Unpack reads an archive, a tar.gz or a zip by its first bytes, into a new directory below above. It returns
// the full path of that directory, which is the caller's, and sentences for a person about files that were
// left out. If an archive is one directory with everything in it, Unpack unpacks the contents of that
// directory. It leaves out files that the IgnoreFile lists, and files that are never part of a function.
//
// The directory then holds files of mode 0644 or 0755, directories of 0755, and symbolic links that stay
// inside. Unpack refuses everything else, with an error that names the entry. It also refuses an archive over
// the bounds: 256 MiB of archive, 512 MiB and 20,000 entries of contents, and, above 16 MiB of contents, 200
// bytes of contents for each byte of archive. After an error nothing stays.
func Unpack(ctx context.Context, archive io.Reader, above string) (dir string, told []string, err error) {
	return defaultBounds.unpack(ctx, archive, above)
}

// unpack is Unpack within these bounds.
func (b bounds) unpack(ctx context.Context, archive io.Reader, above string) (dir string, told []string, err error) {
	dir, err = os.MkdirTemp(above, "")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return "", nil, files.DiskError(above, err)
	}
	if told, err = fill(dir, &upload{ctx: ctx, from: archive, bounds: b}); err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return dir, told, nil
}

// fill unpacks an archive into an empty directory.
func fill(dir string, upload *upload) (told []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, files.DiskError(dir, err)
	}
	defer root.Close()
	out := newSink(root, upload)
	defer out.close()
	if err := read(upload, out); err != nil {
		return nil, upload.explain(err)
	}
	if err := strip(dir); err != nil {
		return nil, err
	}
	if told, err = leaveOut(dir); err != nil {
		return nil, err
	}
	return told, checkLinks(dir)
}

// read tells the formats apart and writes what is in the archive to out.
func read(upload *upload, out *sink) error {
	buffered := bufio.NewReaderSize(upload, 64<<10)
	first, err := buffered.Peek(4)
	switch {
	case err != nil && err != io.EOF:
		return err
	case len(first) == 0:
		return files.Refusef("the archive is empty (0 bytes); send a tar.gz or zip of the function's directory")
	case bytes.HasPrefix(first, []byte{0x1f, 0x8b}):
		return readTar(buffered, out)
	case bytes.Equal(first, []byte("PK\x03\x04")), bytes.Equal(first, []byte("PK\x05\x06")):
		return readZip(buffered, out)
	default:
		return files.Refusef("this is no archive that can be read: it begins with %q; send a tar.gz or zip of the function's directory", first)
	}
}

// upload is the archive as it comes in. It keeps count, ends with an error at the limits, and remembers it:
// the readers of archives above it make errors of their own of what they are given.
type upload struct {
	ctx    context.Context
	from   io.Reader
	bounds bounds
	read   int64
	err    error // the first, but not io.EOF
}

func (u *upload) Read(p []byte) (int, error) {
	if err := u.check(); err != nil {
		return 0, err
	}
	// One byte more than the limit tells an upload of exactly that size from a larger one.
	p = p[:min(int64(len(p)), u.bounds.upload+1-u.read)]
	n, err := u.from.Read(p)
	u.read += int64(n)
	if u.read > u.bounds.upload {
		return 0, u.fail(files.TooLargef("the archive has more than the %d MiB that are allowed; leave out what the function does not need",
			u.bounds.upload>>20))
	}
	if err != nil && err != io.EOF {
		return n, u.fail(err)
	}
	return n, err
}

// check returns the error that ended the upload, or that of a context that ended.
func (u *upload) check() error {
	if u.err == nil && u.ctx.Err() != nil {
		u.err = u.ctx.Err()
	}
	return u.err
}

func (u *upload) fail(err error) error {
	u.err = err
	return err
}

// unpacked refuses what is over the bounds after that many bytes came out of the archive.
func (u *upload) unpacked(n, limit int64) error {
	if err := u.check(); err != nil {
		return err
	}
	if n > limit {
		return u.fail(files.TooLargef("the archive unpacks to more than the %d MiB that are allowed; leave out what the function does not need",
			u.bounds.unpacked>>20))
	}
	if n > u.bounds.ratioFloor && n/u.bounds.ratio >= max(u.read, 1) {
		return u.fail(files.TooLargef("the archive unpacks to more than %d times its size, as archive bombs do; "+
			"leave out files that are mostly zeros or make them when the function starts", u.bounds.ratio))
	}
	return nil
}

// explain makes the error of Unpack: the reason why the upload ended if it did, else what the reader of the
// archive says.
func (u *upload) explain(err error) error {
	if u.err != nil {
		err = u.err
	}
	var told *core.Error
	switch {
	case errors.As(err, &told):
		return told
	case u.err == nil:
		return files.Refusef("the archive is damaged or cut off; make it again: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return core.Errorf(core.KindTimeout, core.FaultCaller, "the time was up before the archive was unpacked, after %d bytes of it: %w", u.read, err)
	case errors.Is(err, context.Canceled):
		return core.Errorf(core.KindCanceled, core.FaultCaller, "the caller went away after %d bytes of the archive: %w", u.read, err)
	default:
		return core.Errorf(core.KindInvalid, core.FaultCaller,
			"the upload broke off after %d bytes; send it again: %w", u.read, err).Again()
	}
}

// inflated counts what comes out of gzip, so that a bomb ends also where nothing is written of it.
type inflated struct {
	*gzip.Reader
	upload *upload
	n      int64
}

func (i *inflated) Read(p []byte) (int, error) {
	n, err := i.Reader.Read(p)
	i.n += int64(n)
	if limit := i.upload.unpacked(i.n, i.upload.bounds.unpacked+tarOverhead); limit != nil {
		return 0, limit
	}
	return n, err
}

// strip replaces a directory that alone holds everything by its contents. Files that a desktop has put beside
// it do not count.
func strip(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return files.DiskError(dir, err)
	}
	entries = slices.DeleteFunc(entries, func(entry fs.DirEntry) bool { return desktop.Match([]string{entry.Name()}, entry.IsDir()) })
	if len(entries) == 0 {
		return files.Refusef("there are no files in the archive; send a tar.gz or zip of the function's directory")
	}
	if len(entries) > 1 || !entries[0].IsDir() {
		return nil
	}
	inner := dir + ".inner"
	if err := os.Rename(filepath.Join(dir, entries[0].Name()), inner); err != nil {
		return files.DiskError(dir, err)
	}
	if err = os.RemoveAll(dir); err == nil {
		err = os.Rename(inner, dir)
	}
	if err != nil {
		os.RemoveAll(inner)
		return files.DiskError(dir, err)
	}
	return nil
}
