package core

import (
	"context"
	"strings"
	"time"
)

// Driver makes processes of one language. It is implemented by a program of its own, one for each language, and is reached
// over a wire (core/driver, PROTOCOL.md); nothing in it is on the path of an event, nor of a handler's import.
//
// What a driver is told and what it is not. A driver is told to start a process in a sandbox, to fork one into another
// sandbox, and to have a zygote import modules. It is never told to kill, wait, pause or measure: a sandbox can do these from outside, for any
// language, also when the driver is dead. A driver keeps no policy and no state that core could not make anew by calling
// Preload again.
//
// Processes. Every process has the NodeID that core gave it. In a sandbox with an endpoint it is an instance, else a zygote. An
// instance is core's own as soon as it is parked: it closes what ties it to the driver, which forgets it then, and core has it
// import its handler and answer events over the endpoint (core/endpoint). A zygote never runs handler code; an instance is never
// forked. A process may fork only while it has one thread.
//
// Sandboxes. The sandbox of a node exists before the call that names it. The driver does not make it and does not enter it:
// it connects to the sandbox's Gate and hands the connection to the new process, which enters through it (core/sandbox/enter).
// Core attests there, through the kernel, which process came in, and asks nobody else: the process that comes through the gate
// need not be the one that later talks to the driver. When none has come through by the time the call returns, that is a fault
// of the driver.
//
// Calls. All methods may be called from many goroutines at once. A call that ends with an error leaves no process behind: core
// kills the sandbox in every such case, so the driver has only to forget the node. When the context ends, the call returns soon
// with its error; core presumes the node corrupt. Errors are *Error with a Kind and a Fault: a module that raises when it is
// imported is FaultHandler with KindException, everything the driver does wrong itself FaultDriver.
//
// Death. When a driver dies, its processes live on, fork no more, and end when core has no more use for them. When a process
// dies, the kernel ends everything that was forked from it (nested pid namespaces); core sees it, and the driver forgets the
// node when it sees the end of its control socket.
type Driver interface {
	// Describe tells what the driver can do on this machine. It is called once, after the start.
	Describe(ctx context.Context) (Description, error)
	// Preload starts a root zygote from nothing: a process of the runtime with nothing imported.
	Preload(ctx context.Context, id NodeID, runtime RuntimeID, sandbox Sandbox) error
	// Fork forks the zygote parent into the sandbox. The child is parked when Fork returns: alive, inside, doing nothing.
	Fork(ctx context.Context, id, parent NodeID, sandbox Sandbox) error
	// Import makes a zygote import modules.
	Import(ctx context.Context, id NodeID, load Load) (Report, error)
}

// Installer is the second service of a driver: it knows its language's packages. Each call runs third-party programs, and so
// gets a sandbox of RoleInstaller to run them in; paths in requests are paths inside of that sandbox.
type Installer interface {
	// Resolve examines the deployed code in CodeDir: it resolves the function's own manifest of packages to exact versions,
	// finds the modules that the code imports, and compiles what the language can compile ahead of time. The code directory
	// is writable here, and only here.
	Resolve(ctx context.Context, request ResolveRequest) (Resolution, error)
	// Install fetches the packages and leaves each in a directory of its own, OutDir/<name>-<version>, and returns a receipt for each. The code is in CodeDir, read-only: Resolve may have left
	// there what else it found out. Progress may be nil.
	Install(ctx context.Context, request InstallRequest, progress func(Progress)) ([]Receipt, error)
}

// Builder is a further part of an Installer, for languages in which the code is not what runs: it bundles, links or compiles.
type Builder interface {
	// Build makes of the deployed code in CodeDir what its handler can be imported from. It comes after Install: the packages
	// are mounted, the code directory is writable, and there is no network. What the compiler has against the code is KindBuild.
	// Progress may be nil.
	Build(ctx context.Context, request BuildRequest, progress func(Progress)) (Built, error)
}

// Compiler is a further part of an Installer, for languages whose packages are imported faster when they were compiled before.
type Compiler interface {
	// Compile compiles packages, each of which is mounted at its PackageDir, without running anything of them. What it makes it leaves at
	// OutDir/<name>-<version>/<path>: it is going to be seen at that path of the package, where there must be nothing yet. The same package gives
	// the same files. What cannot be compiled is left out. There is no network.
	Compile(ctx context.Context, request CompileRequest) error
}

