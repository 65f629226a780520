// Command pipsqueak is the one program of Pipsqueak: it serves functions, and talks to a server that does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
)

func main() {
	// The first signal ends what is under way, the second the program. A terminal that goes away is one of
	// them, unless nohup has it ignored.
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	context.AfterFunc(ctx, stop)
	p := &program{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, screen: os.Stderr,
		terminal: isatty.IsTerminal(os.Stderr.Fd()) && os.Getenv("TERM") != "dumb",
		piped:    isPiped(os.Stdin),
		user:     os.Geteuid(),
		wide:     !isatty.IsTerminal(os.Stdout.Fd()),
		now:      time.Now,
	}
	if isatty.IsTerminal(os.Stdout.Fd()) {
		p.out = forTerminal(p.out)
	}
	if isatty.IsTerminal(os.Stderr.Fd()) {
		p.err = forTerminal(p.err)
	}
	p.attach()
	os.Exit(p.run(ctx, os.Args[1:]))
}

func isPiped(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && (info.Mode()&os.ModeNamedPipe != 0 || info.Mode().IsRegular())
}
