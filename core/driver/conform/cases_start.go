package conform

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// cookie is what PROTOCOL.md (C1) has a host say.
const cookie = "PIPSQUEAK_DRIVER_COOKIE=4f9c1c1e-a driver is started by its host"

var startCases = []Case{
	{Name: "start/no-cookie", Clauses: []string{"C1"}, run: func(t *trial) { t.refuses(nil) }},
	{Name: "start/wrong-cookie", Clauses: []string{"C1"}, run: func(t *trial) { t.refuses([]string{"PIPSQUEAK_DRIVER_COOKIE=no"}) }},
	{Name: "start/describe-by-hand", Clauses: []string{"C1"}, run: startDescribe},
	{Name: "start/handshake", Clauses: []string{"C4"}, run: startHandshake},
	{Name: "start/socket-in-its-place", Clauses: []string{"C3"}, run: startSocket},
	{Name: "start/listens-nowhere-else", Clauses: []string{"C2", "C3"}, run: startListens},
	{Name: "start/in-time", Clauses: []string{"C6"}, run: startInTime},
	{Name: "start/leaves-at-end-of-stdin", Clauses: []string{"C27"}, run: startLeaves},
	{Name: "start/leaves-under-a-call", Clauses: []string{"C27"}, run: startLeavesBusy},
}

var describeCases = []Case{
	{Name: "describe/language", Clauses: []string{"C7"}, run: func(t *trial) {
		if got := t.described().Language; got != t.language {
			t.errorf("the language is %q, and the program is for %q", got, t.language)
		}
	}},
	{Name: "describe/runtimes", Clauses: []string{"C12"}, run: describeRuntimes},
	{Name: "describe/mounts", Clauses: []string{"C12"}, run: describeMounts},
	{Name: "describe/capabilities", Clauses: []string{"C5"}, run: describeCapabilities},
	{Name: "describe/again", Clauses: []string{"C12"}, run: describeAgain},
	{Name: "describe/at-once", Clauses: []string{"C9"}, run: describeAtOnce},
}

// byHand starts the program with an environment and waits for its end.
func (t *trial) byHand(env []string, args ...string) (stdout, stderr string, code int) {
	var out, err bytes.Buffer
	cmd := exec.CommandContext(t.within(10*time.Second), t.options.Program, args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = append(plainEnv(t), env...), "/", &out, &err
	_ = cmd.Run()
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

func plainEnv(t *trial) []string {
	return slices.Concat([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}, t.options.Env)
}

func (t *trial) refuses(env []string) {
	stdout, stderr, code := t.byHand(env)
	if code != 1 {
		t.errorf("it exits with %d, and not with 1", code)
	}
	if stdout != "" {
		t.errorf("it says %q on stdout", stdout)
	}
	if strings.TrimSpace(stderr) == "" {
		t.errorf("it says nothing on stderr: not what it is, nor who starts it")
	}
}

func startDescribe(t *trial) {
	stdout, stderr, code := t.byHand(nil, "--describe")
	var d core.Description
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || code != 0 {
		t.fatalf("with --describe it exits with %d and prints %.200q (stderr %.200q): %v", code, stdout, stderr, err)
	}
	told := t.described()
	if !sameDescription(d, told) {
		t.errorf("--describe prints %.400s, and Describe answers %.400s", fmt.Sprintf("%+v", d), fmt.Sprintf("%+v", told))
	}
}

// sameDescription compares what of two Descriptions does not depend on what else the machine does, nil being
// empty (C11).
func sameDescription(a, b core.Description) bool {
	text := func(d core.Description) string {
		for i := range d.Runtimes {
			r := reflect.ValueOf(&d.Runtimes[i]).Elem()
			for j := range r.NumField() {
				if f := r.Field(j); f.Kind() == reflect.Slice && f.Len() == 0 {
					f.SetZero()
				}
			}
		}
		return fmt.Sprintf("%s %s %v %+v", d.Language, d.Version, d.Capabilities, d.Runtimes)
	}
	return text(a) == text(b)
}

// raw is the program as a host starts it, without a host.
type raw struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	line    string // of the handshake
	sockets string
	ended   chan struct{}
}

func (t *trial) raw() *raw {
	dir, err := os.MkdirTemp(t.dir, "p")
	t.must(err, "making a directory")
	r := &raw{cmd: exec.Command(t.options.Program), sockets: dir, ended: make(chan struct{})}
	r.cmd.Env = append(plainEnv(t), cookie, "PLUGIN_PROTOCOL_VERSIONS=2,3", "PLUGIN_UNIX_SOCKET_DIR="+dir, "PLUGIN_MIN_PORT=10000", "PLUGIN_MAX_PORT=25000")
	r.cmd.Dir = "/"
	stdin, err := r.cmd.StdinPipe()
	t.must(err, "making a pipe")
	stdout, stdoutEnd, err := os.Pipe()
	t.must(err, "making a pipe")
	defer stdoutEnd.Close()
	t.atEnd(func() { stdout.Close() })
	r.cmd.Stdout, r.stdin = stdoutEnd, stdin
	t.must(r.cmd.Start(), "starting the driver")
	go func() { _ = r.cmd.Wait(); close(r.ended) }()
	t.atEnd(func() { _ = r.cmd.Process.Kill(); <-r.ended })
	_ = stdout.SetReadDeadline(time.Now().Add(10 * time.Second))
	if r.line, err = bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.fatalf("the driver gives no handshake line, only %q: %v", r.line, err)
	}
	return r
}

func startHandshake(t *trial) {
	r := t.raw()
	fields := strings.Split(strings.TrimSuffix(r.line, "\n"), "|")
	if len(fields) != 6 || fields[0] != "1" || fields[2] != "unix" || fields[4] != "grpc" || fields[5] != "" {
		t.fatalf("the handshake is %q, and not 1|<version>|unix|<path>|grpc|", r.line)
	}
	if v := fields[1]; v != "2" && v != "3" {
		t.errorf("it speaks version %s of 2 and 3", v)
	}
}

