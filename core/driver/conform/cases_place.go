package conform

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

var placeCases = []Case{
	{Name: "place/pid-and-directory", Clauses: []string{"G6", "G9"}, run: placePid},
	{Name: "place/user-and-host", Clauses: []string{"G9"}, run: placeUser},
	{Name: "place/owners", Clauses: []string{"G6", "G9"}, run: placeOwners},
	{Name: "place/streams-by-name", Clauses: []string{"G10", "E8"}, run: placeStreams},
	{Name: "place/orphans", Clauses: []string{"G15"}, run: placeOrphans},
	{Name: "place/signals", Clauses: []string{"G15", "E17"}, run: placeSignals},
	{Name: "place/grandchildren", Clauses: []string{"G15"}, run: placeGrandchildren},
}

// eachGeneration runs a check for an instance of each generation.
func (t *trial) eachGeneration(check func(below string, n *node)) {
	instances := t.generations()
	for _, below := range slices.Sorted(maps.Keys(instances)) {
		check(below, instances[below])
	}
}

// shell has the handler start a program and wait for it, and returns what it prints.
func (t *trial) shell(n *node, command string) string {
	var got struct {
		Out    string `json:"out"`
		Status int    `json:"status"`
	}
	t.result(n, do{"do": "run", "command": command}, &got)
	if got.Status != 0 {
		t.errorf("the program %q that the handler starts ends with %d, and has printed %.300q", command, got.Status, got.Out)
	}
	return strings.TrimSpace(got.Out)
}

func placePid(t *trial) {
	t.eachGeneration(func(below string, n *node) {
		var got struct {
			PID int    `json:"pid"`
			Cwd string `json:"cwd"`
		}
		t.result(n, do{"do": "about"}, &got)
		if want := t.shell(n, "echo $PPID"); fmt.Sprint(got.PID) != want || got.PID < 2 {
			t.errorf("below %s, the language says that the pid is %d, and a program that it starts says %s", below, got.PID, want)
		}
		if in := t.shell(n, "pwd"); got.Cwd != core.CodeDir || in != core.CodeDir {
			t.errorf("below %s, the language says that the working directory is %q, and a program that it starts %q; it is %s", below, got.Cwd, in, core.CodeDir)
		}
	})
}

func placeUser(t *trial) {
	n := t.instance()
	if got, want := t.shell(n, "id -un; id -gn; getent passwd $(id -u) | cut -d: -f6; hostname; getent hosts $(hostname)"),
		fmt.Sprintf("%s\n%[1]s\n%s\n%s\n127.0.1.1       %[3]s", core.UserName, core.ScratchDir, core.HostName); got != want {
		t.errorf("user, group, home, host name and its address are %q, and not %q", got, want)
	}
	t.shell(n, "set -e; for dir in /tmp /var/tmp /run /dev/shm; do test -d $dir -a -w $dir; done; echo x > /run/a; cat /var/tmp/a")
}

// placeOwners: programs look who could put something else in the way to a file of theirs, and trust nobody
// but root and their own user.
func placeOwners(t *trial) {
	t.eachGeneration(func(below string, n *node) {
		const want = "/ root:root 755\n/dev root:root 755\n/etc root:root 755\n/tmp root:root 1777\n/var root:root 755"
		if got := t.shell(n, "stat -c '%n %U:%G %a' / /dev /etc /tmp /var"); got != want {
			t.errorf("below %s, the directories belong to %q, and not %q", below, got, want)
		}
	})
}

// placeStreams has the handler open its streams by their names, which is another way than by their
// descriptors.
func placeStreams(t *trial) {
	n := t.instance()
	t.ask(n, do{"do": "file", "path": "/dev/stdout", "text": "by name\n"}) // an error, for nobody can read what is written there
	t.ask(n, do{"do": "file", "path": "/dev/fd/2", "text": "by number\n"})
	t.hasPrinted(n, "stdout", "by name\n")
	t.hasPrinted(n, "stderr", "by number\n")
}

// placeOrphans: more processes are left behind than a sandbox may have.
func placeOrphans(t *trial) {
	t.eachGeneration(func(below string, n *node) {
		t.shell(n, "i=0; while [ $i -lt 300 ]; do (true &); i=$((i+1)); done")
		t.alive(n, "300 orphans below "+below)
		t.shell(n, "true")
	})
}

// placeSignals: signals end what does not handle them. A language may make something else of SIGTERM, such as
// an exception.
func placeSignals(t *trial) {
	for _, signal := range []syscall.Signal{syscall.SIGABRT, syscall.SIGKILL, syscall.SIGALRM} {
		t.eachGeneration(func(below string, n *node) {
			exit := t.isCut(n, do{"do": "run", "command": fmt.Sprintf("kill -%d $PPID; sleep 5", int(signal))})
			if exit.Known && exit.Signal != int(signal) {
				t.errorf("below %s, after %v the process has ended with %+v", below, signal, exit)
			}
		})
	}
}

// placeGrandchildren: what a handler has started ends with it, however it ends.
func placeGrandchildren(t *trial) {
	t.eachGeneration(func(below string, n *node) {
		t.shell(n, "(sleep 1000 &) >/dev/null 2>&1; sleep 1000 >/dev/null 2>&1 & true")
		inside := namespace(n.pid, "pid")
		if started := inNamespace(inside); len(started) < 4 { // init, the handler's process, and two more
			t.errorf("below %s, only the processes %v are in its sandbox", below, started)
		}
		t.isCut(n, do{"do": "run", "command": "kill -9 $PPID; sleep 5"})
		if !t.soon(func() bool { return len(inNamespace(inside)) == 0 }) {
			t.errorf("below %s, the processes %v outlive the one that started them", below, inNamespace(inside))
		}
	})
}

// inNamespace returns the processes of a pid namespace.
func inNamespace(name string) (pids []string) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		if link, err := os.Readlink("/proc/" + entry.Name() + "/ns/pid"); err == nil && link == name {
			pids = append(pids, entry.Name())
		}
	}
	return pids
}
