package integration

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// attack is something that somebody tries. Its walls are those that stop it: with all of them taken down it
// gets something done, and BenchmarkAttackWithout shows that. Where no build can show it, unshown says why.
type attack struct {
	name    string
	by      role
	walls   string // names of walls, with " + " between them
	unshown string
	open    string // the hole, while it is not closed
}

// role is who attacks: those who run code inside, a bit each, in every language; and those outside.
type role int

// The roles.
const (
	handler   role = 1 << iota // in an instance
	module                     // a package that a zygote imports which was forked from a root zygote
	later                      // a package that a zygote of a later generation imports
	builder                    // the build of a compiled function
	dependent                  // a handler whose function has a package; in the table with the other handlers
	outside                    // a client, a deployer, an installer, a page, another user, a server: its attack says who

	packaged   = module | later
	everywhere = handler | packaged | builder
)

// columns are the roles as the table has them.
var columns = []struct {
	role
	name string
}{{handler, "handler"}, {module, "package"}, {later, "later"}, {builder, "build"}, {outside, "outside"}}

func (by role) String() string {
	for _, column := range columns {
		if column.role == by {
			return column.name
		}
	}
	return "anybody"
}

// cell is a place in the table: an attack by somebody in a language.
type cell struct {
	attack, language string
	by               role
}

// outcome is what came of an attack there.
type outcome struct {
	fell bool
	how  string
}

// arena is a machine that is attacked: a worker, with what it must not be made to give away.
type arena struct {
	worker    *worker
	programs  string            // of the build that is attacked
	host      string            // a directory of the host, with a canary that all users can read, and a secret of root's
	wanted    func(attack) bool // the attacks to try
	outcomes  map[cell]outcome  // by now
	listener  string            // the address of the host's server
	echo      string            // the function that is there for clients
	heard     chan string       // by the host's servers
	addresses map[string]string // of the packages of each language
	locked    *worker           // one with tokens, when somebody has needed it
	others    []*worker         // all besides the first one
	lacking   map[string]bool   // attacks on what this machine's kernel does not have
}

// inside returns the names of the attacks that are tried by one who runs code, a line each; left of those
// that another one finds traces of.
func (a *arena) inside(by role) string { return a.names(insideAttacks, by) }
func (a *arena) left(by role) string   { return a.names(traceAttacks, by) }

func (a *arena) names(list []attack, by role) (lines string) {
	for _, one := range list {
		if one.by&by != 0 && a.wanted(one) {
			lines += one.name + "\n"
		}
	}
	return lines
}

// note notes what came of the attacks of one that runs code, as run.c says it. What was to be tried must have
// been tried.
func (a *arena) note(t *testing.T, language string, by role, wanted string, told map[string]string) {
	t.Helper()
	for name := range strings.Lines(wanted) {
		name = strings.TrimSpace(name)
		if a.lacking[name] {
			continue
		}
		how, tried := told[name]
		if !tried {
			t.Errorf("%s: nobody tried to %s", language, name)
			continue
		}
		fell := strings.HasPrefix(how, "DONE: ")
		if before, noted := a.outcomes[cell{name, language, by}]; !noted || fell && !before.fell {
			a.outcomes[cell{name, language, by}] = outcome{fell, how}
		}
	}
}

// enter makes the host's side of the attacks, and starts a worker of the build with packages of all languages
// to be had.
func enter(t *testing.T, programs string, wanted func(attack) bool) *arena {
	t.Helper()
	system(t)
	a := &arena{programs: programs, wanted: wanted, outcomes: map[cell]outcome{}, heard: make(chan string, 256)}
	var err error
	if a.host, err = os.MkdirTemp("/opt", "pipsqueak-attack-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what is in /tmp comes there without the wall scratch
		_ = errors.Join(os.RemoveAll(a.host), os.RemoveAll("/tmp/attack"), os.RemoveAll("/tmp/taker"), os.RemoveAll("/tmp/mounted-binfmt_misc"))
	})
	for name, mode := range map[string]os.FileMode{"canary": 0o644, "secret": 0o600} {
		coretest.Must(t, os.WriteFile(filepath.Join(a.host, name), []byte(canary), mode))
	}
	coretest.Must(t, os.Chmod(a.host, 0o755))
	server := hear(t, "tcp", "127.0.0.1:0", a.heard)
	probe, noIPv6 := net.Listen("tcp", "[::1]:0")
	if noIPv6 == nil {
		_ = probe.Close()
		hear(t, "tcp", fmt.Sprintf("[::1]:%d", server.Addr().(*net.TCPAddr).Port), a.heard)
	}
	hear(t, "unix", a.abstract(), a.heard)
	hear(t, "unix", filepath.Join(a.host, "socket"), a.heard)
	coretest.Must(t, os.Chmod(filepath.Join(a.host, "socket"), 0o666))
	a.listener = server.Addr().String()
	build := a.compiler(t, server.Addr().(*net.TCPAddr).Port)
	a.lacking = a.lacks(t, build)
	a.lacking["reach the host by IPv6"] = noIPv6 != nil
	a.addresses = a.publish(t, build)
	data := filepath.Join(a.host, "data")
	a.worker = startWithSources(t, programs, data, a.addresses["native"])
	prefer(t, a.worker)
	t.Cleanup(func() {
		for _, w := range a.others {
			if err := w.stop(); err != nil {
				t.Error(err)
			}
		}
	})
	for _, l := range attackers {
		if !a.needs(everywhere|dependent) || l.publish == nil && !a.needs(handler) {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			coretest.Requires(t, Runtime(l.program))
			l.attack(t, a, build)
		})
	}
	for _, one := range outsiders {
		if wanted(one.attack) {
			t.Run(one.who, func(t *testing.T) {
				got := one.try(t, a)
				a.outcomes[cell{one.name, "", outside}] = outcome{got != "", got}
			})
		}
	}
	return a
}