// Scanner is a further part of an Installer: it reads packages without running anything of them.
type Scanner interface {
	// Scan returns what is suspicious in the packages, each of which is mounted at its PackageDir, or in an archive, which it
	// unpacks. There is no network. An archive that cannot be read is KindInvalid, fault handler.
	Scan(ctx context.Context, request ScanRequest) (Scanned, error)
}

// Where things are inside a sandbox.
const (
	CodeDir     = "/function" // the deployed code; the working directory of zygotes and instances
	PackagesDir = "/packages" // each package in a directory of its own, <name>-<version>
	OutDir      = "/out"      // where an installer leaves its result
	ScratchDir  = "/tmp"      // private, writable, bounded; /var/tmp, /run and /dev/shm are links to it
)

// UserName is the name of the user, and of the group, that code of functions runs as. Their home is ScratchDir.
const UserName = "function"

// HostName is the host name of every sandbox: what a package has noted of it in a zygote is right in an instance.
const HostName = "pipsqueak"

// RelayAddress is where inside an installer's sandbox the HTTP proxy listens by which it reaches Runtime.Registries.
const RelayAddress = "127.0.0.1:3128"

// PackageDir returns where a package is inside a sandbox that shows it.
func PackageDir(p Package) string { return PackagesDir + "/" + p.Base() }

// Description is what a driver can do on this machine.
type Description struct {
	Language     string    `json:"language"`     // "python"; also the suffix of the driver's program name
	Version      string    `json:"version"`      // of the driver
	Capabilities []string  `json:"capabilities"` // optional parts of the contract that this driver implements: CapabilityInstall, …
	Runtimes     []Runtime `json:"runtimes"`     // found on this machine, the preferred one first; may be empty
	Problems     []string  `json:"problems"`     // what it misses on this machine and how to mend it, one sentence each
}

// The optional parts of the contract.
const (
	CapabilityInstall = "install" // the driver implements Installer
	CapabilityBuild   = "build"   // it implements Builder
	CapabilityCompile = "compile" // it implements Compiler
	CapabilityScan    = "scan"    // it implements Scanner
	CapabilityDebian  = "debian"  // its Installer knows Debian packages too (ResolveRequest.Debian)
	CapabilityInvoke  = "invoke"  // its instances can invoke other functions (core/endpoint)
	// What its Resolve leaves in OutDir, such as a cache, its Install finds there. OutDir is there when Resolve makes a lock and Allow is empty: then
	// Resolve runs nothing of the function or of packages, for all functions share what Install makes of it.
	CapabilityHandover = "handover"
	CapabilityLock     = "lock" // its Installer gives locks with digests, takes them back, and installs nothing else (ResolveRequest.Lock)
)

// Runtime is one language at one version on this machine.
type Runtime struct {
	ID      RuntimeID `json:"id"`
	Version string    `json:"version"` // full, "3.11.2"
	Path    string    `json:"path"`    // of the interpreter on the host, for people
	Mounts  []Mount   `json:"mounts"`  // what of the host a process of this runtime has to see, besides the system directories
	Hidden  []string  `json:"hidden"`  // directories that it must not see, such as packages of the host
	Tools   []Mount   `json:"tools"`   // what its installer has to see besides
	// Handlers are the files that make a directory a function of this runtime, in the order in which they are looked for.
	Handlers []HandlerFile `json:"handlers"`
	// Extensions are those of the files that a handler can be in, ".py", in the order in which they are looked for. An empty one
	// is for runtimes whose handler is the file.
	Extensions []string `json:"extensions"`
	// Manifests are the files in a code directory that decide which packages a function has, "package.json", as far as it has them. One
	// that begins with "**/" is meant in every directory below.
	Manifests []string `json:"manifests"`
	// Archives are patterns, as path.Match has them, of the names of archives that its Scanner unpacks, "*.gem". Where those of several
	// runtimes match, the longest counts.
	Archives []string `json:"archives,omitempty"`
	// Registries are the addresses (URLs, or host:port) that its installer fetches from: no other can be reached from its sandbox.
	Registries []string `json:"registries"`
	// Programs are those of others that it is made of: the interpreter, and what its installer uses.
	Programs []Program `json:"programs,omitempty"`
	// Overlay is how the names of packages begin that are parts of a system, empty when there are none: laid out like a root directory, and with programs
	// that look for files in /usr and /etc. Zygotes and instances see their files there too, before the host's.
	Overlay string `json:"overlay,omitempty"`
	// Toolchain are files and directories of the host that are not the same any more when something else was
	// installed that its Build works with: its compilers, the list of what the system has. What was built of
	// the same code, for the same packages, is then used again. Empty: each deploy builds.
	Toolchain []string `json:"toolchain,omitempty"`
}

