package driver_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

// gone reports whether a process has ended; one that nobody has waited for yet counts as ended.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}

func TestKilledDriver(t *testing.T) {
	c := open(t, "fake")
	if c.Err() != nil {
		t.Errorf("a living driver has the error %v", c.Err())
	}
	hung := make(chan error)
	go func() {
		err := c.Fork(t.Context(), "a", "b", sandbox("a"))
		hung <- err
	}()
	time.Sleep(50 * time.Millisecond)
	if err := syscall.Kill(c.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-hung:
		if e := mustBe(t, err, core.KindUnavailable, core.FaultDriver, "signal: killed", driver.Prefix+"fake"); !e.Retryable {
			t.Error("not retryable")
		}
	case <-time.After(patience):
		t.Fatal("the call under way did not return")
	}
	<-c.Done()
	_, err := c.Describe(t.Context())
	mustBe(t, err, core.KindUnavailable, core.FaultDriver, "signal: killed")
}

// A stopped driver does not answer go-plugin's request to shut down, which has no deadline.
func TestCloseOfAStoppedDriver(t *testing.T) {
	c := open(t, "fake")
	if err := syscall.Kill(c.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		c.Close()
		close(closed)
	}()
	select {
	case <-closed:
		if !gone(c.PID()) {
			t.Error("it is closed, and the driver runs on")
		}
	case <-time.After(patience):
		t.Fatal("Close does not return")
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	sockets := filepath.Join(shortDir(t), "made")
	c, err := driver.Open(t.Context(), install(t, t.TempDir(), "fake"), driver.Options{Dir: sockets})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(sockets); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the socket: %v, %v", info, err)
	}
	c.Close()
	c.Close()
	if c.Exit() != "exit status 0" {
		t.Errorf("the driver did not leave by itself: %s", c.Exit())
	}
	if left, err := os.ReadDir(sockets); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if !gone(c.PID()) {
		t.Error("the driver runs on")
	}
}

// beHost is a host process: it opens a driver, says its pid, and waits to be killed.
func beHost(path string) {
	c, err := driver.Open(context.Background(), path, driver.Options{Dir: filepath.Join(filepath.Dir(path), "s")})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	// Threads come and go around it: none of that may kill the driver.
	for range 20 {
		done := make(chan struct{})
		go func() {
			runtime.LockOSThread() // and never unlocked: the runtime ends the thread
			close(done)
		}()
		<-done
	}
	time.Sleep(100 * time.Millisecond)
	fmt.Println(c.PID())
	select {}
}

func TestDriverDiesWithItsHost(t *testing.T) {
	for _, role := range []string{"fake", "clinging"} { // the second does not watch its stdin: the kernel alone ends it
		t.Run(role, func(t *testing.T) {
			dir := shortDir(t)
			host := exec.Command(os.Args[0])
			host.Env = []string{hostEnv + "=" + install(t, dir, role)}
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			line, _ := bufio.NewReader(out).ReadString('\n')
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatalf("the host said %q", line)
			}
			if gone(pid) {
				t.Fatal("the driver did not live before its host was killed")
			}
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = host.Wait()
			t.Cleanup(func() {
				if t.Failed() && !gone(pid) {
					_ = syscall.Kill(pid, syscall.SIGKILL) // nobody else would
				}
			})
			eventually(t, "the driver died with its host", func() bool { return gone(pid) })
		})
	}
}

// handshaken starts a driver as a host does, without the kernel's help that Open asks for.
func handshaken(t *testing.T, role string) (*exec.Cmd, io.Closer, string) {
	t.Helper()
	cmd := exec.Command(install(t, t.TempDir(), role))
	cmd.Env = []string{"PIPSQUEAK_DRIVER_COOKIE=4f9c1c1e-a driver is started by its host", "PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR=" + shortDir(t)}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, stdin, line
}

func TestDriverLeavesAtTheEndOfStdin(t *testing.T) {
	cmd, stdin, line := handshaken(t, "fake")
	if !strings.HasPrefix(line, "1|3|unix|/") || !strings.Contains(line, "|grpc|") {
		t.Errorf("the handshake is %q, not what PROTOCOL.md says", line)
	}
	stdin.Close()
	eventually(t, "the driver left", func() bool { return gone(cmd.Process.Pid) })
}

func TestDriverByHand(t *testing.T) {
	path := install(t, t.TempDir(), "fake")
	var stderr strings.Builder
	cmd := exec.Command(path)
	cmd.Env, cmd.Stderr = []string{}, &stderr
	var exit *exec.ExitError
	if out, err := cmd.Output(); !errors.As(err, &exit) || exit.ExitCode() != 1 || len(out) > 0 {
		t.Errorf("by hand: %q, %v", out, err)
	}
	for _, want := range []string{"pipsqueak-driver-fake is a driver of Pipsqueak", "pipsqueak serve", "--describe"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("by hand it says %q, without %q", stderr.String(), want)
		}
	}
	cmd = exec.Command(path, "--describe")
	cmd.Env = []string{}
	out, err := cmd.Output()
	var d core.Description
	if err != nil || json.Unmarshal(out, &d) != nil || d.Language != "fake" || len(d.Runtimes) != 1 {
		t.Errorf("--describe: %q, %v", out, err)
	}
}

