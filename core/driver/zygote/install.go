package zygote

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"time"
	"unicode/utf8"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// maxAnswer bounds what an installer program may say in one message, in bytes.
const maxAnswer = 64 << 20

// An installer program says one JSON message after another on its control socket, descriptor 3: any number of steps
// {"progress": {…}}, then {"result": …}, once for each result that it has, or {"error": {…}} as core.Error. A message is one packet or
// several; the first byte of a packet is '+' when the message goes on in the next, and '.' when it ends with this one.
type step struct {
	Progress *core.Progress  `json:"progress"`
	Result   json.RawMessage `json:"result"`
	Error    *core.Error     `json:"error"`
}

// maxArgument is the length of the longest argument that a program can be given, in bytes, with some to spare.
const maxArgument = 100 << 10

// Request returns what an installer program is asked for as JSON, in as many arguments as it takes: the program joins them. Each is text by
// itself.
func Request(request any) ([]string, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	var arguments []string
	for len(text) > maxArgument {
		cut := maxArgument
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		arguments, text = append(arguments, string(text[:cut])), text[cut:]
	}
	return append(arguments, string(text)), nil
}

// CheckURLs refuses packages whose package URLs are not the driver's own, by which lists of vulnerabilities know them: a lock may come from a
// user, and a resolution from a sandbox in which code of the user's has run.
func CheckURLs(packages []core.Locked, own func(core.Locked) string) error {
	for _, p := range packages {
		if known := own(p); p.URL != known {
			return core.Errorf(core.KindInstall, core.FaultCaller, "the lock says that %s is %.200q, and it is %.200q: resolve anew with `pipsqueak lock` or `pipsqueak deploy --anew`", p, p.URL, known)
		}
	}
	return nil
}

// Install runs an installer program of the driver's in the sandbox (see Launch) until it has said its results, which go into
// results, in order. Progress may be nil. The program's end without a word is KindInstall.
//
// Where the program runs code of others, that code can say whatever it likes from then on. What it must have no say in is a result of its own,
// said before.
func Install(ctx context.Context, sandbox core.Sandbox, argv, env []string, log *slog.Logger, progress func(core.Progress), results ...any) error {
	control, ended, err := launch(sandbox, argv, env, log)
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

// endWait is for the launcher to report the end of a program whose control socket has ended.
const endWait = 2 * time.Second

// endedEarly says why an installer has ended before it gave an answer, as far as it can be known here.
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
	packet := make([]byte, maxPacket)
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