// prefer has sandboxes get a processor before all others of the machine: what takes more than it may is not
// to be stopped by others that want it too.
func prefer(t *testing.T, w *worker) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", w.cmd.Process.Pid))
	coretest.Must(t, err)
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		tree, isOwn := strings.CutSuffix(part[2], "-worker")
		switch {
		case isOwn && part[1] == "":
			coretest.Must(t, os.WriteFile(filepath.Join("/sys/fs/cgroup", tree, "cpu.weight"), []byte("10000"), 0))
		case isOwn && slices.Contains(strings.Split(part[1], ","), "cpu"):
			coretest.Must(t, os.WriteFile(filepath.Join("/sys/fs/cgroup/cpu", tree, "cpu.shares"), []byte("262144"), 0))
		}
	}
}

// lacks returns the attacks for which this machine has nothing: those of x86-64's processors on another one;
// and those that only the filter of system calls stops, if the kernel says so to a user whom no filter stops.
func (a *arena) lacks(t *testing.T, build compile) map[string]bool {
	t.Helper()
	names := ""
	for _, one := range insideAttacks {
		if one.walls == "seccomp" && a.wanted(one) {
			names += one.name + "\n"
		}
	}
	lacking, told := map[string]bool{}, map[string]string{}
	for _, name := range []string{"talk to the machine's ports", "talk to all ports of the machine", "make segments of 16 bits",
		"call the kernel by the numbers of 32 bits", "call the kernel by the numbers of x32"} {
		lacking[name] = runtime.GOARCH != "amd64"
	}
	if names == "" {
		return lacking
	}
	program := filepath.Join(a.host, "unfiltered")
	coretest.Must(t, os.WriteFile(program, []byte(build(t, "", mischief, "-DPROGRAM", fmt.Sprintf("-DAT_IMPORT=%q", names))), 0o755))
	coretest.Must(t, json.Unmarshal([]byte(as(t, program)), &told))
	for name, how := range told {
		if strings.HasSuffix(how, "Function not implemented") || strings.HasSuffix(how, "Address family not supported by protocol") {
			lacking[name] = true
		}
	}
	return lacking
}

// needs reports whether there is an attack to try by one of these.
func (a *arena) needs(by role) bool {
	return slices.ContainsFunc(attacks, func(one attack) bool { return one.by&by != 0 && a.wanted(one) })
}

// survivor is what a process calls itself that wants to stay.
func (a *arena) survivor() string { return "stay-" + a.host[len(a.host)-8:] }

// abstract is the name of a socket of the host that is no file.
func (a *arena) abstract() string { return "@" + filepath.Base(a.host) }

// startWithSources starts a worker that takes Debian's packages from where the files of a directory say.
func startWithSources(t *testing.T, programs, data, sources string) *worker {
	t.Helper()
	w, err := launch(exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec", `mount --bind "$1" /etc/apt/sources.list.d; shift; exec "$@"`, "sh", sources,
		filepath.Join(programs, "pipsqueak"), "serve", "--listen", "127.0.0.1:0", "--data", data), data)
	if err != nil {
		t.Fatal(err)
	}
	stopWith(t, w)
	return w
}

// compile makes the library of one who attacks, with the adapter to its language, and returns its bytes. The
// stranger is a package that it does not depend on.
type compile func(t *testing.T, adapter, stranger string, flags ...string) string

