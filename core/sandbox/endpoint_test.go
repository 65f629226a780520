package sandbox

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// TestEndpoint builds testdata/endpoint.c with enter/loop/endpoint.c, and talks to it as core does.
func TestEndpoint(t *testing.T) {
	program := buildEndpoint(t)
	t.Run("frames", func(t *testing.T) { testFrames(t, program) })
	t.Run("none", func(t *testing.T) { testNoFrames(t, program) })
	t.Run("next", func(t *testing.T) { testNextFrame(t, program) })
}

func buildEndpoint(t testing.TB) (program string) {
	t.Helper()
	coretest.Requires(t, coretest.Compiler())
	program = filepath.Join(t.TempDir(), "endpoint")
	coretest.CompileC(t, program, "testdata/endpoint.c", "enter/loop/endpoint.c")
	return program
}

// endpointWait is for a step of the program on a machine that does much else.
const endpointWait = 20 * time.Second

// framed returns a frame: its kind, and its body after a meta, or after none when that is "-".
func framed(kind byte, meta, body string) string {
	if meta != "-" {
		body = string(binary.BigEndian.AppendUint32(nil, uint32(len(meta)))) + meta + body
	}
	return string(binary.BigEndian.AppendUint32(nil, uint32(1+len(body)))) + string(kind) + body
}

// endpointed starts the program, reading as mode says. Exit waits for its end and returns how it ended.
func endpointed(t *testing.T, program, mode string) (core *net.UnixConn, exit func() string) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "core"), os.NewFile(uintptr(pair[1]), "instance")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	core = conn.(*net.UnixConn)
	var said bytes.Buffer
	cmd := exec.Command(program, mode)
	cmd.Stderr, cmd.ExtraFiles = &said, []*os.File{theirs, theirs}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := core.SetDeadline(time.Now().Add(endpointWait)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { core.Close(); _ = cmd.Process.Kill() })
	return core, func() string {
		defer time.AfterFunc(endpointWait, func() { _ = cmd.Process.Kill() }).Stop()
		_ = cmd.Wait()
		return cmd.ProcessState.String() + said.String()
	}
}

// testFrames has frames read and written by enter/loop/endpoint.c, however they come, ahead of the next and
// not.
func testFrames(t *testing.T, program string) {
	token, long := strings.Repeat("t", 32), strings.Repeat("0123456789abcde\n", 6<<16)
	few := framed('E', token, "1") + framed('A', "m", "22") + framed('E', token, "") + framed('Q', "-", "333")
	fewAnswers := framed('R', "-", token+"1") + framed('I', "-", token+"\x00\x00\x00\x01m22") + framed('R', "-", token) + framed('Q', "-", "333")
	var about, aboutAnswers string // frames about as long as the memory for the first is
	for size := 16<<10 - 2; size <= 16<<10+2; size++ {
		body := long[:size-4-1-4-len(token)]
		about, aboutAnswers = about+framed('E', token, body), aboutAnswers+framed('R', "-", token+body)
	}
	for name, c := range map[string]struct {
		sent, want string
		piece      int // bytes that are sent at once
	}{
		"at once":     {few, fewAnswers, 1 << 20},
		"by the byte": {few, fewAnswers, 1},
		"in pieces":   {strings.Repeat(few, 3), strings.Repeat(fewAnswers, 3), 7},
		"one long":    {framed('E', token, long) + few, framed('R', "-", token+long) + fewAnswers, 1 << 30},
		"longer each": {framed('E', token, long[:20<<10]) + framed('E', token, long[:300<<10]) + few, framed('R', "-", token+long[:20<<10]) + framed('R', "-", token+long[:300<<10]) + fewAnswers, 4 << 10},
		"much ahead":  {framed('E', token, long[:300<<10]) + strings.Repeat(framed('E', token, long[:20<<10]), 4), framed('R', "-", token+long[:300<<10]) + strings.Repeat(framed('R', "-", token+long[:20<<10]), 4), 1 << 30},
		"about":       {about, aboutAnswers, 16 << 10},
		"a fork":      {framed('H', "-", "{}"), framed('H', "-", "No child processes, 1"), 1 << 20},
	} {
		for _, mode := range []string{"read", "receive"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				core, exit := endpointed(t, program, mode)
				go func() {
					for at := 0; at < len(c.sent); at += c.piece {
						if _, err := core.Write([]byte(c.sent[at:min(at+c.piece, len(c.sent))])); err != nil {
							return
						}
					}
				}()
				got := make([]byte, len(c.want))
				if n, err := io.ReadFull(core, got); err != nil || string(got) != c.want {
					t.Errorf("%d bytes, %v: %.300q, want %.300q", n, err, got[:n], c.want)
				}
				core.Close()
				if how := exit(); how != "exit status 0" {
					t.Errorf("at the end of file: %s", how)
				}
			})
		}
	}
}

// testNextFrame sends two frames at once. To a language that reads one the other has to be there still when
// it looks.
func testNextFrame(t *testing.T, program string) {
	core, _ := endpointed(t, program, "receive")
	if _, err := core.Write([]byte(framed('P', "-", "") + framed('Q', "-", ""))); err != nil {
		t.Fatal(err)
	}
	got, want := make([]byte, 6), framed('P', "-", "1")
	if _, err := io.ReadFull(core, got); err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

// testNoFrames sends what is no frame.
func testNoFrames(t *testing.T, program string) {
	number := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	for name, sent := range map[string]string{
		"of no bytes":           number(0),
		"too long":              number(6<<20 + 64<<10 + 1),
		"half a length":         number(5)[:2],
		"half a frame":          number(5) + "Eab",
		"without a meta":        number(4) + "Eabc",
		"with too long a meta":  number(9) + "E" + number(5) + "abcd",
		"with a very long meta": number(9) + "A" + number(1<<32-1) + "abcd",
		"after a frame":         framed('Q', "-", "") + number(0),
		"too long, and after":   framed('Q', "-", "") + number(1<<24+1) + "Q",
	} {
		for _, mode := range []string{"read", "receive"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				core, exit := endpointed(t, program, mode)
				if _, err := core.Write([]byte(sent)); err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(name, "half") {
					if err := core.CloseWrite(); err != nil {
						t.Fatal(err)
					}
				}
				if how := exit(); how != "exit status 3" {
					t.Errorf("it ended with %s", how)
				}
			})
		}
	}
}
