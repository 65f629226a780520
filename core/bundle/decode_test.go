package bundle

import (
	"bytes"
	"maps"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

func TestDecode(t *testing.T) {
	dir := t.TempDir()
	filestest.Write(t, dir, map[string]string{
		"plain": "é", "marked": "\xef\xbb\xbfé\n", "little": "\xff\xfee\x00\xe9\x00\n\x00", "big": "\xfe\xff\x00e\x00\xe9", "other": "\xef\xbb\xbfx", "empty": "",
		"binary": "\xff\xfe\xff", "d": "dir", "link": "-> marked",
	})
	coretest.Must(t, Decode(dir, []string{"plain", "marked", "little", "big", "empty", "absent", "d", "link"}))
	want := map[string]string{"plain": "é", "marked": "é\n", "little": "eé\n", "big": "eé", "other": "\xef\xbb\xbfx", "empty": "", "binary": "\xff\xfe\xff", "d": "dir", "link": "-> marked"}
	if got := filestest.Read(t, dir); !maps.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestSettingsWithMark(t *testing.T) {
	for _, text := range []string{"\xef\xbb\xbfname: hello\r\n", "\xff\xfen\x00a\x00m\x00e\x00:\x00 \x00h\x00e\x00l\x00l\x00o\x00"} {
		if settings, err := ParseSettings([]byte(text)); err != nil || settings.Name != "hello" {
			t.Errorf("%q: %+v, %v", text, settings, err)
		}
	}
}

func TestIgnoreTooLarge(t *testing.T) {
	above := t.TempDir()
	_, _, err := Unpack(t.Context(), bytes.NewReader(tarGz(t, file("a", ""), file(IgnoreFile, string(make([]byte, maxIgnore+1))))), above)
	coretest.WantError(t, err, core.KindTooLarge, core.FaultCaller, IgnoreFile)
	_, _, err = Unpack(t.Context(), bytes.NewReader(tarGz(t, file("a", ""), directory(IgnoreFile))), above)
	coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, IgnoreFile)
	wantNothing(t, above)
}
