package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
)

// epoch is when everything in an image was changed.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// content is what a file has: nothing that can be compressed, and of each file its own.
func content(seed uint64, e Entry) io.Reader {
	return io.LimitReader(packages.Numbers(seed, "image content", e.Path), e.Size)
}

// Write writes a tree to a directory, or to a tar archive if the name ends with .tar: neither may exist yet.
// A write that fails or is interrupted leaves nothing.
func Write(ctx context.Context, all []Entry, seed uint64, out string) (err error) {
	if strings.HasSuffix(out, ".tar") {
		file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		if err := errors.Join(archive(ctx, all, seed, file), file.Close()); err != nil {
			return errors.Join(err, os.Remove(out))
		}
		return nil
	}
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	if err := tree(ctx, all, seed, out); err != nil {
		return errors.Join(err, os.RemoveAll(out))
	}
	return nil
}

func archive(ctx context.Context, all []Entry, seed uint64, w io.Writer) error {
	out := tar.NewWriter(w)
	for _, e := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		header := &tar.Header{Name: e.Path, Mode: 0o644, Size: e.Size, ModTime: epoch, Format: tar.FormatGNU}
		switch {
		case e.Link != "":
			header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, e.Link, 0o777
		case strings.HasSuffix(e.Path, "/"):
			header.Typeflag, header.Mode = tar.TypeDir, 0o755
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(out, content(seed, e)); err != nil {
			return err
		}
	}
	return out.Close()
}

func tree(ctx context.Context, all []Entry, seed uint64, dir string) error {
	for _, e := range all {
		err := ctx.Err()
		name := filepath.Join(dir, e.Path)
		switch {
		case err != nil:
		case e.Link != "":
			err = os.Symlink(e.Link, name)
		case strings.HasSuffix(e.Path, "/"):
			err = os.Mkdir(name, 0o755)
		default:
			err = write(name, content(seed, e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func write(name string, content io.Reader) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close(), os.Chtimes(name, epoch, epoch))
}
