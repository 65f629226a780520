package zygote

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Launcher is the file name of the program that starts another one inside a sandbox (core/sandbox/enter/launch.c). It lies in
// Libexec.
const Launcher = "pipsqueak-enter"

// Statuses of the launcher: what it could not do itself, and above signalled the signal that ended the program.
const notInside, signalled = 125, 128

// Launch starts a program from nothing inside the sandbox, with paths as the sandbox has them and that environment alone. It
// returns the driver's end of the program's control socket (SOCK_SEQPACKET), which is the program's descriptor 3; the
// caller closes it. What goes wrong inside is seen at the socket, as its end, and at the gate.
//
// The program does not die with the driver: zygotes outlive their driver, and end with the worker.
func Launch(sandbox core.Sandbox, argv, env []string, log *slog.Logger) (*os.File, error) {
	control, _, err := launch(sandbox, argv, env, log)
	return control, err
}

// launch is Launch. How the program has ended, in words, comes through the channel once, some time after the end of the socket.
func launch(sandbox core.Sandbox, argv, env []string, log *slog.Logger) (*os.File, <-chan string, error) {
	libexec, err := Libexec()
	if err != nil {
		return nil, nil, err
	}
	gate, err := dialGate(sandbox)
	if err != nil {
		return nil, nil, err
	}
	defer gate.Close()
	ours, theirs, err := controlPair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(filepath.Join(libexec, Launcher), argv...)
	cmd.Env = env
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{theirs, gate} // descriptors 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, nil, core.Errorf(core.KindUnavailable, core.FaultDriver, "starting %s: %w (make build puts it there)", cmd.Path, err)
	}
	ended := make(chan string, 1)
	go func() {
		err := cmd.Wait()
		log.Debug("preload", "node", sandbox.ID, "ended", err, "said", complaint.String())
		ended <- ending(cmd.ProcessState, complaint.String())
	}()
	return ours, ended, nil
}

// ending says in words how a program has ended, of which the launcher has the status.
func ending(state *os.ProcessState, complaint string) string {
	said, code := "", state.ExitCode()
	if complaint = strings.TrimSpace(complaint); complaint != "" {
		said = " (" + complaint + ")"
	}
	switch signal := syscall.Signal(code - signalled); {
	case code < 0:
		return "its launcher was ended: " + state.String() + said
	case code == notInside:
		return "it did not get into its sandbox" + said
	case code > signalled:
		return fmt.Sprintf("it was ended by signal %d (%s)%s", code-signalled, signal, said)
	}
	return fmt.Sprintf("it exited with status %d%s", code, said)
}

// dialGate connects to the gate and says whose process will come through the connection.
func dialGate(sandbox core.Sandbox) (*os.File, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: sandbox.Gate, Net: "unixpacket"})
	if err != nil {
		return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "the gate of %s: %w", sandbox.ID, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(sandbox.ID)); err != nil {
		return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "the gate of %s: %w", sandbox.ID, err)
	}
	file, err := conn.File()
	if err != nil {
		return nil, err
	}
	// The process gets it blocking, and shares the file with us.
	if err := syscall.SetNonblock(int(file.Fd()), false); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// controlPair returns both ends of a control socket: ours for Go's poller, theirs blocking.
func controlPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control"), nil
}
