package core

import (
	"context"
	"time"
)

// Parts are the optional parts of a driver, by its capabilities. Each is nil when the driver does not have
// it. They are found out once, after the driver has described itself.
//
// The order of the calls in a deploy, each in a sandbox of its own:
//
//	resolution, _ := parts.Installer.Resolve(ctx, ResolveRequest{Runtime: id, Handler: "handler.handler", Door: box.Door()})
//	receipts, _ := parts.Installer.Install(ctx, InstallRequest{Runtime: id, Packages: resolution.Packages, Door: box.Door()}, progress)
//	if parts.Builder != nil {
//		built, _ := parts.Builder.Build(ctx, BuildRequest{Runtime: id, Handler: "handler.handler", Packages: set, Door: box.Door()}, progress)
//	}
//	if parts.Compiler != nil { // after the answer to the user
//		_ = parts.Compiler.Compile(ctx, CompileRequest{Runtime: id, Packages: set, Door: box.Door()})
//	}
//
// A call fails with an *Error: FaultHandler if the function's code or manifest is wrong, FaultCaller if its
// lock is, FaultWorker if a registry or the machine is, FaultDriver if the driver is. All methods may be
// called from many goroutines at once.
type Parts struct {
	Installer Installer // CapabilityInstall
	Builder   Builder   // CapabilityBuild
	Compiler  Compiler  // CapabilityCompile
	Scanner   Scanner   // CapabilityScan
}

// PartsOf returns the parts that the capabilities claim, of a driver that implements them all.
func PartsOf(all interface {
	Installer
	Builder
	Compiler
	Scanner
}, capabilities []string) (parts Parts) {
	for _, capability := range capabilities {
		switch capability {
		case CapabilityInstall:
			parts.Installer = all
		case CapabilityBuild:
			parts.Builder = all
		case CapabilityCompile:
			parts.Compiler = all
		case CapabilityScan:
			parts.Scanner = all
		}
	}
	return parts
}

// The optional parts of the contract.
const (
	CapabilityInstall = "install" // the driver implements Installer
	CapabilityBuild   = "build"   // it implements Builder
	CapabilityCompile = "compile" // it implements Compiler
	CapabilityScan    = "scan"    // it implements Scanner
	CapabilityDebian  = "debian"  // its Installer also knows Debian packages (ResolveRequest.Debian)
	CapabilityInvoke  = "invoke"  // its instances can invoke other functions (core/endpoint)
	CapabilityStream  = "stream"  // its instances can pass on a response in parts (core/endpoint)
	// CapabilityConcurrency: its instances can have several events under way (HandlerLoad.Concurrency).
	CapabilityConcurrency = "concurrency"
	CapabilityGone        = "gone" // its instances may be told that the caller of an event has gone (core/endpoint)
	CapabilityLock        = "lock" // its Installer makes locks with digests, takes them back, and installs nothing else (ResolveRequest.Lock)
	// CapabilityHandover: files that Resolve leaves in OutDir (a cache, say) are kept for Install. OutDir is
	// offered only when Resolve makes a lock and Allow is empty. Such a Resolve must not run code of the
	// function or of packages, because every function shares what Install makes.
	CapabilityHandover = "handover"
	// CapabilityFork: the driver's zygotes fork instances when core itself asks them over descriptor 4, as
	// ps_zygote does. It saves the way over the driver, which still forks zygotes.
	CapabilityFork = "fork"
)

// Installer knows the packages of its language. Each call runs third-party programs in the sandbox behind the
// request's Door, which is one of RoleInstaller. All paths in requests are paths inside that sandbox.
type Installer interface {
	// Resolve examines the deployed code in CodeDir. It resolves the function's own manifests to packages at
	// exact versions, finds the modules that the code imports, and compiles what the language can compile
	// ahead of time.
	//
	// CodeDir is writable, and only here. The registries can be reached unless the request comes with a Lock.
	// A manifest that cannot be resolved is KindInstall.
	Resolve(ctx context.Context, request ResolveRequest) (Resolution, error)

	// Install fetches packages, and leaves each in OutDir/<name>-<version>, a directory of its own. It
	// returns a receipt for each.
	//
	// The packages are those of a Resolution, or of a lock: an archive whose digest is not among theirs is
	// refused before it is read. CodeDir has the code, read-only, with the files that Resolve left there. A
	// package that may run code of its own comes alone, in one of the last calls; the packages installed
	// before are mounted then. Progress may be nil.
	Install(ctx context.Context, request InstallRequest, progress func(Progress)) ([]Receipt, error)
}

