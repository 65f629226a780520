package bundle

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// zeros returns a file of that many zeros.
func zeros(name string, n int) entry { return file(name, strings.Repeat("\x00", n)) }

func TestUnpackBombs(t *testing.T) {
	const over = 24 << 20
	// A sparse file: a few bytes in the archive say that it is large.
	var sparse bytes.Buffer
	gz := gzip.NewWriter(&sparse)
	header := make([]byte, 512)
	copy(header, "sparse")
	copy(header[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00        S")
	copy(header[257:], "ustar  \x00")
	copy(header[386:], fmt.Sprintf("%011o\x00%011o\x00", 1<<32, 0))
	copy(header[483:], fmt.Sprintf("%011o\x00", 1<<32))
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	gz.Write(append(header, make([]byte, 1024)...))
	gz.Close()
	// A tar stream of headers that leave nothing on the disk.
	var hidden bytes.Buffer
	gz = gzip.NewWriter(&hidden)
	w := tar.NewWriter(gz)
	w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg})
	w.Close()
	gz.Write(make([]byte, over))
	gz.Close()
	var many bytes.Buffer
	z := zip.NewWriter(&many)
	for i := range 200_000 {
		z.CreateHeader(&zip.FileHeader{Name: fmt.Sprint(i)})
	}
	z.Close()
	tests := map[string]struct {
		data []byte
		word string
	}{
		"tar":                   {tarGz(t, zeros("a", over)), "200 times"},
		"tar of many":           {tarGz(t, zeros("a", over/2), zeros("b", over/2)), "200 times"},
		"hard links":            {tarGz(t, zeros("a", over/2), hardlink("b", "a")), "200 times"},
		"zip":                   {zipOf(t, zeros("a", over)), "200 times"},
		"sparse file":           {sparse.Bytes(), "200 times"},
		"after the tar":         {hidden.Bytes(), "200 times"},
		"zip with many entries": {many.Bytes(), "list of entries has more than 8 MiB"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			_, _, err := Unpack(t.Context(), bytes.NewReader(test.data), above)
			coretest.WantError(t, err, core.KindTooLarge, core.FaultCaller, test.word)
			wantNothing(t, above)
		})
	}
	t.Run("small things may compress well", func(t *testing.T) {
		above := t.TempDir()
		_, _, err := Unpack(t.Context(), bytes.NewReader(tarGz(t, zeros("a", 15<<20))), above)
		coretest.Must(t, err)
	})
}

func TestUnpackBounds(t *testing.T) {
	noise := string(random(600 << 10))
	var names []entry
	for i := range 12 {
		names = append(names, file(fmt.Sprintf("f%d", i), ""))
	}
	deep := []entry{file("a", ""), file("1/2/3/4/5/6/7/8/9/f", "")}
	small := bounds{upload: 1 << 20, unpacked: 1 << 20, entries: 10, ratio: 200, ratioFloor: 16 << 20}
	for format, pack := range map[string]func(testing.TB, ...entry) []byte{"tar": tarGz, "zip": zipOf} {
		tests := map[string]struct {
			data []byte
			word string
		}{
			"upload":              {pack(t, file("a", noise), file("b", noise)), "archive has more than the 1 MiB"},
			"entries":             {pack(t, names...), "10 files"},
			"implied directories": {pack(t, deep...), "10 files"},
			"unpacked":            {pack(t, zeros("a", 600<<10), zeros("b", 600<<10)), "unpacks to more than the 1 MiB"},
		}
		for name, test := range tests {
			t.Run(name+"/"+format, func(t *testing.T) {
				above := t.TempDir()
				from := &counting{Reader: io.MultiReader(bytes.NewReader(test.data), endless{})}
				if name != "upload" {
					from.Reader = bytes.NewReader(test.data)
				}
				_, _, err := small.unpack(t.Context(), from, above)
				coretest.WantError(t, err, core.KindTooLarge, core.FaultCaller, test.word)
				if from.n > small.upload+1 {
					t.Errorf("read %d bytes", from.n)
				}
				wantNothing(t, above)
			})
		}
		t.Run("at the bounds/"+format, func(t *testing.T) {
			above := t.TempDir()
			data := pack(t, file("a", noise), zeros("b", 1<<20-len(noise)))
			exact := bounds{upload: int64(len(data)), unpacked: 1 << 20, entries: 2, ratio: 200, ratioFloor: 16 << 20}
			_, _, err := exact.unpack(t.Context(), bytes.NewReader(data), above)
			coretest.Must(t, err)
		})
	}
}

type counting struct {
	io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// Deep paths are refused, whatever they weigh, and what is allowed is unpacked, committed and thrown away in
// a time that goes by the number of entries.
func TestDeepPaths(t *testing.T) {
	above := t.TempDir()
	began := time.Now()
	var deep []entry
	for i := range 39 {
		deep = append(deep, file(fmt.Sprint(i, "/", strings.Repeat("d/", 494), "f"), "x"))
	}
	archive := tarGz(t, deep...)
	_, _, err := Unpack(t.Context(), bytes.NewReader(archive), above)
	coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, "directories deep")
	if took := time.Since(began); len(archive) > 4096 || took > 5*time.Second {
		t.Errorf("%d bytes took %v", len(archive), took)
	}

	// As deep as is allowed, and flat.
	var flat, most []entry
	for i := range 12 {
		most = append(most, file(fmt.Sprint(i, "/", strings.Repeat("d/", 96), "f"), "x"))
		for j := range 97 {
			flat = append(flat, file(fmt.Sprint(i, "-", j, "/f"), "x"))
		}
	}
	unpack := func(entries []entry) time.Duration {
		archive := tarGz(t, entries...)
		began := time.Now()
		dir, _, err := Unpack(t.Context(), bytes.NewReader(archive), above)
		coretest.Must(t, err)
		defer os.RemoveAll(dir)
		return time.Since(began)
	}
	if less, more := unpack(flat), unpack(most); more > 10*less+2*time.Second {
		t.Errorf("a deep tree took %v, a flat one of twice as many %v", more, less)
	} else {
		t.Log("a deep tree took", more, "and a flat one", less)
	}
}
