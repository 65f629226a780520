// Package installer runs the installer programs of a driver inside their sandboxes. For installer programs in
// Go it also has the other end.
package installer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

// maxAnswer bounds one message of an installer program, in bytes.
const maxAnswer = 64 << 20

// An installer program writes JSON messages to its control socket, descriptor 3: any number of {"progress":
// {…}}, then a {"result": …} for each of its results, or one {"error": {…}}, a core.Error. A message is one
// packet or several. The first byte of a packet is '.' in the last one of a message, and '+' in all others.
type step struct {
	Progress *core.Progress  `json:"progress"`
	Result   json.RawMessage `json:"result"`
	Error    *core.Error     `json:"error"`
}

// maxArgument is the length of the longest argument, in bytes. The kernel's bound is 128 KiB.
const maxArgument = 100 << 10

// arguments returns a request as JSON, in as many arguments as it takes: the program joins them. None splits
// a character.
func arguments(request any) ([]string, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	var all []string
	for len(text) > maxArgument {
		cut := maxArgument
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		all, text = append(all, string(text[:cut])), text[cut:]
	}
	return append(all, string(text)), nil
}

// CheckURLs refuses packages with other package URLs than own returns. Vulnerabilities are looked up by that
// URL, and neither source of it can be trusted: a lock may be a user's, and a Resolution comes from a sandbox
// in which user code has run.
func CheckURLs(packages []core.Locked, own func(core.Locked) string) error {
	for _, p := range packages {
		if known := own(p); p.URL != known {
			return core.Errorf(core.KindInstall, core.FaultCaller,
				"the lock says that %s is %.200q, and it is %.200q: resolve again with `pipsqueak lock` or `pipsqueak deploy --anew`", p, p.URL, known)
		}
	}
	return nil
}

// Program is an installer program of a driver, as a sandbox has it.
type Program struct {
	Argv []string // but for the request, which comes after it
	Env  []string // the whole environment: Env or Offline
	Log  *slog.Logger
}

// Run runs the program in a sandbox until it has said its results, which are read into results in order. The
// request is JSON in the program's last arguments: one, or several that it joins. Progress may be nil. If the
// program ends before that, the error is KindInstall.
//
// A program may run code of others, and that code can say anything from then on. A result that it must not
// change has to be said before, as a result of its own.
func (p Program) Run(ctx context.Context, door core.Door, request any, progress func(core.Progress), results ...any) error {
	asked, err := arguments(request)
	if err != nil {
		return err
	}
	control, ended, err := launch.Start(door, slices.Concat(p.Argv, asked), p.Env, p.Log)
	if err != nil {
		return err
	}
	defer control.Close()
	conn, err := net.FileConn(control)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for len(results) > 0 {
		next, err := readStep(conn)
		switch {
		case ctx.Err() != nil:
			return core.Errorf(core.KindTimeout, core.FaultCaller, "the installation did not end in time: %w", ctx.Err())
		case err != nil:
			return endedEarly(ended, err)
		case next.Error != nil:
			return next.Error
		case next.Result != nil:
			if err := json.Unmarshal(next.Result, results[0]); err != nil {
				return core.Errorf(core.KindInternal, core.FaultDriver, "the installer's answer cannot be read: %w", err)
			}
			results = results[1:]
		case next.Progress != nil && progress != nil:
			progress(*next.Progress)
		}
	}
	return nil
}

// endWait is how long the launcher has to report the end of a program whose control socket has ended.
const endWait = 2 * time.Second

// endedEarly is the error for an installer that has ended without an answer, with the reason if there is one.
func endedEarly(ended <-chan string, err error) error {
	how := err.Error()
	select {
	case how = <-ended:
	case <-time.After(endWait):
	}
	return core.Errorf(core.KindInstall, core.FaultWorker, "the installer ended without an answer: %s", how)
}

func readStep(conn net.Conn) (step, error) {
	var text []byte
	packet := make([]byte, launch.MaxPacket)
	for {
		n, err := conn.Read(packet)
		if err != nil {
			return step{}, err
		}
		if n == 0 || len(text) > maxAnswer {
			return step{}, errors.New("end of its control socket")
		}
		text = append(text, packet[1:n]...)
		if packet[0] == '.' {
			var s step
			return s, json.Unmarshal(text, &s)
		}
	}
}