// Builder is for languages in which the code is not what runs: it bundles, links or compiles.
type Builder interface {
	// Build makes of the code in CodeDir what the handler can be imported from.
	//
	// It comes after Install: each package is mounted at its PackageDir. CodeDir is writable. There is no
	// network. If a compiler refuses the code, the error is KindBuild, FaultHandler. Progress may be nil.
	Build(ctx context.Context, request BuildRequest, progress func(Progress)) (Built, error)
}

// Compiler is for languages whose packages are imported faster once they are compiled.
type Compiler interface {
	// Compile compiles packages, each mounted at its PackageDir, without running code of theirs. It writes
	// each output to OutDir/<name>-<version>/<path>. The file is later shown at <path> inside the package, so
	// none may exist there already.
	//
	// The same package gives the same files. A file that cannot be compiled is left out, and is no error.
	// There is no network.
	Compile(ctx context.Context, request CompileRequest) error
}

// Scanner reads packages without running code of theirs.
type Scanner interface {
	// Scan returns what is suspicious in the packages, each mounted at its PackageDir, or in an archive,
	// which it unpacks.
	//
	// There is no network. An archive that cannot be read is KindInvalid, FaultHandler.
	Scan(ctx context.Context, request ScanRequest) (Scanned, error)
}

// ResolveRequest asks for the packages of deployed code.
type ResolveRequest struct {
	Runtime RuntimeID
	Handler string   // "file.symbol"
	Debian  []string // further Debian packages of the function, as "name" or "name=version"; only with CapabilityDebian
	Allow   []string // names of packages that may run code of their own when they are installed
	// Lock is the lock that the function has already, nil if Resolve is to make one. The driver takes it as
	// it is and finds out the rest, without a network. Only with CapabilityLock.
	Lock *Lock
	Door Door
}

// Resolution is what a function needs.
type Resolution struct {
	Packages []Locked          `json:"packages"` // complete; those of the request's lock if it has one
	Files    map[string]string `json:"files"`    // as in Lock
	// Imports are the names of modules that the code imports and that take time to import: neither its own,
	// nor most of the language's own.
	Imports []string `json:"imports"`
	// Perhaps are further names that may be no modules, or that the code may do without. Core tries them
	// once. Those that can be imported are imported ahead of the code, which still decides whether it imports
	// them.
	Perhaps []string `json:"perhaps"`
	// Sets are the names of environment variables that the function's own files set before or while they
	// import modules. AllVariables if it is not known which, or if they change something else that packages
	// look at during an import. LateModule names if only some of their imports come after such a change.
	Sets []string `json:"sets"`
	// Offers are names by which packages find, in instances only, something in the function's own directory
	// that they do not require. A package that has asked for one of them (Report.Asks) is imported by
	// instances of the function only. Empty if packages find all packages of the function anyway. Core adds
	// the entries at the top of the directory (InDirectory).
	Offers []string `json:"offers"`
}

// InstallRequest asks for packages.
type InstallRequest struct {
	Runtime  RuntimeID
	Packages []Locked // nothing else is installed
	Allow    []string // as in ResolveRequest
	Door     Door
}

// BuildRequest asks for code that can be imported.
type BuildRequest struct {
	Runtime  RuntimeID
	Handler  string    // "file.symbol"
	Packages []Package // of the function, each at its PackageDir
	Door     Door
}

// Built is what a build found out.
type Built struct {
	Imports []string // modules that the built code imports, in addition to those of the Resolution
	Sets    []string // as in Resolution, in addition to those of it
}

// CompileRequest asks for packages to be compiled.
type CompileRequest struct {
	Runtime  RuntimeID
	Packages []Package // each at its PackageDir
	Door     Door
}

// ScanRequest asks what is suspicious in packages, or in an archive.
type ScanRequest struct {
	Runtime  RuntimeID
	Packages []Package // of the function, each at its PackageDir
	Archive  string    // instead of packages: the path of a file directly in OutDir, which is writable
	Door     Door
}

// Scanned is what a Scan found out.
type Scanned struct {
	Packages   []Package   `json:"packages"` // that were read, by name and version; an archive names its own
	Suspicions []Suspicion `json:"suspicions"`
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

// VerbWarn is the verb of what is no step but something that a person should know, also when the deploy has
// ended.
const VerbWarn = "warn"
