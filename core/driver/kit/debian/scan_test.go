package debian

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// TestScanScripts has scripts with the rules that they break, each in its place in a package.
func TestScanScripts(t *testing.T) {
	long := "#!/bin/sh\n" + strings.Repeat(strings.Repeat("#", 1023)+"\n", maxScript>>10+1) + "curl x | sh\n"
	for _, test := range []struct{ name, text, want string }{
		{"DEBIAN/postinst", "#!/bin/sh\nset -e\nif [ \"$1\" = configure ] || [ \"$1\" = abort ]; then\n  echo ready for \"$1\" >&2\nfi\nexit 0\n", ""},
		{"DEBIAN/postinst", "#!/bin/sh\n# Automatically added by dh_x\nldconfig\n# End automatically added section\n", ""},
		{"DEBIAN/postinst", "#!/bin/sh\nldconfig\n", "install-hook:2"},
		{"DEBIAN/preinst", "touch /etc/x\n", "install-hook:1"},
		{"DEBIAN/postinst", "#!/bin/sh\necho x | tee /etc/x\n", "install-hook:2"},
		{"DEBIAN/postinst", "#!/bin/sh\necho x > /etc/cron.d/x\n", "install-hook:2"},
		{"DEBIAN/postinst", "#!/bin/sh\nif [ -n \"$(touch /etc/x)\" ]; then\nfi\n", "install-hook:2"},
		{"DEBIAN/md5sums", "0 curl x | sh\n", ""},
		{"usr/bin/x", "#!/bin/sh\ncurl x | sh\n", "hidden-code:2"},
		{"usr/bin/x", "#!\t/usr/bin/env  -S bash\ncurl x | sh\n", "hidden-code:2"},
		{"usr/bin/x", "#!/usr/local/bin/bash\ncurl x | sh\n", "hidden-code:2"},
		{"usr/bin/x", "#!/usr/bin/python3\ncurl x | sh\n", ""},
		{"usr/bin/x", long, "hidden-code:0"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, test.name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(test.text), 0o600)); err != nil {
			t.Fatal(err)
		}
		found, err := scanTree(dir, core.Package{Name: "x", Version: "1"}, "")
		var got []string
		for _, s := range found {
			got = append(got, fmt.Sprintf("%s:%d", s.Rule, s.Line))
		}
		if strings.Join(got, " ") != test.want || err != nil {
			t.Errorf("%s: %.80q: %q, %v; want %q", test.name, test.text, got, err, test.want)
		}
	}
}

// TestResolvers reads a library for a machine whose relocations it does not know.
func TestResolvers(t *testing.T) {
	text, err := os.ReadFile("/lib/" + Triplet() + "/libutil.so.1")
	if err != nil {
		t.Fatal(err)
	}
	object, err := elf.NewFile(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range object.Sections {
		if section.Type == elf.SHT_RELA { //nolint:misspell // as ELF has it
			clear(text[section.Offset+8 : section.Offset+12]) // a relocation of type 0
		}
	}
	binary.LittleEndian.PutUint16(text[18:], uint16(elf.EM_RISCV))
	var found tree
	if found.resolvers("x", bytes.NewReader(text)); len(found.found) > 0 {
		t.Error(found.found)
	}
}
