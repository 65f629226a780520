package core

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Driver makes processes of one language. It is a program of its own, one for each language, and core reaches
// it over a wire (core/driver, PROTOCOL.md). It is on the path of no event, and on that of no handler's
// import.
//
// # What a driver is told
//
// A driver is told to start a process in a sandbox, to fork one into another sandbox, and to have a zygote
// import modules. It is never told to kill, wait, pause or measure: a sandbox does these from outside, for
// any language, also when the driver is dead. A driver has no policy, and no state that core could not make
// again by calling Preload.
//
// # A sequence
//
// This makes an instance of a function, from nothing. The errors are left out.
//
//	d, _ := driver.Describe(ctx)                              // which runtimes there are
//	runtime := d.Runtimes[0]
//
//	root, _ := host.Create(ctx, SandboxConfig{ID: "zygote-1", Role: RoleZygote, Runtime: runtime})
//	driver.Preload(ctx, "zygote-1", runtime.ID, root.Door())  // an interpreter, nothing imported
//
//	box, _ := host.Create(ctx, SandboxConfig{ID: "zygote-2", Role: RoleZygote, Parent: "zygote-1", Runtime: runtime, Packages: set})
//	driver.Fork(ctx, "zygote-2", "zygote-1", box.Door())      // parked: inside, doing nothing
//	pid, enter, _ := box.Entered()                            // who came through the gate, by the kernel's word
//	report, _ := driver.Import(ctx, "zygote-2", Load{Packages: dirs, Modules: []string{"numpy"}})
//
//	if report.Threads == 1 {                                  // else it must not fork
//		leaf, _ := host.Create(ctx, SandboxConfig{ID: "instance-3", Role: RoleInstance, Parent: "zygote-2", Runtime: runtime,
//			Packages: set, Code: code})
//		driver.Fork(ctx, "instance-3", "zygote-2", leaf.Door()) // or leaf.Fork(ctx), without the driver: CapabilityFork
//		// The instance is core's own now. It imports its handler and serves events over leaf.Endpoint() (core/endpoint).
//	}
//	box.Kill()                                                // ends zygote-2 and instance-3; the driver forgets both
//
// # Processes
//
// Every process has the NodeID that core gave it. In a sandbox with an endpoint it is an instance, otherwise
// a zygote. A zygote never runs handler code. An instance is never forked. A process may fork only while it
// has one thread.
//
// An instance belongs to core as soon as it is parked: it closes its connection to the driver, and the driver
// forgets it.
//
// # Sandboxes
//
// The sandbox of a node exists before the call that names it. The driver does not make it and does not enter
// it. It connects to the Gate of the Door and hands the connection to the new process, which enters through
// it (core/sandbox/enter). There the kernel attests to core which process came in; core asks nobody else. The
// process at the gate need not be the one that later talks to the driver.
//
// # Errors
//
// Every error is an *Error with a Kind and a Fault. A module that raises during its import is KindException,
// FaultHandler. Everything that the driver itself does wrong is FaultDriver, also a call that returns before
// a process has come through the gate. A call that fails leaves no process: core kills the sandbox in every
// such case, so the driver only forgets the node. When the context ends, the call returns soon with its
// error, and core takes the node for corrupt.
//
// # Death
//
// When a driver dies, its processes live on, fork no more, and end when core needs them no longer. When a
// process dies, the kernel ends everything that was forked from it, because pid namespaces nest. Core sees
// that at the sandbox. The driver sees the end of the process's control socket, and forgets the node.
//
// All methods may be called from many goroutines at once.
type Driver interface {
	// Describe returns the driver's abilities on this machine. It is called once, after the start, before any
	// other method. A missing interpreter is no error: it belongs into Problems.
	Describe(ctx context.Context) (Description, error)

	// Preload starts a root zygote from nothing: a process of the runtime with nothing imported. It returns
	// when the process has come through the gate of door and waits.
	//
	// runtime is one of the Description; another one is KindUnsupported. door is that of node id, and nobody
	// has come through it. An id that a living process has is KindConflict, FaultWorker, and that process
	// stays.
	Preload(ctx context.Context, id NodeID, runtime RuntimeID, door Door) error

	// Fork forks the zygote parent into the sandbox behind door. It returns when the child is parked: alive,
	// inside, doing nothing.
	//
	// parent is a zygote of this driver. One that has ended is KindUnavailable, FaultWorker, Retryable,
	// because core may see its end later than the driver; an instance counts as ended. One with more than one
	// thread is KindInvalid, FaultWorker. Several forks of one parent may be asked for at once: the driver
	// puts them in order. door and id are as for Preload.
	Fork(ctx context.Context, id, parent NodeID, door Door) error

	// Import makes the zygote id import modules, and returns the cost.
	//
	// id is a zygote of this driver; for one that has ended, Fork's errors hold. Modules are imported in
	// order. After any error core kills the process, because it may have imported half of them.
	Import(ctx context.Context, id NodeID, load Load) (Report, error)
}

