package installer

import (
	"encoding/json"
	"net"
	"os"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/launch"
)

// Answer is the other end of Program.Run, for installer programs in Go. It does the work, and sends the
// progress and the result, or the error, over descriptor 3. It returns the program's exit status.
func Answer(work func(progress func(core.Progress)) (result any, err error)) int {
	conn, err := net.FileConn(os.NewFile(3, "control"))
	if err != nil {
		_, _ = os.Stderr.WriteString("descriptor 3 is no control socket: " + err.Error() + "\n")
		return 1
	}
	defer conn.Close()
	result, err := work(func(p core.Progress) { _ = sayStep(conn, map[string]any{"progress": p}) })
	last := map[string]any{"result": result}
	if err != nil {
		last = map[string]any{"error": core.AsError(err)}
	}
	if err := sayStep(conn, last); err != nil {
		_, _ = os.Stderr.WriteString("the answer cannot be sent: " + err.Error() + "\n")
		return 1
	}
	return 0
}

// sayStep sends a message, in as many packets as it takes.
func sayStep(conn net.Conn, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	for ; len(text) >= launch.MaxPacket; text = text[launch.MaxPacket-1:] {
		if _, err := conn.Write(append([]byte{'+'}, text[:launch.MaxPacket-1]...)); err != nil {
			return err
		}
	}
	_, err = conn.Write(append([]byte{'.'}, text...))
	return err
}