// compiler compiles the attacks, which are the same for everybody.
func (a *arena) compiler(t *testing.T, port int) compile {
	t.Helper()
	sources, objects := filepath.Join(repositoryRoot(t), "integration", "testdata", "attacks"), t.TempDir()
	cc := func(arguments ...string) {
		t.Helper()
		if out, err := exec.Command("cc", arguments...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	taker := filepath.Join(objects, "taker")
	cc("-static", "-no-pie", "-s", "-o", taker, filepath.Join(sources, "taker.c"))
	flags := []string{"-O1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", fmt.Sprintf("-DHOST=%q", a.host), fmt.Sprint("-DSERVER_PORT=", port),
		fmt.Sprintf("-DABSTRACT=%q", a.abstract()[1:]), fmt.Sprintf("-DADDRESS=%q", ownAddress()), fmt.Sprintf("-DTAKER=%q", taker)}
	var shared []string
	for _, name := range []string{"files", "processes", "namespaces", "calls", "sockets", "limits", "hooks"} {
		object := filepath.Join(objects, name+".o")
		cc(append(flags, "-c", "-o", object, filepath.Join(sources, name+".c"))...)
		shared = append(shared, object)
	}
	made := map[string]string{}
	return func(t *testing.T, adapter, stranger string, more ...string) string {
		t.Helper()
		key := fmt.Sprint(adapter, stranger, more)
		if made[key] == "" {
			out := filepath.Join(objects, fmt.Sprint("library-", len(made)))
			kind := []string{"-shared", "-Wl,-Bsymbolic"}
			if slices.Contains(more, "-DPROGRAM") {
				kind = nil
			}
			all := slices.Concat(flags, kind, []string{"-o", out, fmt.Sprintf("-DSTRANGER=%q", stranger), filepath.Join(sources, "run.c"),
				filepath.Join(sources, "traces.c"), "-I", filepath.Join(a.programs, "libexec", "native", "include")}, more, shared)
			if slices.Contains(more, "-DLINKED") { // by the name that the package's library has
				needed := filepath.Join(objects, "libbystander.so")
				cc("-shared", "-Wl,-soname,libbystander.so.1", "-o", needed, "-x", "c", "/dev/null")
				all = append(all, "-Wl,--no-as-needed", needed)
			}
			if adapter != "" {
				all = append(all, filepath.Join(sources, adapter))
			}
			cc(all...)
			text, err := os.ReadFile(out)
			coretest.Must(t, err)
			made[key] = string(text)
		}
		return made[key]
	}
}

// ownAddress is one by which other machines reach this one, or one of nobody's.
func ownAddress() string {
	addresses, err := net.InterfaceAddrs()
	if err == nil {
		for _, address := range addresses {
			if network, is := address.(*net.IPNet); is && network.IP.To4() != nil && !network.IP.IsLoopback() {
				return network.IP.String()
			}
		}
	}
	return "192.0.2.2"
}

// hear listens, and reports everybody who comes.
func hear(t *testing.T, network, address string, heard chan<- string) net.Listener {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			text := make([]byte, 64)
			n, _ := conn.Read(text)
			select {
			case heard <- fmt.Sprintf("%s: %q", listener.Addr(), text[:n]):
			default:
			}
			_ = conn.Close()
		}
	}()
	return listener
}

// fell returns where an attack got something done.
func (a *arena) fell(one attack) (places []cell) {
	for where, came := range a.outcomes {
		if came.fell && where.attack == one.name {
			places = append(places, where)
		}
	}
	return places
}

// tried reports whether somebody has tried an attack: with go test -run a part of them can be left out.
func (a *arena) tried(one attack) bool {
	for where := range a.outcomes {
		if where.attack == one.name {
			return true
		}
	}
	return false
}

// table is what came of all attacks, a line each: attack × language × role.
func (a *arena) table(list []attack) string {
	var out strings.Builder
	names := []string{}
	for _, l := range attackers {
		names = append(names, l.name)
	}
	places := func(visit func(by role, language, title string)) {
		for _, column := range columns {
			for _, name := range names {
				switch {
				case column.role == outside:
					visit(outside, "", "outside")
					return
				case column.role == builder && name == "native", column.role != builder && (column.role == handler || name != "bootstrap"):
					visit(column.role, name, column.name[:3]+"."+name[:2])
				}
			}
		}
	}
	fmt.Fprintf(&out, "%-56s", "attack")
	places(func(_ role, _, title string) { fmt.Fprintf(&out, " %-7s", title) })
	fmt.Fprintf(&out, " stopped by\n")
	fallen := []string{}
	for _, one := range list {
		if !a.wanted(one) {
			continue
		}
		fmt.Fprintf(&out, "%-56s", one.name)
		places(func(by role, language, _ string) {
			found, tried := a.outcomes[cell{one.name, language, by}]
			word := "–"
			switch {
			case found.fell:
				word = "FELL"
				fallen = append(fallen, fmt.Sprintf("%s, %s %s: %s", one.name, language, by, found.how))
			case tried:
				word = "holds"
			}
			fmt.Fprintf(&out, " %-7s", word)
		})
		fmt.Fprintf(&out, " %s\n", cmp.Or(one.walls, one.unshown))
	}
	holds := 0
	for found := range maps.Values(a.outcomes) {
		if !found.fell {
			holds++
		}
	}
	fmt.Fprintf(&out, "\n%d attacks; tried in %d places: %d hold, %d fell. A – makes no sense, or needs what this machine lacks.\n", len(list), len(a.outcomes), holds, len(a.outcomes)-holds)
	for _, line := range fallen {
		fmt.Fprintln(&out, "FELL:", line)
	}
	return out.String()
}