// Description is what a driver can do on this machine.
type Description struct {
	Language     string    `json:"language"`     // "python"; also the suffix of the driver's program name
	Version      string    `json:"version"`      // of the driver
	Capabilities []string  `json:"capabilities"` // the optional parts of the contract that it implements: CapabilityInstall, …
	Runtimes     []Runtime `json:"runtimes"`     // found on this machine, the preferred one first; may be empty
	Problems     []string  `json:"problems"`     // what it misses on this machine and how to fix it, one sentence each
}

// Can reports whether the driver has a capability.
func (d Description) Can(capability string) bool { return slices.Contains(d.Capabilities, capability) }

// Runtime is one language at one version on this machine.
type Runtime struct {
	ID      RuntimeID `json:"id"`
	Version string    `json:"version"` // full, "3.11.2"
	Path    string    `json:"path"`    // of the interpreter on the host, for people
	Mounts  []Mount   `json:"mounts"`  // of the host, for processes of this runtime, beyond the system directories
	Hidden  []string  `json:"hidden"`  // directories that its processes must not see, such as packages of the host
	Tools   []Mount   `json:"tools"`   // of the host, for its installer only

	// Handlers are the files that make a directory a function of this runtime. The first one that exists
	// counts.
	Handlers []HandlerFile `json:"handlers"`
	// Extensions are those of the files that can have a handler, ".py". The first one with a file counts. An
	// empty one is for runtimes whose handler is the file.
	Extensions []string `json:"extensions"`
	// Manifests are the files in a code directory, "package.json", that decide which packages a function has.
	// Each may be absent. One that begins with "**/" counts in every directory below.
	Manifests []string `json:"manifests"`
	// Archives are patterns, as for path.Match, for the names of archives that its Scanner unpacks: "*.gem".
	// If patterns of several runtimes match, the longest one counts.
	Archives []string `json:"archives,omitempty"`
	// Registries are the addresses (URLs, or host:port) that its installer fetches from. Its sandbox reaches
	// no other.
	Registries []string `json:"registries"`
	// Programs are the third-party programs that it is made of: the interpreter, and those that its installer
	// uses.
	Programs []Program `json:"programs,omitempty"`
	// Overlay begins the names of packages that are parts of a system. Such a package is laid out like a root
	// directory, and its programs look for files in /usr and /etc: zygotes and instances see its files there,
	// before those of the host. Empty if the runtime has no such packages.
	Overlay string `json:"overlay,omitempty"`
	// SystemCalls are those that its programs need beyond what every process of a sandbox may call. They are
	// of the last section of core/sandbox/syscalls.policy.
	SystemCalls []string `json:"system_calls,omitempty"`
	// Toolchain are files and directories of the host that change whenever the tools of its Build change: its
	// compilers, the list of installed software. As long as all are the same, a deploy of the same code and
	// packages uses the earlier build. Empty if each deploy is to build.
	Toolchain []string `json:"toolchain,omitempty"`
}

// Program is a third-party program whose version can change the results of a driver.
type Program struct {
	Name    string   `json:"name"`    // "npm"
	Version string   `json:"version"` // on this machine; empty if it is not known
	Tested  []string `json:"tested"`  // the versions that the driver has been tested with
}

// HandlerFile is a file name that marks a function, and the handler that the function then has.
type HandlerFile struct {
	File    string `json:"file"`    // "handler.py"
	Handler string `json:"handler"` // "handler.handler"
}

// Mount shows a file or directory of the host inside a sandbox, read-only unless Writable.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	Writable bool   `json:"writable,omitempty"`
}

// Door is a sandbox as a driver sees it: the way into it, and nothing of what is inside.
type Door struct {
	ID   NodeID // the node that the sandbox is for
	Gate string // path of a unix socket (SOCK_SEQPACKET); the first packet names the node (core/sandbox/enter)
}

// Load is what a zygote is to import.
type Load struct {
	Packages []string // directories inside the sandbox in which modules are looked for, in order
	Modules  []string // modules to import, in order

	// Only probes set these two. A driver that does not know them ignores them.
	Watch bool     // report Reads and Asks
	Draw  []string // modules, imported before, from whose random generators the driver draws: Report.Drawn
}

