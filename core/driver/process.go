package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// environment is all that a driver gets of the host's, besides Options.Env and what the handshake needs.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}

// drain is how long a dead driver's last output is waited for. Processes that it made may hold its stderr
// open for ever.
const drain = 200 * time.Millisecond

// process is one life of a driver's program. It is go-plugin's runner, instead of go-plugin's own, for three
// reasons: only with a runner does go-plugin tell the driver in which directory to put its socket;
// go-plugin's own takes the death of the program to be the end of its output, which forked processes can hold
// open; and it gives the program the host's stdin.
type process struct {
	path    string
	sockets string // directory in which go-plugin promised the driver a place for its socket
	opening context.Context
	log     *lineLog

	stdoutCopy, stderrCopy io.Writer // nil for none

	cmd      *exec.Cmd
	life     *os.File // the driver's stdin: never written to, closed to ask the driver to leave
	stdout   *handshakeReader
	stderr   *os.File
	release  func() bool // ends the power of opening over the process; false when it has been used
	startErr error

	killed atomic.Bool   // by us, for whatever reason
	done   chan struct{} // closed when it has ended
	exit   string        // how it ended; to be read after done
}

var _ runner.Runner = (*process)(nil)

func newProcess(opening context.Context, path, sockets string, env []string, log *lineLog) *process {
	cmd := exec.Command(path)
	cmd.Env = env
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// A Ctrl-C in the host's terminal is for the host: it ends its drivers in order, and their processes
		// after them.
		Setpgid: true,
	}
	return &process{path: path, sockets: sockets, opening: opening, log: log, cmd: cmd, done: make(chan struct{})}
}

// Start starts the program and returns when it runs or cannot. From then on the end of the opening context
// kills it, until release is called.
func (p *process) Start(context.Context) error {
	ours, theirs, err := p.pipes()
	if err != nil {
		p.startErr = err
		return err
	}
	started := make(chan error)
	go p.live(started)
	p.startErr = <-started
	for _, f := range theirs {
		f.Close()
	}
	if p.startErr != nil {
		for _, f := range ours {
			f.Close()
		}
		return p.startErr
	}
	p.release = context.AfterFunc(p.opening, p.kill)
	go p.log.read(copied(p.stderr, p.stderrCopy))
	return nil
}

// pipes makes the three standard streams and returns the host's and the driver's ends.
func (p *process) pipes() (ours, theirs []*os.File, err error) {
	var r, w [3]*os.File
	for i := range r {
		if r[i], w[i], err = os.Pipe(); err != nil {
			for j := range i {
				r[j].Close()
				w[j].Close()
			}
			return nil, nil, fmt.Errorf("make the driver's standard streams: %w", err)
		}
	}
	p.life, p.stdout, p.stderr = w[0], &handshakeReader{file: r[1], eof: make(chan struct{})}, r[2]
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = r[0], w[1], w[2]
	return []*os.File{w[0], r[1], r[2]}, []*os.File{r[0], w[1], w[2]}, nil
}

// live runs the program from its start to its end.
//
// The kernel sends the parent-death signal when the thread that forked ends, not when the process does
// (prctl(2), golang/go#27505). Go's runtime ends threads at its own discretion, for instance when a goroutine
// returns locked to one, and would kill a healthy driver by that. So one goroutine keeps one thread for as
// long as the driver lives.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	err = p.cmd.Wait()

	timeout := time.After(drain)
	for _, end := range []<-chan struct{}{p.stdout.eof, p.log.eof} {
		select {
		case <-end:
		case <-timeout:
			// The deadline ends the readers; the files are closed after them, in close.
			_ = p.stdout.file.SetReadDeadline(time.Now())
			_ = p.stderr.SetReadDeadline(time.Now())
		}
	}
	p.exit = "exit status 0"
	if err != nil {
		p.exit = err.Error()
	}
	close(p.done)
}

// ask asks the program to leave: the end of its stdin.
func (p *process) ask() { p.life.Close() }

// kill ends the program with its process group, which it leads: what it runs to look around, at its start,
// hangs as it does. What is to outlive a driver has left the group.
func (p *process) kill() {
	if p.cmd.Process == nil {
		return
	}
	p.killed.Store(true)
	// As long as nobody has waited for the program, its number is no other's. Signal goes through a pidfd and
	// knows.
	if p.cmd.Process.Signal(syscall.Signal(0)) == nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// close returns what is left of an ended process; it is called once, after done.
func (p *process) close() {
	p.life.Close()
	p.stdout.file.Close()
	p.stderr.Close()
}

// What follows is for go-plugin.

func (p *process) Wait(context.Context) error { <-p.done; return nil }

func (p *process) Kill(context.Context) error { p.kill(); return nil }

func (p *process) Diagnose(context.Context) string { return "" } // diagnoseStart does it, with more to go by

func (p *process) Stdout() io.ReadCloser { return io.NopCloser(copied(p.stdout, p.stdoutCopy)) }

func copied(r io.Reader, w io.Writer) io.Reader {
	if w == nil {
		return r
	}
	return io.TeeReader(r, w)
}

// Stderr is empty: go-plugin's own reader of logs panics on a JSON line whose @message is no string, so a
// driver could end the host with one line. lineLog reads the real one.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

func (p *process) Name() string { return p.path }

func (p *process) ID() string { return strconv.Itoa(p.pid()) }

func (p *process) pid() int {
	if p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// PluginToHost is asked about the address in the handshake. Any place but the private directory could be
// reached by others.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != p.sockets {
		return "", "", fmt.Errorf("it listens on %s %s instead of on a unix socket in PLUGIN_UNIX_SOCKET_DIR", network, address)
	}
	return network, address, nil
}

func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// handshakeReader passes the driver's stdout on and remembers how it began, for diagnoses.
type handshakeReader struct {
	file *os.File
	eof  chan struct{} // closed when nothing more will come
	once sync.Once

	mu    sync.Mutex
	begin []byte
}

func (r *handshakeReader) Read(b []byte) (int, error) {
	n, err := r.file.Read(b)
	r.mu.Lock()
	if room := 512 - len(r.begin); room > 0 {
		r.begin = append(r.begin, b[:min(n, room)]...)
	}
	r.mu.Unlock()
	if err != nil {
		r.once.Do(func() { close(r.eof) })
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
			err = io.EOF
		}
	}
	return n, err
}

// line returns the first line so far.
func (r *handshakeReader) line() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	line, _, _ := strings.Cut(string(r.begin), "\n")
	return strings.TrimSpace(line)
}