func TestEnvironmentIsNotPassedOn(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hush")
	c, err := driver.Open(t.Context(), install(t, t.TempDir(), "environ"), driver.Options{Dir: shortDir(t), Env: []string{"EXTRA=yes"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var names []string
	for _, entry := range c.Description().Problems {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"EXTRA", "LANG", "PATH", "PIPSQUEAK_DRIVER_COOKIE", "PLUGIN_MAX_PORT", "PLUGIN_MIN_PORT", "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_UNIX_SOCKET_DIR"}
	if !slices.Equal(names, want) {
		t.Errorf("the driver's environment has %q, want %q", names, want)
	}
}

func TestLogsAreCarried(t *testing.T) {
	var out records
	log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
	c, err := driver.Open(t.Context(), install(t, t.TempDir(), "talker"), driver.Options{Dir: shortDir(t), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, want := range []string{
		`"level":"INFO","msg":"preload","driver":"pipsqueak-driver-talker","nested":{"a":1},"rt":"talker1","took":5`,
		`"level":"WARN","msg":"careful"`,
		`"level":"WARN","msg":"not json"`,
		`{\"@message\": 1, \"@level\": true}`,
		strings.Repeat("x", 1000),
	} {
		eventually(t, "the log has "+want[:min(len(want), 60)], func() bool { return strings.Contains(out.String(), want) })
	}
	babbler, err := driver.Open(t.Context(), install(t, t.TempDir(), "faulty-babble"), driver.Options{Dir: shortDir(t), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer babbler.Close()
	if err := babbler.Preload(t.Context(), "a", "faulty-babble1", sandbox("a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what it prints is in the log", func() bool { return strings.Contains(out.String(), "hello from a driver that prints") })
}

// otherMachine is the head of an ELF program for a machine that is not this one.
func otherMachine() string {
	head := make([]byte, 64)
	copy(head, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(head[16:], 2)   // ET_EXEC
	binary.LittleEndian.PutUint16(head[18:], 243) // EM_RISCV
	binary.LittleEndian.PutUint32(head[20:], 1)
	binary.LittleEndian.PutUint16(head[52:], 64)
	return string(head)
}

func TestStartFailuresAreDiagnosed(t *testing.T) {
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		kind          core.Kind
		fault         core.Fault
		says          []string
	}{
		{"not executable", "#!/bin/sh\n", 0o644, core.KindInvalid, core.FaultWorker, []string{"not executable", "0644", "chmod"}},
		{"writable by all", "#!/bin/sh\n", 0o777, core.KindInvalid, core.FaultWorker, []string{"written by everybody"}},
		{"other machine", otherMachine(), 0o755, core.KindUnsupported, core.FaultWorker, []string{"another machine", "RISCV", runtime.GOARCH}},
		{"no program", "just text\n", 0o755, core.KindInvalid, core.FaultWorker, []string{"neither a program"}},
		{"no interpreter", "#!/opt/none/python9\n", 0o755, core.KindUnsupported, core.FaultWorker, []string{"/opt/none/python9", "does not exist"}},
		{"prints", "#!/bin/sh\necho Hello, world\nexec sleep 5\n", 0o755, core.KindUnavailable, core.FaultDriver, []string{`"Hello, world"`, "reserved for the handshake"}},
		{"exits", "#!/bin/sh\necho cannot find libfoo >&2\nexit 3\n", 0o755, core.KindUnavailable, core.FaultDriver, []string{"exit status 3", "cannot find libfoo"}},
		{"leaves a process", "#!/bin/sh\nsleep 2 &\necho with its output open >&2\nexit 4\n", 0o755, core.KindUnavailable, core.FaultDriver, []string{"exit status 4", "with its output open"}},
		{"killed", "#!/bin/sh\nkill -11 $$\n", 0o755, core.KindUnavailable, core.FaultDriver, []string{"segmentation fault"}},
		{"closes", "#!/bin/sh\nexec >&-\nexec sleep 5\n", 0o755, core.KindUnavailable, core.FaultDriver, []string{"without a handshake"}},
		{"other version", "#!/bin/sh\necho '1|7|unix|/x|grpc|'\nexec sleep 5\n", 0o755, core.KindUnsupported, core.FaultDriver, []string{"version 7", "versions 2 and 3", "newer Pipsqueak"}},
		{"other handshake", "#!/bin/sh\necho '2|2|unix|/x|grpc|'\nexec sleep 5\n", 0o755, core.KindUnsupported, core.FaultDriver, []string{"version 2 of go-plugin's handshake"}},
		{"net/rpc", "#!/bin/sh\necho '1|2|unix|/x|netrpc|'\nexec sleep 5\n", 0o755, core.KindUnsupported, core.FaultDriver, []string{"does not speak gRPC"}},
		{"elsewhere", "#!/bin/sh\necho '1|2|tcp|127.0.0.1:1|grpc|'\nexec sleep 5\n", 0o755, core.KindUnavailable, core.FaultDriver, []string{"tcp 127.0.0.1:1", "PLUGIN_UNIX_SOCKET_DIR"}},
		{"no socket", "#!/bin/sh\necho \"1|2|unix|$PLUGIN_UNIX_SOCKET_DIR/none|grpc|\"\nexec sleep 5\n", 0o755, core.KindUnavailable, core.FaultDriver, []string{"no such file"}},
		{"silent", "#!/bin/sh\nexec sleep 5\n", 0o755, core.KindTimeout, core.FaultDriver, []string{"not get ready in time"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), driver.Prefix+"bad")
			if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil { // past the umask
				t.Fatal(err)
			}
			t.Parallel() // not before the file is closed: what is forked meanwhile would have it open, and nobody can execute what somebody writes
			limit := patience
			if c.kind == core.KindTimeout {
				limit = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			mustNotOpen(ctx, t, path, c.kind, c.fault, c.says...)
		})
	}
	t.Run("does not exist", func(t *testing.T) {
		mustNotOpen(t.Context(), t, "/opt/none/"+driver.Prefix+"x", core.KindNotFound, core.FaultWorker, "does not exist")
	})
	t.Run("directory", func(t *testing.T) {
		mustNotOpen(t.Context(), t, t.TempDir(), core.KindInvalid, core.FaultWorker, "not a regular file")
	})
	t.Run("undescribed", func(t *testing.T) {
		mustNotOpen(t.Context(), t, install(t, t.TempDir(), "undescribed"), core.KindUnsupported, core.FaultWorker, "no interpreter is installed")
	})
	t.Run("mute", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		mustNotOpen(ctx, t, install(t, t.TempDir(), "mute"), core.KindTimeout, core.FaultDriver, "not get ready in time")
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(200*time.Millisecond, cancel)
		mustNotOpen(ctx, t, install(t, t.TempDir(), "mute"), core.KindCanceled, core.FaultCaller)
	})
	t.Run("foreign owner", func(t *testing.T) {
		if os.Geteuid() != 0 {
			if os.Getenv("CI") == "true" {
				t.Fatal("needs root, and CI must have it")
			}
			t.Skip("needs root")
		}
		path := filepath.Join(t.TempDir(), driver.Prefix+"x")
		if err := errors.Join(os.WriteFile(path, nil, 0o755), os.Chown(path, 12345, 12345)); err != nil {
			t.Fatal(err)
		}
		mustNotOpen(t.Context(), t, path, core.KindInvalid, core.FaultWorker, "user 12345", "chown")
	})
}

// TestKillTakesTheGroup opens a driver that hangs at its start in a program that it runs.
func TestKillTakesTheGroup(t *testing.T) {
	dir := t.TempDir()
	path, pidFile := filepath.Join(dir, driver.Prefix+"hangs"), filepath.Join(dir, "pid")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nsleep 60 &\necho $! > "+pidFile+"\nwait\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var pid int
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		eventually(t, "it runs a program", func() bool {
			text, _ := os.ReadFile(pidFile)
			n, err := fmt.Sscanf(string(text), "%d\n", &pid)
			return n == 1 && err == nil
		})
	}()
	mustNotOpen(ctx, t, path, core.KindCanceled, core.FaultCaller)
	eventually(t, "the program that the driver ran has ended", func() bool { return gone(pid) })
}

func mustNotOpen(ctx context.Context, t *testing.T, path string, kind core.Kind, fault core.Fault, says ...string) {
	t.Helper()
	sockets := shortDir(t)
	c, err := driver.Open(ctx, path, driver.Options{Dir: sockets, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		c.Close()
		t.Fatal("it was opened")
	}
	mustBe(t, err, kind, fault, says...)
	eventually(t, "the directory for the socket is empty again", func() bool {
		left, err := os.ReadDir(sockets)
		return err == nil && len(left) == 0
	})
}

func TestSocketDirectoryMustBePrivate(t *testing.T) {
	path := install(t, t.TempDir(), "fake")
	public := shortDir(t)
	if err := os.Chmod(public, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, says := range map[string]string{public: "open to others", "relative": "absolute", "/tmp/" + strings.Repeat("l", 80): "at most"} {
		_, err := driver.Open(t.Context(), path, driver.Options{Dir: dir})
		mustBe(t, err, core.KindInvalid, core.FaultWorker, says)
	}
}