// HandlerLoad is what an instance is to import, and what its handler can know of itself.
type HandlerLoad struct {
	Function   string            `json:"function"` // its name
	Version    int               `json:"version"`
	Handler    string            `json:"handler"`            // "file.symbol" in CodeDir
	Memory     int64             `json:"memory"`             // limit in bytes
	Processors int               `json:"processors"`         // that it can keep busy, at least 1; libraries start as many threads
	Env        map[string]string `json:"env,omitempty"`      // the whole environment, but for paths of packages that child programs need
	Packages   []string          `json:"packages,omitempty"` // directories inside the sandbox in which modules are looked for, in order
	Modules    []string          `json:"modules,omitempty"`  // to import before the handler, in order
	// Concurrency is how many events the instance has at once, if that is more than 1; only with
	// CapabilityConcurrency.
	Concurrency int `json:"concurrency,omitempty"`
	// Watch asks for HandlerReport.Sets. Such an instance gets no event. A driver that does not know it
	// ignores it.
	Watch bool `json:"watch,omitempty"`
}

// Report is the cost of an import, and what the import left behind.
type Report struct {
	Took    time.Duration            // of the whole import
	Modules map[string]time.Duration // of each module of Load.Modules, with everything that it imported itself
	Threads int                      // of the process afterwards; with more than one it must not fork
	// Loaded are modules of packages, named like Load.Modules, that an instance has imported without being
	// asked to.
	Loaded []string
	// Reads are the names of environment variables that the import read, AllVariables for all of them. Only
	// with Load.Watch.
	Reads []string
	// Asks are the names of modules and packages that the imported code looked for, found or not; AnyPackage
	// for all that there are. It may leave out names that no package can take, and names that a package finds
	// beside itself. Things that are no package have names of their own (IsPlace). Only with Load.Watch.
	Asks []string
	// Drawn has a text for each module of Load.Draw with random generators. Each line names a generator and
	// has a number from it, which has to differ from process to process.
	Drawn map[string]string
}

// HandlerReport is the cost of a handler's import, and what the import left behind.
type HandlerReport struct {
	Report
	// Sets are the names of environment variables that the function's own code set, changed or removed during
	// the import: AllVariables if it is not known which, InDirectory and Arguments if it changed the working
	// directory or the arguments, and LateModule names. Changes by a package during its own import do not
	// count. Only with HandlerLoad.Watch.
	Sets []string
}

// AllVariables in Report.Reads stands for every environment variable: the code has read the whole
// environment.
const AllVariables = "*"

// AnyPackage in Report.Asks stands for every package: the code has looked which packages there are.
const AnyPackage = "*"

// Names in Report.Asks that stand for no package. An instance may find something else there than a zygote.
const (
	Directory   = "."       // which directory is the working directory
	InDirectory = "./"      // its contents: before the name of an entry, or alone for all of them
	OfProcess   = "@"       // before the name of something that each process has for itself, such as its pid
	Arguments   = "@argv"   // the arguments of the process
	Random      = "@random" // random numbers that the code has drawn, and may keep
)

// LateModule in Resolution.Sets, Built.Sets and HandlerReport.Sets comes before the name of a module that the
// function's own code imports, directly or not, after it may have changed what the module finds. With
// AnyPackage as the name, every module is late that is not in the function's Imports.
const LateModule = "="

// IsPlace reports whether a name in Report.Asks is one of these. A package's name that begins with @ has a
// slash.
func IsPlace(name string) bool {
	return name == Directory || strings.HasPrefix(name, InDirectory) || strings.HasPrefix(name, OfProcess) && !strings.Contains(name, "/")
}

// Where things are inside a sandbox.
const (
	CodeDir     = "/function" // the deployed code; the working directory of zygotes and instances
	PackagesDir = "/packages" // each package in a directory of its own, <name>-<version>
	OutDir      = "/out"      // where an installer leaves its result
	ScratchDir  = "/tmp"      // private, writable, bounded; /var/tmp, /run and /dev/shm are links to it
)

// PackageDir returns the directory of a package inside a sandbox that shows it.
func PackageDir(p Package) string { return PackagesDir + "/" + p.Base() }

// UserName is the name of the user, and of the group, that code of functions runs as. Their home is
// ScratchDir.
const UserName = "function"

// UserID is the number of the user, and of the group, inside a sandbox.
const UserID = 1000

// HostName is the host name of every sandbox, so that what a package noted of it in a zygote is right in an
// instance.
const HostName = "pipsqueak"

// RelayAddress is the address of the HTTP proxy in an installer's sandbox. It leads to Runtime.Registries.
const RelayAddress = "127.0.0.1:3128"
