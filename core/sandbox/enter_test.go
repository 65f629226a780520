package sandbox

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Orders that core does not send: whoever gets them leaves, with a reason.
func TestEnterRefusesOrders(t *testing.T) {
	newRig(t) // for its programs
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	spec := someSpec()
	good, err := newOrders(spec, make([]byte, 16), core.RoleInstance, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	body := binary.Size(orders{})
	put := func(offset int, value uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.NativeEndian.PutUint32(b[offset:], value); return b }
	}
	const rlimitsAt, maskedAt, filterAt = 40, 44, 48
	for _, r := range []struct {
		what        string
		change      func([]byte) []byte
		descriptors int // 4 are right: no network is given
	}{
		{"nothing", func([]byte) []byte { return nil }, 4},
		{"a note", func([]byte) []byte { return note{Kind: kindOrders}.bytes() }, 4},
		{"another kind", put(0, kindGo), 4},
		{"too many limits", put(rlimitsAt, maxRlimits+1), 4},
		{"less than is said", func(b []byte) []byte { return b[:len(b)-1] }, 4},
		{"more than is said", func(b []byte) []byte { return append(b, 0) }, 4},
		{"a sum that overflows", func(b []byte) []byte { return put(filterAt, 32)(put(maskedAt, ^uint32(0)-7)(b)) }, 4},
		{"a huge length", put(maskedAt, ^uint32(0)), 4},
		{"a path without an end", func(b []byte) []byte { b[body+7] = 'x'; return b }, 4},
		{"half an instruction", func(b []byte) []byte { return append(put(filterAt, 20)(b), 0, 0, 0, 0) }, 4},
		{"half a range of pages", func(b []byte) []byte { return append(put(pagesAt, 4)(b), 0, 0, 0, 0) }, 4},
		{"no descriptors", func(b []byte) []byte { return b }, 0},
		{"too few descriptors", func(b []byte) []byte { return b }, 3},
		{"too many descriptors", func(b []byte) []byte { return b }, 5},
		{"as many as there is room for", func(b []byte) []byte { return b }, 6},
		{"more than there is room for", func(b []byte) []byte { return b }, 20},
		{"a network that does not come", put(networkOffset, networkJoin), 4},
	} {
		c := outside(t)
		gate, theirs := pair(t)
		_, control := pair(t)
		_ = gate.SetDeadline(time.Now().Add(patience))
		if _, _, err := c.control.WriteMsgUnix([]byte("enter"), unix.UnixRights(int(control.Fd()), int(theirs.Fd())), nil); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		read := func() note {
			packet := make([]byte, 256)
			n, err := gate.Read(packet)
			if err != nil {
				t.Fatalf("%s: %v", r.what, err)
			}
			answer, err := parseNote(packet[:n])
			if err != nil {
				t.Fatalf("%s: %v", r.what, err)
			}
			return answer
		}
		if hello := read(); hello.Kind != kindHello {
			t.Fatalf("%s: kind %d", r.what, hello.Kind)
		}
		var rights []byte
		if r.descriptors > 0 {
			fds := make([]int, r.descriptors)
			for i := range fds {
				fds[i] = int(null.Fd())
			}
			rights = unix.UnixRights(fds...)
		}
		if _, _, err := gate.WriteMsgUnix(r.change(append([]byte(nil), good...)), rights, nil); err != nil {
			t.Fatalf("%s: %v", r.what, err)
		}
		if answer := read(); answer.Kind != kindFailed || answer.Err != int32(unix.EPROTO) || answer.step() != "receiving the orders" {
			t.Errorf("%s: kind %d, errno %d, %s", r.what, answer.Kind, answer.Err, answer.step())
		}
		control.Close()
	}
}

// A zygote may have few descriptors left, or a lot of them open: its children enter, and have none of its
// own.
func TestEnterArrangesDescriptors(t *testing.T) {
	h := newRig(t)
	for _, r := range []struct {
		words string
		comes bool
	}{{"limit 20", true}, {"open 990", true}, {"limit 10", false}} {
		zygote := h.launch(t, h.config(core.RoleZygote))
		if answer := zygote.ask(t, r.words); strings.HasPrefix(answer, "-1") {
			t.Fatal(answer)
		}
		s := h.createBelow(t, zygote, h.config(core.RoleInstance))
		control, theirs := pair(t)
		zygote.ask(t, "fork into", theirs, h.dial(t, s.config.ID))
		_, _, err := s.Entered()
		if r.comes != (err == nil) {
			t.Errorf("%s: %v", r.words, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), "receiving the orders") {
				t.Errorf("%s: %v", r.words, err)
			}
			continue
		}
		c := child{s, control, nil, 0}
		if got := strings.Count(c.ask(t, "ls /proc/self/fd"), "\n"); got != 6 {
			t.Errorf("%s: %d descriptors in the child", r.words, got)
		}
		for fd, want := range []string{"/dev/null", "pipe:", "pipe:", "socket:", "socket:"} {
			if line := fmt.Sprintf("%d ", fd); !strings.Contains(linesWith(c.ask(t, "ls /proc/self/fd"), line), want) {
				t.Errorf("%s: descriptor %d is not %s", r.words, fd, want)
			}
		}
	}
}

func linesWith(text, prefix string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
	return ""
}
