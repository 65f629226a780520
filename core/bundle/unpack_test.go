package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/files/filestest"
)

func TestUnpack(t *testing.T) {
	executable := entry{tar.Header{Name: "run", Mode: 0o6710}, "#!"}
	tests := []struct {
		name    string
		entries []entry
		tarOnly bool
		want    map[string]string
	}{
		{name: "plain", entries: []entry{file("a", "1"), directory("d/"), file("d/b", "2"), executable},
			want: map[string]string{"a": "1", "d": "dir", "d/b": "2", "run": "#! x"}},
		{name: "with dots", entries: []entry{directory("./"), file("./a", "1"), file("./d//b", "2")},
			want: map[string]string{"a": "1", "d": "dir", "d/b": "2"}},
		{name: "implied directories", entries: []entry{file("a", ""), file("x/y/z", "1")},
			want: map[string]string{"a": "", "x": "dir", "x/y": "dir", "x/y/z": "1"}},
		{name: "one directory around", entries: []entry{directory("top/"), file("top/a", "1"), file("top/d/b", "2"), symlink("top/l", "d/b")},
			want: map[string]string{"a": "1", "d": "dir", "d/b": "2", "l": "-> d/b"}},
		{name: "two directories around", entries: []entry{file("top/inner/a", "1")},
			want: map[string]string{"inner": "dir", "inner/a": "1"}},
		{name: "one file", entries: []entry{file("a", "1")}, want: map[string]string{"a": "1"}},
		{name: "links inside", entries: []entry{symlink("d/up", "../a"), file("a", "1"), symlink("all", "."), symlink("nothing", "none"),
			symlink("through", "d/up"), symlink("a2", "a"), symlink("a2", "a")},
			want: map[string]string{"a": "1", "d": "dir", "d/up": "-> ../a", "all": "-> .", "nothing": "-> none", "through": "-> d/up", "a2": "-> a"}},
		{name: "hard links", tarOnly: true, entries: []entry{file("a", "1"), hardlink("b", "a"), hardlink("a", "./a"), file("b", "2")},
			want: map[string]string{"a": "1", "b": "2"}},
		{name: "twice", entries: []entry{file("a", "old"), file("b", ""), file("a", "new")}, want: map[string]string{"a": "new", "b": ""}},
		{name: "by Finder", want: map[string]string{"a": "1", "d": "dir", "d/b": "2"},
			entries: []entry{file("top/a", "1"), file("top/.DS_Store", "x"), file("__MACOSX/top/._a", "x"), file("top/d/b", "2"), file("top/d/._b", "x"), file("__MACOSX/._top", "x"), file(".DS_Store", "x")}},
		{name: "by Explorer", want: map[string]string{"a": "1", "d": "dir", "d/b": "2"},
			entries: []entry{file("top/a", "1"), file("Thumbs.db", "x"), file("desktop.ini", "x"), file("top/d/b", "2")}},
		{name: "a desktop's file that the function wants", want: map[string]string{".pipsqueakignore": "...", "._a": "1", ".DS_Store": "2", "d": "dir", "d/._b": "3"},
			entries: []entry{file(".pipsqueakignore", "!._*\n!.DS_Store\n"), file("._a", "1"), file(".DS_Store", "2"), file("d/._b", "3"), file("__MACOSX/._c", "x")}},
		{name: "what tools leave", want: map[string]string{"a": "1", "d": "dir", "e": "dir", "e/c": "3", "venv": ""},
			entries: []entry{file("a", "1"), symlink(".venv/bin/run", "/usr/bin/run"), symlink("d/.venv/lib64", "../../../lib"), symlink("e/.venv", "/opt/venvs/e"), file("e/c", "3"), file(".git/config", "x"), file("d/.env", "x"), file(".env.local", "x"), file("venv", "")}},
		{name: "what the function names", want: map[string]string{".pipsqueakignore": "...", "a": "1", "b.log": "3", "d": "dir", "d/.env": "4", "pipsqueak.yaml": ""},
			entries: []entry{file(".pipsqueakignore", "\xef\xbb\xbf# all\r\n*.log  \r\n\r\n!b.log\r\n/data/\n*.yaml\n!d/.env\nd/data\n"), file("a", "1"), file("a.log", "x"), file("b.log", "3"),
				file("data/x", "x"), symlink("data/out", "/etc"), file("d/.env", "4"), file("d/data", "x"), file(".env", "x"), file("pipsqueak.yaml", "")}},
		{name: "what tools make again", want: map[string]string{"package.json": "{}", "a": "dir", "a/node_modules": "dir", "a/node_modules/p": "dir", "a/node_modules/p/package.json": "{}",
			"a/node_modules/p/node_modules": "dir", "a/node_modules/p/node_modules/q": "1", "w": "dir", "w/pnpm-lock.yaml": "", "vendor": "dir", "vendor/own": "2", "b": "dir", "b/vendor": "dir",
			"b/vendor/bundle": "dir", "b/vendor/bundle/g": "3", "Gemfile": "", "CMakeLists.txt": "", "build": "dir", "build/note": "4", "lib": "dir", "lib/node_modules": "-> ../a/node_modules"},
			entries: []entry{file("package.json", "{}"), file("node_modules/x/index.js", "x"), file("a/node_modules/p/package.json", "{}"), file("a/node_modules/p/node_modules/q", "1"), file("w/pnpm-lock.yaml", ""),
				symlink("w/node_modules", "../../shared"), file("Gemfile", ""), file("vendor/bundle/ruby/g", "x"), file("vendor/own", "2"), file("b/vendor/bundle/g", "3"), file("CMakeLists.txt", ""),
				file("out/CMakeCache.txt", "x"), file("out/handler.so", "x"), file("build/note", "4"), file("CMakeCache.txt", "x"), symlink("lib/node_modules", "../a/node_modules")}},
		{name: "what is taken back", want: map[string]string{".pipsqueakignore": "...", "package.json": "{}", "node_modules": "dir", "node_modules/p": "dir", "node_modules/p/package.json": "{}",
			"node_modules/p/node_modules": "dir", "node_modules/p/node_modules/q": "1", "CMakeLists.txt": "", "out": "dir", "out/a": "2", "out/CMakeCache.txt": "3"},
			entries: []entry{file(".pipsqueakignore", "!/node_modules\n!out\n"), file("package.json", "{}"), file("node_modules/p/package.json", "{}"), file("node_modules/p/node_modules/q", "1"),
				file("CMakeLists.txt", ""), file("out/CMakeCache.txt", "3"), file("out/a", "2")}},
		{name: "commit of git", tarOnly: true, want: map[string]string{"a": "1"},
			entries: []entry{{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "c"}}, ""}, file("a", "1")}},
	}
	// The worker's umask must not decide what functions can read.
	defer syscall.Umask(syscall.Umask(0o077))
	for _, test := range tests {
		for format, pack := range map[string]func(testing.TB, ...entry) []byte{"tar": tarGz, "zip": zipOf} {
			if test.tarOnly && format == "zip" {
				continue
			}
			t.Run(test.name+"/"+format, func(t *testing.T) {
				above := t.TempDir()
				dir, _, err := Unpack(t.Context(), iotest.OneByteReader(bytes.NewReader(pack(t, test.entries...))), above)
				coretest.Must(t, err)
				got := filestest.Read(t, dir)
				if _, ok := got[IgnoreFile]; ok {
					got[IgnoreFile] = "..."
				}
				if !maps.Equal(got, test.want) {
					t.Errorf("got %v, want %v", got, test.want)
				}
				coretest.Must(t, os.RemoveAll(dir))
				wantNothing(t, above)
			})
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	fifo := entry{tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}, ""}
	device := entry{tar.Header{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8}, ""}
	console := entry{tar.Header{Name: "tty", Typeflag: tar.TypeChar, Devmajor: 5}, ""}
	a := file("a", "1")
	deep := strings.Repeat("d/", 600) + "f"
	both := []func(testing.TB, ...entry) []byte{tarGz, zipOf}
	tarOnly := both[:1]
	tests := []struct {
		name    string
		formats []func(testing.TB, ...entry) []byte
		entries []entry
		words   []string
	}{
		{"empty", both, nil, []string{"no files"}},
		{"absolute path", both, []entry{file("/etc/passwd", "")}, []string{"/etc/passwd", "absolute"}},
		{"traversal", both, []entry{a, file("../../evil", "")}, []string{"../../evil", "'..'"}},
		{"traversal within", both, []entry{a, file("d/../e", "")}, []string{"d/../e"}},
		{"link to an absolute path", both, []entry{a, symlink("l", "/etc/passwd")}, []string{`"l"`, "/etc/passwd"}},
		{"link out", both, []entry{a, symlink("d/l", "../../x")}, []string{`"d/l"`, "../../x"}},
		{"link out by another link", both, []entry{a, symlink("s", "."), directory("x/y"), symlink("x/y/l", "../../s/../b")}, []string{"x/y/l"}},
		{"link out once the directory is stripped", both, []entry{file("top/a", ""), symlink("top/l", "../top/a")}, []string{"../top/a"}},
		{"links in a circle", both, []entry{symlink("p", "q"), symlink("q", "p")}, []string{"circle"}},
		{"link to nothing", tarOnly, []entry{a, symlink("l", "")}, []string{`"l"`}},
		{"link with a long target", both, []entry{a, symlink("l", strings.Repeat("x/", 900))}, []string{`"l"`}},
		{"file through a link", both, []entry{directory("d"), symlink("l", "d"), file("l/f", "")}, []string{`"l"`, "symbolic link"}},
		{"file over a link", both, []entry{a, symlink("l", "a"), file("l", "2")}, []string{`"l"`, "twice", "symbolic link"}},
		{"link over another link", both, []entry{a, symlink("l", "a"), symlink("l", "b")}, []string{`"l"`, "twice"}},
		{"directory over a link", both, []entry{directory("d"), symlink("l", "d"), directory("l")}, []string{`"l"`}},
		{"file over a directory", both, []entry{directory("d"), file("d", "")}, []string{`"d"`, "directory"}},
		{"file below a file", both, []entry{a, file("a/b", "")}, []string{`"a"`}},
		{"hard link out", tarOnly, []entry{a, hardlink("h", "../../etc/passwd")}, []string{`"h"`, "hard link"}},
		{"hard link to an absolute path", tarOnly, []entry{a, hardlink("h", "/etc/passwd")}, []string{`"h"`, "hard link"}},
		{"hard link to nothing", tarOnly, []entry{a, hardlink("h", "b")}, []string{`"h"`}},
		{"hard link to a link", tarOnly, []entry{symlink("l", "a"), a, hardlink("h", "l")}, []string{`"h"`}},
		{"hard link through a link", tarOnly, []entry{file("d/a", ""), symlink("l", "d"), hardlink("h", "l/a")}, []string{`"h"`}},
		{"fifo", both, []entry{a, fifo}, []string{"pipe", "fifo"}},
		{"block device", tarOnly, []entry{a, device}, []string{"disk", "device"}},
		{"character device", tarOnly, []entry{a, console}, []string{"tty", "device"}},
		{"long path", both, []entry{a, file(deep, "")}, []string{"1024"}},
		{"long name", both, []entry{a, file(strings.Repeat("n", 256), "")}, []string{"255"}},
		{"NUL in a name", both[1:], []entry{a, file("b\x00c", "")}, []string{"NUL"}},
		{"backslash in a zip", both[1:], []entry{a, file(`..\b`, "")}, []string{"backslash"}},
	}
	for _, test := range tests {
		for i, pack := range test.formats {
			t.Run(fmt.Sprintf("%s/%d", test.name, i), func(t *testing.T) {
				above := t.TempDir()
				_, _, err := Unpack(t.Context(), bytes.NewReader(pack(t, test.entries...)), above)
				coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, test.words...)
				wantNothing(t, above)
			})
		}
	}
}