func startSocket(t *trial) {
	r := t.raw()
	fields := strings.Split(r.line, "|")
	if len(fields) < 4 || filepath.Dir(fields[3]) != r.sockets {
		t.fatalf("the handshake %q names no socket directly in %s", r.line, r.sockets)
	}
	if info, err := os.Stat(fields[3]); err != nil || info.Mode().Type() != os.ModeSocket {
		t.errorf("%s is no socket: %v", fields[3], err)
	}
	entries, err := os.ReadDir(r.sockets)
	t.must(err, "looking into the directory")
	if len(entries) != 1 {
		t.errorf("in PLUGIN_UNIX_SOCKET_DIR are %v, and not the one socket", entries)
	}
}

// startListens looks for network sockets of the program, which are in the tables of the kernel by inode.
func startListens(t *trial) {
	r := t.raw()
	own := streamsOf(r.cmd.Process.Pid)
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", r.cmd.Process.Pid, table))
		if err != nil {
			continue // the machine has no such protocol
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > 9 && own["socket:["+fields[9]+"]"] {
				t.errorf("it has a %s socket at %s", table, fields[1])
			}
		}
	}
}

func startInTime(t *trial) {
	t.shared() // may be the first start, with cold caches
	began := time.Now()
	t.own()
	if took := time.Since(began); took > 30*time.Second {
		t.errorf("from the start to the answer of Describe %v passed", took)
	}
}

func startLeaves(t *trial) {
	r := t.raw()
	r.stdin.Close()
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.errorf("it has not left within %v after the end of its stdin", patience)
	}
}

func startLeavesBusy(t *trial) {
	d := t.own()
	z, hangs := t.fork(d, t.preload(d), core.RoleZygote), t.load(modHangs)
	called := make(chan error, 1)
	go func() {
		_, err := d.Import(context.WithoutCancel(t.ctx), z.id, hangs)
		called <- err
	}()
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	d.Close() // kills it after 2 s
	if took := time.Since(began); took > 1900*time.Millisecond {
		t.errorf("with a call under way it took %v to leave", took)
	}
	select {
	case err := <-called:
		t.mustFail("the call under way", err, core.FaultWorker, core.KindUnavailable)
	case <-time.After(patience):
		t.errorf("the call under way did not return")
	}
}

func describeRuntimes(t *trial) {
	d := t.described()
	if len(d.Runtimes) == 0 && len(d.Problems) == 0 {
		t.errorf("there is no runtime, and no problem that says what to do")
	}
	seen := map[core.RuntimeID]bool{}
	for _, r := range d.Runtimes {
		if r.ID == "" || strings.ContainsAny(string(r.ID), "/\x00 ") || seen[r.ID] {
			t.errorf("the runtime ID %q is empty, not safe as a file name or there twice", r.ID)
		}
		seen[r.ID] = true
		if r.Version == "" || len(r.Handlers) == 0 || len(r.Extensions) == 0 {
			t.errorf("%s has version %q, %d handler files and extensions %q; it needs all three", r.ID, r.Version, len(r.Handlers), r.Extensions)
		}
		for _, h := range r.Handlers {
			if h.File == "" || h.Handler == "" {
				t.errorf("%s has the handler %+v", r.ID, h)
			}
		}
	}
}

func describeMounts(t *trial) {
	for _, r := range t.described().Runtimes {
		for _, m := range slices.Concat(r.Mounts, r.Tools) {
			if _, err := os.Stat(m.Source); err != nil {
				t.errorf("%s: %v", r.ID, err)
			}
			if !filepath.IsAbs(m.Target) || m.Target != filepath.Clean(m.Target) || m.Writable {
				t.errorf("%s: %s is to be shown at %s, writable %v", r.ID, m.Source, m.Target, m.Writable)
			}
		}
	}
}

func describeCapabilities(t *trial) {
	d := t.described()
	for _, part := range []string{core.CapabilityBuild, core.CapabilityCompile, core.CapabilityScan} {
		if d.Can(part) && !d.Can(core.CapabilityInstall) {
			t.errorf("it has the capability %q without %q, which it is a part of", part, core.CapabilityInstall)
		}
	}
	installer := t.shared().Parts().Installer
	if installer == nil {
		return
	}
	_, err := installer.Resolve(t.within(callTime), core.ResolveRequest{Runtime: "none", Door: core.Door{ID: "none", Gate: "/none"}})
	var e *core.Error
	if !errors.As(err, &e) || strings.Contains(e.Message, "unknown service") {
		t.errorf("Resolve for a runtime that is not there gave %v", err)
	}
}

func describeAgain(t *trial) {
	d := t.shared()
	before := descendants(d.PID())
	for range 3 {
		again, err := d.Describe(t.within(callTime))
		t.must(err, "Describe")
		if !sameDescription(again, d.Description()) {
			t.fatalf("it describes itself as %.400s, and before as %.400s", fmt.Sprintf("%+v", again), fmt.Sprintf("%+v", d.Description()))
		}
	}
	if !t.soon(func() bool { return descendants(d.PID()) <= before }) {
		t.errorf("there were %d processes below it before, and are %d", before, descendants(d.PID()))
	}
}

func describeAtOnce(t *trial) {
	d := t.shared()
	var wg sync.WaitGroup
	ctx := t.within(callTime)
	for range 32 {
		wg.Go(func() {
			if _, err := d.Describe(ctx); err != nil {
				t.errorf("one of 32 calls of Describe at once: %v", err)
			}
		})
	}
	wg.Wait()
}