// Program is one of others whose version can change what a driver finds out with it.
type Program struct {
	Name    string   `json:"name"`    // "npm"
	Version string   `json:"version"` // the one on this machine; empty when it does not say
	Tested  []string `json:"tested"`  // the versions that the driver has been tested with
}

// HandlerFile is a file name that marks a function and the handler that it then has.
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

// Sandbox is a sandbox as a driver sees it: a door.
type Sandbox struct {
	ID   NodeID // the node it is for
	Gate string // path of a unix socket (SOCK_SEQPACKET); the first packet names the node, see core/sandbox/enter
}

// Load is what a zygote is to import.
type Load struct {
	Packages []string // directories inside the sandbox to look for modules in, in order
	Modules  []string // modules to import, in order
	// What a probe asks besides. A driver that does not know it leaves it.
	Watch bool     // to report the environment variables that the imported code reads meanwhile, and the packages that it asks for
	Draw  []string // modules that were imported before, whose random generators are to be drawn from
}

// HandlerLoad is what an instance is to import, and what its handler is told of itself.
type HandlerLoad struct {
	Function string `json:"function"` // its name
	Version  int    `json:"version"`
	Handler  string `json:"handler"` // "file.symbol" in CodeDir
	Memory   int64  `json:"memory"`  // limit in bytes
	// Processors is how many it can keep busy, at least 1: libraries that start a thread for each of the machine's are to start so many.
	Processors int               `json:"processors"`
	Env        map[string]string `json:"env,omitempty"`      // the whole environment of the process, but for where programs that it starts find its packages
	Packages   []string          `json:"packages,omitempty"` // directories inside the sandbox to look for modules in, in order
	Modules    []string          `json:"modules,omitempty"`  // to import before the handler, in order
	// Watch asks for HandlerReport.Sets. Such an instance gets no event. A driver that does not know it
	// leaves it.
	Watch bool `json:"watch,omitempty"`
}

// HandlerReport is what the import of a handler cost, and left behind.
type HandlerReport struct {
	Report
	// Sets are the names of environment variables that the function's own code has set, changed or removed
	// during the import, AllVariables when it is not known which; InDirectory and Arguments when it has changed
	// the working directory or the arguments. What a package does while it is imported itself is not among
	// them. Only with HandlerLoad.Watch.
	Sets []string
}

// Report is what an import cost, and what it left behind.
type Report struct {
	Took    time.Duration            // of the whole import
	Modules map[string]time.Duration // of each module of Load.Modules, with what it imported itself
	Threads int                      // of the process after it; more than one and it must not fork
	// Loaded are modules of packages, named as Load.Modules are, that an instance has imported besides those that it was asked to.
	Loaded []string
	// Reads are the names of environment variables that were read during the import, AllVariables for all of them. Only with Load.Watch.
	Reads []string
	// Asks are names of modules, and of packages, that the imported code looked for, found or not, AnyPackage for all that there are. Those that no package can
	// take the place of may be left out, and what a package finds wherever it is found itself. What is no package
	// has names of its own (IsPlace). Only with Load.Watch.
	Asks []string
	// Drawn has text for those of Load.Draw that have random generators: a line for each, with its name and what it gave, which is to differ from process to process.
	Drawn map[string]string
}

// AllVariables in Report.Reads stands for every environment variable: the code has looked at the whole environment.
const AllVariables = "*"

// AnyPackage in Report.Asks stands for every package: the code has looked at which there are.
const AnyPackage = "*"