func TestUnpackRefusesBytes(t *testing.T) {
	good := tarGz(t, file("a", "1"))
	encrypted := zipOf(t, file("secret", "1"))
	// The flags are at offset 6 of the local header and 8 of the one in the directory.
	encrypted[6] |= 1
	encrypted[bytes.Index(encrypted, []byte("PK\x01\x02"))+8] |= 1
	method := zipOf(t, file("odd", "1"))
	method[8] = 97
	method[bytes.Index(method, []byte("PK\x01\x02"))+10] = 97
	var text bytes.Buffer
	gz := gzip.NewWriter(&text)
	gz.Write([]byte(strings.Repeat("no tar ", 500)))
	gz.Close()
	tests := map[string]struct {
		data []byte
		word string
	}{
		"0 bytes":             {nil, "0 bytes"},
		"1 byte":              {[]byte("P"), "no archive"},
		"text":                {[]byte("def handler(event):"), "no archive"},
		"bare tar":            {make([]byte, 1024), "no archive"},
		"gzip header only":    {good[:2], "damaged"},
		"gzip of text":        {text.Bytes(), "no tar"},
		"gzip and more":       {append(bytes.Clone(good), "more"...), "damaged"},
		"encrypted":           {encrypted, "password"},
		"unknown compression": {method, "method 97"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			_, _, err := Unpack(t.Context(), bytes.NewReader(test.data), above)
			coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, test.word)
			wantNothing(t, above)
		})
	}
}

// A file keeps its time of change: make builds again what is older than its source. A time that is still to
// come is not believed.
func TestUnpackTimes(t *testing.T) {
	changed := time.Date(2024, 5, 6, 7, 8, 10, 0, time.UTC)
	entries := []entry{file("old", "1"), file("none", "2"), file("future", "3")}
	entries[0].ModTime, entries[2].ModTime = changed, time.Now().Add(time.Hour)
	for form, archive := range map[string][]byte{"tar": tarGz(t, entries...), "zip": zipOf(t, entries...)} {
		began := time.Now().Add(-time.Second)
		dir, _, err := Unpack(t.Context(), bytes.NewReader(archive), t.TempDir())
		coretest.Must(t, err)
		for name, want := range map[string]func(time.Time) bool{
			"old":    changed.Equal,
			"none":   began.Before,
			"future": func(at time.Time) bool { return at.After(began) && !at.After(time.Now()) },
		} {
			info, err := os.Stat(filepath.Join(dir, name))
			coretest.Must(t, err)
			if !want(info.ModTime()) {
				t.Errorf("%s in a %s was changed at %v", name, form, info.ModTime())
			}
		}
	}
}
