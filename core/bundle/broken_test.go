package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Every archive that was cut off is refused, wherever it was cut, and one with a wrong bit in a file's
// content as well.
func TestUnpackDamaged(t *testing.T) {
	noise := string(random(300))
	above := t.TempDir()
	for format, data := range map[string][]byte{"tar": tarGz(t, file("a", noise), file("b", "2")), "zip": zipOf(t, file("a", noise), file("b", "2"))} {
		for n := range data {
			if _, _, err := Unpack(t.Context(), bytes.NewReader(data[:n]), above); !core.IsKind(err, core.KindInvalid) {
				t.Fatalf("%s cut off after %d of %d bytes: %v", format, n, len(data), err)
			}
		}
		flipped := bytes.Clone(data)
		flipped[len(data)/3] ^= 1
		if _, _, err := Unpack(t.Context(), bytes.NewReader(flipped), above); !core.IsKind(err, core.KindInvalid) {
			t.Errorf("%s with a wrong bit: %v", format, err)
		}
	}
	wantNothing(t, above)
}

// random returns noise, the same in every run.
func random(n int) []byte {
	noise := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	return noise
}

func TestUnpackBrokenUpload(t *testing.T) {
	above := t.TempDir()
	for _, data := range [][]byte{nil, []byte("P"), tarGz(t, file("a", string(random(5000)))), zipOf(t, file("a", string(random(5000))))} {
		cause := errors.New("connection reset")
		_, _, err := Unpack(t.Context(), io.MultiReader(bytes.NewReader(data[:len(data)/2]), iotest.ErrReader(cause)), above)
		coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, "broke off", "connection reset")
		if !errors.Is(err, cause) || !core.AsError(err).Retryable {
			t.Errorf("%#v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := io.MultiReader(bytes.NewReader(data[:len(data)/2]), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }), endless{})
		_, _, err = Unpack(ctx, left, above)
		coretest.WantError(t, err, core.KindCanceled, core.FaultCaller)
		ctx, cancel = context.WithTimeout(t.Context(), 0)
		_, _, err = Unpack(ctx, bytes.NewReader(data), above)
		cancel()
		coretest.WantError(t, err, core.KindTimeout, core.FaultCaller)
	}
	wantNothing(t, above)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A disk with no room is the worker's fault, names the path and leaves nothing.
func TestUnpackNoRoom(t *testing.T) {
	coretest.SmallFiles(t, 50<<10, func(func()) {
		above := t.TempDir()
		big := file("big", string(random(100<<10)))
		for _, archive := range [][]byte{tarGz(t, file("a", "1"), big), zipOf(t, file("a", "1"), big)} {
			_, _, err := Unpack(t.Context(), bytes.NewReader(archive), above)
			coretest.WantError(t, err, core.KindInternal, core.FaultWorker, above)
			if !errors.Is(err, syscall.EFBIG) {
				t.Error(err)
			}
			wantNothing(t, above)
		}
	})
}

// The kernel's own error of a full disk, from /dev/full.
func TestDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	coretest.Must(t, err)
	defer full.Close()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	coretest.Must(t, err)
	defer root.Close()
	out := newSink(root, &upload{ctx: t.Context(), bounds: defaultBounds})
	err = out.upload.explain(out.copy(full, "name", strings.NewReader("1")))
	coretest.WantError(t, err, core.KindExhausted, core.FaultWorker, dir+"/name", "--data", "free space")
}
