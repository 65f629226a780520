package bundle

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// maxDecoded is the size of the largest file that is decoded, in bytes; the largest lock files have some.
const maxDecoded = 64 << 20

// decoded returns a text as UTF-8 without a byte-order mark. A text without one is UTF-8 already.
func decoded(text []byte) []byte {
	if !isMarked(text) {
		return text
	}
	plain, _, err := transform.Bytes(unicode.BOMOverride(transform.Nop), text)
	if err != nil {
		return text // whoever reads it says what is wrong
	}
	return plain
}

func isMarked(text []byte) bool {
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(text, []byte(mark)) {
			return true
		}
	}
	return false
}

// Decode rewrites those of the named files in a directory that begin with a byte-order mark, as UTF-8 without
// one. Editors of Windows make such marks; tools of languages read UTF-8 only, or take the mark for a part of
// the first name. Missing files, and entries that are no files, stay as they are.
func Decode(dir string, names []string) error {
	for _, name := range names {
		if err := decodeFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func decodeFile(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() > maxDecoded) {
		return nil
	}
	if err != nil {
		return files.DiskError(path, err)
	}
	text, err := os.ReadFile(path)
	if err == nil && isMarked(text) {
		err = os.WriteFile(path, decoded(text), info.Mode().Perm())
	}
	if err != nil {
		return files.DiskError(path, err)
	}
	return nil
}
