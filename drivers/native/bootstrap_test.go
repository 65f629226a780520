package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/endpoint"
)

// speak is a function for bootstraps in bash: it sends a request and prints the answer. The descriptors stay
// open.
const speak = `#!/bin/bash
host=${AWS_LAMBDA_RUNTIME_API%:*} port=${AWS_LAMBDA_RUNTIME_API#*:}
ask() { # method path [body]
	exec 5<>/dev/tcp/$host/$port
	printf '%s /2018-06-01/runtime/%s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' "$1" "$2" "${#3}" "$3" >&5
	cat <&5
}
`

func TestDeaths(t *testing.T) {
	tests := []struct {
		name, code string
		says       string // of a failure before the first event; "" when there is an event
		exit       int
		result     string // of the event; "" when the end comes before it
		unread     bool   // the event goes to another instance
		death      string // what it died of in the event, when the instance tells
	}{
		{"at once", "exit 3", "ended with code 3", 1, "", false, ""},
		{"at once and well", "exit 0", "ended with code 0", 1, "", false, ""},
		{"killed at once", "kill -9 $$", "signal 9 (Killed)", 1, "", false, ""},
		{"in an event", "ask GET invocation/next; exit 4", "", 4, "", false, "exit"},
		{"in an event and well", "ask GET invocation/next; exit 0", "", 0, "", false, "exit"},
		{"killed in an event for its memory, perhaps", "ask GET invocation/next; kill -9 $$", "", 137, "", false, ""},
		{"killed in an event", "ask GET invocation/next; kill -SEGV $$", "", 139, "", false, "SIGSEGV"},
		{"after the answer", "ask GET invocation/next; ask POST invocation/r/response 2; exit 5", "", 5, "2", false, ""},
		{"without waiting for the answer to its answer", "ask GET invocation/next; printf 'POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\nContent-Length: 1\r\n\r\n2' >/dev/tcp/$host/$port; exit 5", "", 5, "2", false, ""},
		{"with a child left behind", "sleep 60 & ask GET invocation/next; sleep 60 & exit 6", "", 6, "", false, "exit"},
		{"before it takes its next event", "ask GET invocation/next; ask POST invocation/r/response 2; sleep 0.2; kill -9 $$", "", 137, "2", true, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstance(t, speak+test.code+"\n", 0o755)
			_, err := i.load(map[string]string{"PATH": os.Getenv("PATH")})
			if (err != nil) != (test.says != "") || err != nil && (!core.IsKind(err, core.KindExit) || core.AsError(err).Fault != core.FaultHandler || !strings.Contains(err.Error(), test.says)) {
				t.Fatalf("%+v", err)
			}
			if err == nil {
				x := i.send("r", "1")
				if test.result != "" {
					if body, err := x.outcome(t); body != test.result || err != nil {
						t.Errorf("%q %v", body, err)
					}
				} else if test.death == "" {
					if <-x.answered; !errors.Is(x.err, io.ErrUnexpectedEOF) {
						t.Errorf("%c %s %v", x.kind, x.body, x.err)
					}
				} else if _, err := x.outcome(t); !core.IsKind(err, core.KindExit) || core.AsError(err).Exception.Type != test.death {
					t.Errorf("%+v", err)
				}
			}
			if test.unread {
				time.Sleep(20 * time.Millisecond)
				x := i.send("r2", "2")
				if <-x.answered; !endpoint.IsUnsent(x.err) {
					t.Errorf("an event to an instance whose bootstrap is about to end: %v", x.err)
				}
			}
			if code := i.exit(); code != test.exit {
				t.Errorf("it ended with %d, want %d: %s", code, test.exit, i.logs)
			}
			if (test.result == "" && test.says == "") != strings.Contains(i.logs.String(), "before it answered") {
				t.Errorf("logs: %s", i.logs)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	i := newInstance(t, speak+`sockets=$(for fd in /proc/$$/fd/*; do readlink $fd; done | grep -c socket)
ask GET invocation/next >event
ask POST invocation/r/response "$(env; pwd; echo sockets $sockets; grep SigBlk /proc/self/status)"
sleep 60
`, 0o755)
	report, err := i.load(map[string]string{"PATH": os.Getenv("PATH"), "A": "é\n\"", "TZ": "Asia/Tokyo", "AWS_LAMBDA_RUNTIME_API": "elsewhere"})
	if err != nil || report.Threads != 1 || report.Took <= 0 || len(report.Modules) != 1 {
		t.Fatalf("%+v %v", report, err)
	}
	body, err := i.send("r", "1").outcome(t)
	if err != nil {
		t.Fatal(err)
	}
	var text string
	if err := json.Unmarshal([]byte(body), &text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"_HANDLER=index.handler", "LAMBDA_TASK_ROOT=" + i.dir, "LAMBDA_RUNTIME_DIR=" + i.dir, "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_FUNCTION_VERSION=7",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "AWS_LAMBDA_LOG_GROUP_NAME=f", "AWS_LAMBDA_LOG_STREAM_NAME=f/7", "TZ=Asia/Tokyo", "A=é\n\"", "LD_LIBRARY_PATH=/packages/lib", i.dir,
		"sockets 0", "SigBlk:\t0000000000000000"} {
		if !strings.Contains(text, "\n"+line+"\n") && !strings.HasPrefix(text, line+"\n") && !strings.HasSuffix(text, "\n"+line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if strings.Count(text, "AWS_LAMBDA_RUNTIME_API=") != 1 || strings.Contains(text, "elsewhere") {
		t.Errorf("the address of the API is another's:\n%s", text)
	}
}

func TestUnstartable(t *testing.T) {
	elf := func(machine byte) string {
		return "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00" + string([]byte{machine, 0}) + strings.Repeat("\x00", 100)
	}
	musl, err := withLoader("/lib/ld-musl-x86_64.so.1")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, content string
		mode          os.FileMode
		says          string
	}{
		{"not executable", "#!/bin/sh\n", 0o644, "chmod +x"},
		{"no interpreter", "#! /no/such/bash -e\n", 0o755, "interpreter /no/such/bash,"},
		{"Windows line ends", "#!/bin/sh\r\necho\r\n", 0o755, "carriage return"},
		{"no first line", "echo hello\n", 0o755, "#!/bin/bash"},
		{"empty", "", 0o755, "empty"},
		{"other machine", elf(0xb7), 0o755, "aarch64"},
		{"macOS", "\xcf\xfa\xed\xfe\x0c\x00\x00\x01", 0o755, "GOOS=linux"},
		{"Windows", "MZ\x90\x00", 0o755, "for Windows"},
		{"no loader", musl, 0o755, "loader /lib/ld-musl-x86_64.so.1,"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstance(t, test.content, test.mode)
			_, err := i.load(nil)
			if e := core.AsError(err); !core.IsKind(err, core.KindInvalid) || e.Fault != core.FaultHandler || !strings.Contains(e.Message, test.says) || !strings.Contains(e.Message, "/bootstrap") {
				t.Errorf("%+v", err)
			}
			i.exit()
		})
	}
	i := newInstance(t, "", 0o755)
	if err := os.Remove(filepath.Join(i.dir, "bootstrap")); err != nil {
		t.Fatal(err)
	}
	if _, err := i.load(nil); !core.IsKind(err, core.KindInvalid) || !strings.Contains(err.Error(), "put the program") {
		t.Errorf("%+v", err)
	}
}

// withLoader returns a program that needs that loader.
func withLoader(loader string) (string, error) {
	dir, err := os.MkdirTemp("", "pipsqueak-loader-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	source, program := filepath.Join(dir, "main.c"), filepath.Join(dir, "main")
	if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o644); err != nil {
		return "", err
	}
	if out, err := exec.Command("cc", "-o", program, "-Wl,--dynamic-linker="+loader, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(program)
	return string(text), err
}
