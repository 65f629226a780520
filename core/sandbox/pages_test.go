package sandbox

import (
	"encoding/binary"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// each returns the addresses of pages.
func each(pages core.Pages) (all []uint64) {
	for _, run := range pages {
		for n := range run & maxRun {
			all = append(all, run&^maxRun+n*uint64(unix.Getpagesize()))
		}
	}
	return all
}

// TestPagesAreCopiedBeforeUse has an instance copy what another one has written to, before it is asked for
// anything. It then has no reason to rehearse.
func TestPagesAreCopiedBeforeUse(t *testing.T) {
	h := newRig(t)
	page, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(page) }()
	coretest.Requires(t, coretest.Found("Linux 5.14", unix.Madvise(page, unix.MADV_POPULATE_WRITE) == nil))
	z := h.zygoteOfCore(t)
	first := h.forkOfCore(t, z)
	first.ask(t, "ls /proc/self/fd")
	if got := first.ask(t, "rehearse"); got != "yes" {
		t.Errorf("may one rehearse that nobody wants yet? %s", got)
	}
	written := each(first.Written())
	if len(written) < 3 {
		t.Fatalf("an instance that was used has written to %d pages", len(written))
	}
	missing := func(s *Sandbox) (n int) {
		there := each(s.Written())
		for _, page := range written {
			if !slices.Contains(there, page) {
				n++
			}
		}
		return n
	}
	if s := h.forkOfCore(t, z); missing(s.Sandbox) == 0 {
		t.Error("one that was told nothing has copied all of these, too: the test sees nothing")
	}
	config := h.config(core.RoleInstance)
	config.Pages = append(first.Written(), 0x10001) // nothing is mapped there
	s := h.createBelow(t, z, config)
	if err := s.Fork(t.Context()); err != nil {
		t.Fatal(err)
	}
	soon(t, "the pages are copied", func() bool { return missing(s) == 0 })
	second := child{s, s.Endpoint().(*net.UnixConn), nil, 0}
	if got := second.ask(t, "rehearse"); got != "no" {
		t.Errorf("may one rehearse that has copied pages? %s", got)
	}
	s.Kill()
	gone(t, s)
	if got := s.Written(); got != nil {
		t.Errorf("one that has ended has written to %v", got)
	}
}

// TestForgetText runs testdata/forget.c.
func TestForgetText(t *testing.T) {
	coretest.Requires(t, coretest.Compiler())
	program := filepath.Join(t.TempDir(), "forget")
	args := []string{"-fPIE", "-pie", "-Wl,-z,relro,-z,now", "-I", "enter", "-I", "enter/loop", "-I", "enter/watch", "testdata/forget.c"}
	for _, source := range []string{"loop/zygote.c", "watch/seen.c", "watch/watch.c", "watch/look.c", "watch/names.c", "watch/draws.c", "enter.c", "init.c", "fork.c", "landlock.c"} {
		args = append(args, "enter/"+source)
	}
	coretest.CompileC(t, program, args...)
	if said, err := exec.Command(program).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
}

func TestPagesAreRanges(t *testing.T) {
	var pages core.Pages
	for _, page := range []uint64{0x7000, 0x8000, 0xa000} {
		pages = grown(pages, page, 0x1000)
	}
	if want := (core.Pages{0x7002, 0xa001}); !slices.Equal(pages, want) {
		t.Errorf("%x, want %x", pages, want)
	}
	pages = nil
	for n := range uint64(maxRun + 2) {
		pages = grown(pages, n<<12, 0x1000)
	}
	if want := (core.Pages{maxRun, maxRun<<12 | 2}); !slices.Equal(pages, want) {
		t.Errorf("%x, want %x", pages, want)
	}
}

// TestOrdersHavePages looks at the end of orders: pages that there is no room for are left out.
func TestOrdersHavePages(t *testing.T) {
	packet, err := newOrders(someSpec(), nil, core.RoleInstance, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	length := len(packet)
	packet = withPages(packet, make(core.Pages, maxOrders))
	if n := int(binary.NativeEndian.Uint32(packet[pagesAt:])); len(packet) > maxOrders || len(packet) < maxOrders-8 || n != len(packet)-length {
		t.Errorf("orders of %d bytes, %d of them pages", len(packet), n)
	}
}