// Names in Report.Asks that stand for no package, but for what may be another thing in an instance than in a
// zygote.
const (
	Directory   = "."  // which directory is the working directory
	InDirectory = "./" // what is in it: before the name of an entry, or alone for all of them
	OfProcess   = "@"  // before the name of something that each process has for itself, such as its pid
	Arguments   = "@argv"
)

// IsPlace reports whether a name in Report.Asks is one of these. A package's name that begins with @ has a slash.
func IsPlace(name string) bool {
	return name == Directory || strings.HasPrefix(name, InDirectory) || strings.HasPrefix(name, OfProcess) && !strings.Contains(name, "/")
}

// ResolveRequest asks for the packages of deployed code.
type ResolveRequest struct {
	Runtime RuntimeID
	Handler string   // "file.symbol"
	Debian  []string // Debian packages that the function names besides, as "name" or "name=version"; only with CapabilityDebian
	Allow   []string // names of packages that may run code of their own when they are installed
	// Lock is the lock of the function when there is one already: it is to be taken as it is, there is no network, and only
	// the rest is to be found out. Nil when it is to be made; only with CapabilityLock.
	Lock    *Lock
	Sandbox Sandbox
}

// Resolution is what a function needs.
type Resolution struct {
	Packages []Locked          `json:"packages"` // complete; those of the request's lock when it has one
	Files    map[string]string `json:"files"`    // as in Lock
	Imports  []string          `json:"imports"`  // names of modules that the code imports, that are not its own, and that take their time: the language's own mostly do not
	// Perhaps are names like those of Imports that may be no modules, or that the code may do without. They are tried once, and what can be imported is
	// imported ahead of the code, which imports it, or not, as it would.
	Perhaps []string `json:"perhaps"`
	// Sets are the names of environment variables that the function's own files set before or while they import modules, AllVariables when it is not known
	// which, or when they change something else that packages look at when they are imported.
	Sets []string `json:"sets"`
	// Offers are names by which packages find in the function's own directory what they do not require, in instances alone. A package that has asked for
	// one of them, as in Report, is imported by instances of the function only. Empty where packages find all packages of the function.
	// Core adds what the directory has at its top (InDirectory).
	Offers []string `json:"offers"`
}

// InstallRequest asks for packages.
type InstallRequest struct {
	Runtime  RuntimeID
	Packages []Locked // nothing else is installed
	Allow    []string // as in ResolveRequest
	Sandbox  Sandbox
}

// BuildRequest asks for code that can be imported.
type BuildRequest struct {
	Runtime  RuntimeID
	Handler  string    // "file.symbol"
	Packages []Package // of the function, each at its PackageDir
	Sandbox  Sandbox
}

// CompileRequest asks for packages to be compiled.
type CompileRequest struct {
	Runtime  RuntimeID
	Packages []Package // each at its PackageDir
	Sandbox  Sandbox
}

// ScanRequest asks what is suspicious in packages, or in an archive.
type ScanRequest struct {
	Runtime  RuntimeID
	Packages []Package // of the function, each at its PackageDir
	Archive  string    // instead of packages: the path of a file directly in OutDir, which is writable
	Sandbox  Sandbox
}

// Scanned is what a Scan found out.
type Scanned struct {
	Packages   []Package   `json:"packages"` // that were read, by name and version; of an archive as it says itself
	Suspicions []Suspicion `json:"suspicions"`
}

// Built is what a build found out.
type Built struct {
	Imports []string // modules that the built code imports, besides those of the Resolution
}

// Progress is one step of a deploy, for a person who waits.
type Progress struct {
	Verb   string        `json:"verb"`            // "deploy", "install", …, or VerbWarn
	Item   string        `json:"item"`            // a package, a file
	Done   int64         `json:"done"`            // of Total
	Total  int64         `json:"total"`           // 0 when it is not known
	Detail string        `json:"detail"`          // one phrase
	Ended  bool          `json:"ended,omitempty"` // whether this is the last of the step
	Took   time.Duration `json:"took,omitempty"`  // of a step that has ended
	Bytes  int64         `json:"bytes,omitempty"` // that were fetched for it
}

// VerbWarn is the verb of what is no step but something that a person should know, also when the deploy has ended.
const VerbWarn = "warn"
