package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/gateway/client"
)

// worker is a running `pipsqueak serve`.
type worker struct {
	bin    string
	url    string
	client client.Client
	cmd    *exec.Cmd
	log    bytes.Buffer // of the worker; to be read when it has ended
}

// withWorker starts a worker, uses it, and stops it as an operator does: SIGTERM, and then it has to leave
// with 0. What it logged is shown when something went wrong.
func withWorker(ctx context.Context, bin, data string, use func(*worker) error) error {
	w, err := serve(ctx, bin, data)
	if err != nil {
		return err
	}
	err = use(w)
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	if stopped := w.cmd.Wait(); stopped != nil && ctx.Err() == nil {
		err = errors.Join(err, fmt.Errorf("the worker did not stop cleanly: %w", stopped))
	}
	if err != nil {
		_, _ = w.log.WriteTo(os.Stderr)
	}
	return err
}

// serve starts a worker on a free port of loopback and returns when it listens.
func serve(ctx context.Context, bin, data string) (*worker, error) {
	w := &worker{bin: bin, cmd: exec.CommandContext(ctx, filepath.Join(bin, "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data)}
	w.cmd.Stderr = &w.log
	w.cmd.Cancel = func() error { return w.cmd.Process.Signal(syscall.SIGTERM) }
	w.cmd.WaitDelay = 20 * time.Second
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		_ = w.cmd.Process.Kill()
		return nil, errors.Join(fmt.Errorf("the worker says %q and does not listen", line), w.cmd.Wait(), errors.New(w.log.String()))
	}
	w.url, w.client = url, client.New(url)
	return w, nil
}

// deploy deploys an example by the command line. The functions of an application have their names.
func (w *worker) deploy(ctx context.Context, e *example) error {
	if e.app {
		return w.program(ctx, "deploy", e.dir)
	}
	return w.program(ctx, "deploy", e.dir, "--name", e.name)
}

// program runs the command line against the worker, for a person to see.
func (w *worker) program(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, "pipsqueak"), append(args, "--server", w.url)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pipsqueak %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
