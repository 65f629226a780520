// Package launch starts a program of a driver inside a sandbox. It connects to the gate, and gives the
// program a control socket.
package launch

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

// The files that drivers start and load. They lie in Libexec.
const (
	Launcher = "pipsqueak-enter"       // starts another program inside a sandbox (core/sandbox/enter/launch.c)
	Library  = "libpipsqueak-enter.so" // has ps_enter, for languages that load it at run time
)

// MaxPacket bounds one packet on a control socket, in bytes.
const MaxPacket = 128 << 10

// Exit statuses of the launcher: notInside when the program did not get into its sandbox, and signalled + n
// when signal n ended the program.
const notInside, signalled = 125, 128

// Libexec returns the directory with the files that drivers start and load: the one that PIPSQUEAK_LIBEXEC
// names, otherwise libexec beside the running program.
func Libexec() (string, error) {
	if dir := os.Getenv("PIPSQUEAK_LIBEXEC"); dir != "" {
		return dir, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(self), "libexec"), nil
}

// Start starts a program from nothing inside the sandbox behind door. Paths in argv are paths inside that
// sandbox. env is the whole environment. Nobody has come through door yet.
//
// It returns the driver's end of a control socket (SOCK_SEQPACKET), which the caller closes; the program has
// the other end as descriptor 3. If something goes wrong inside, the socket ends. Some time later the channel
// has one text: how the program ended.
//
// The program does not die with the driver: zygotes outlive their driver, and end with the worker.
func Start(door core.Door, argv, env []string, log *slog.Logger) (*os.File, <-chan string, error) {
	libexec, err := Libexec()
	if err != nil {
		return nil, nil, err
	}
	gate, err := Knock(door)
	if err != nil {
		return nil, nil, err
	}
	defer gate.Close()
	ours, theirs, err := ControlPair()
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
		log.Debug("preload", "node", door.ID, "ended", err, "said", complaint.String())
		ended <- ending(cmd.ProcessState, complaint.String())
	}()
	return ours, ended, nil
}

// ending puts the end of a program into words. The state is the launcher's.
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

// Knock connects to the gate of a sandbox and names the node whose process will come through the connection.
// The caller closes the file.
func Knock(door core.Door) (*os.File, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: door.Gate, Net: "unixpacket"})
	if err != nil {
		return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "the gate of %s: %w", door.ID, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(door.ID)); err != nil {
		return nil, core.Errorf(core.KindUnavailable, core.FaultWorker, "the gate of %s: %w", door.ID, err)
	}
	file, err := conn.File()
	if err != nil {
		return nil, err
	}
	// The process shares the open file with us, and expects it to block.
	if err := syscall.SetNonblock(int(file.Fd()), false); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// ControlPair returns both ends of a control socket. Ours is for Go's poller, theirs blocks. The caller
// closes both.
func ControlPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control"), nil
}
