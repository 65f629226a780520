package core

import "time"

// Function is what a user deploys, complete: nothing more has to be found out to start it.
//
// A deploy makes a Function, and so does each further deploy of the same name, with the next Version. A
// deployed one does not change, with these exceptions: what is learned of its imports (Imports, Loaded,
// Apart, Weights, Tried, Watched, Changes), and what the worker knows at the moment it is asked (Vulnerable,
// Unready).
//
// An instance of it is made of these fields:
//
//	host.Create(ctx, SandboxConfig{ID: id, Role: RoleInstance, Parent: zygote, Runtime: runtime, Packages: fn.Packages,
//		Code: fn.Code, Function: fn.Name, Version: fn.Version, Limits: fn.Limits})
//	endpoint.Import(ctx, conn, HandlerLoad{Function: fn.Name, Version: fn.Version, Handler: fn.Handler,
//		Memory: fn.Limits.Memory, Processors: InstanceProcessors, Env: fn.Environment(ID), Packages: dirs, Modules: imports})
//
// The other fields (Network, Egress, Secrets, Storage, …) go with it. Its zygote has imported Imports and
// Loaded without those of Apart, from Packages without those of Aside.
type Function struct {
	Name string `json:"name"` // the full one, as ValidName has it
	// Version counts the deploys of the name from 1, also beyond a removal: no two deploys have the same name
	// and version.
	Version  int `json:"version"`
	Replaced int `json:"replaced,omitempty"` // the version that this one has replaced; 0 if there was no function of its name
	// Application is the application that it belongs to, empty if it was deployed alone. A later deploy of
	// the function alone leaves it there.
	Application string            `json:"application,omitempty"`
	Isolated    bool              `json:"isolated,omitempty"` // as its namespace was when it was deployed
	Runtime     RuntimeID         `json:"runtime"`
	Handler     string            `json:"handler"`       // "file.symbol"
	Code        string            `json:"code"`          // digest of the code directory in the store, "sha256:<hex>"
	Packages    Set               `json:"packages"`      // all that it needs, installed
	Imports     []string          `json:"imports"`       // modules of Packages that its code imports, in the order of the code
	Env         map[string]string `json:"env,omitempty"` // of its settings
	// EnvSet are variables that were set for it beside its settings, in place of those of the same names. A
	// deploy leaves them as they are.
	EnvSet map[string]string `json:"env_set,omitempty"`
	// Secrets are those of its namespace that its instances get, and no zygote.
	Secrets []SecretUse `json:"secrets,omitempty"`
	Storage *Storage    `json:"storage,omitempty"`
	Limits  Limits      `json:"limits"`
	Public  bool        `json:"public,omitempty"` // anybody may invoke it, without a token
	// Network is what it asks for, empty when it does not. Egress are the only destinations of its
	// connections, as ParseDestination reads them; without one they are all that the Network reaches.
	Network  Network   `json:"network,omitempty"`
	Egress   []string  `json:"egress,omitempty"`
	Routes   []string  `json:"routes,omitempty"` // addresses besides its name: METHOD HOST/PATH, where HOST may be absent (core/routes)
	CORS     *CORS     `json:"cors,omitempty"`
	Deployed time.Time `json:"deployed"` // from when on it could be invoked
	// Signers are the ids of the keys that its code was signed with, of those that the worker asks for
	// (docs/operations.md).
	Signers []string `json:"signers,omitempty"`
	// Vulnerable is the worst severity of the known vulnerabilities of its packages, empty if the worker
	// knows of none.
	Vulnerable Severity `json:"vulnerable,omitempty"`
	// Unready is the reason why its next start would not be a fork, empty if it would be one.
	Unready string `json:"unready,omitempty"`
	// Loaded are modules of Packages that its instances have imported and that are not in Imports. A zygote
	// imports them ahead. An instance that has no such zygote leaves them to the code, which may do without
	// them.
	Loaded []string `json:"loaded,omitempty"`
	// Apart are the modules that no zygote imports for it, each with the reason: "grpcio starts 3 threads at
	// import".
	Apart map[string]string `json:"apart,omitempty"`
	// Weights are the bytes of memory that the import of each of its modules takes, without those that an
	// earlier module in the list needs too.
	Weights map[string]int64 `json:"weights,omitempty"`
	// Perhaps, Sets and Offers are as in Resolution. Sets also has those of Built, and Offers has the entries
	// of its code directory, behind InDirectory.
	Perhaps []string `json:"perhaps,omitempty"`
	Sets    []string `json:"sets,omitempty"`
	Offers  []string `json:"offers,omitempty"`
	// Watched is whether its handler was imported once under observation. Changes are the variables that its
	// code set then, as in HandlerReport.Sets; AllVariables as long as nobody has observed it.
	Watched bool     `json:"watched,omitempty"`
	Changes []string `json:"changes,omitempty"`
	// Aside are those of Packages that no zygote of it may have loaded, because the function sets something
	// that they read during their import, or has something that they look for.
	Aside Set `json:"aside,omitempty"`
	// Built is how its code was built, nil if it was not, or if each deploy builds.
	Built *BuiltCode `json:"built,omitempty"`
	// Tried are modules that were tried for this function alone: no package has them, or they lie deeper in a
	// package than its probe looks.
	Tried map[string]Trial `json:"tried,omitempty"`
}

// BuiltCode is the result of a build. A deploy uses it again for the same code, as long as everything that
// the build works with is the same.
type BuiltCode struct {
	From    string   `json:"from"`              // digest of the code, its packages, and the Toolchain of the runtime
	Imports []string `json:"imports,omitempty"` // as in Built
	Sets    []string `json:"sets,omitempty"`
}

// Use is how much a function is used. Weight counts its starts and events, older ones for less. Last is the
// time of the last one.
type Use struct {
	Weight float64   `json:"weight"`
	Last   time.Time `json:"last"`
}

// Trial has the observed effects of the import of one module.
type Trial struct {
	Why     string        `json:"why,omitempty"`   // the reason why no zygote may import it; empty if one may
	Reads   []string      `json:"reads,omitempty"` // environment variables, as in Report
	Asks    []string      `json:"asks,omitempty"`  // as in Report
	Took    time.Duration `json:"took,omitempty"`
	Memory  int64         `json:"memory,omitempty"` // private bytes that it takes
	Version int           `json:"version"`          // as in Probe
	By      string        `json:"by,omitempty"`     // as in Probe
}

// Limits bounds what a function may use. The sandbox enforces Memory, the scheduler the rest.
type Limits struct {
	Memory       int64         `json:"memory"`        // bytes for the function itself: neither packages nor files in ScratchDir count
	Timeout      time.Duration `json:"timeout"`       // for one event; JSON has nanoseconds
	MaxInstances int           `json:"max_instances"` // alive at once
	IdleTimeout  time.Duration `json:"idle_timeout"`  // after which an idle instance ends; JSON has nanoseconds
	Reuse        bool          `json:"reuse"`         // if false, every event gets a fresh instance
	Concurrency  int           `json:"concurrency"`   // events that one instance has at once; 0 (before there was this limit) for 1
	Stream       int64         `json:"stream"`        // bytes of a response that is passed on in parts; 0 (before there was this limit) for the default
}

// DefaultLimits returns the limits of a function whose settings have none.
func DefaultLimits() Limits {
	return Limits{Memory: 256 << 20, Timeout: 30 * time.Second, MaxInstances: 100, IdleTimeout: 5 * time.Minute, Reuse: true, Concurrency: 1, Stream: 200 << 20}
}

// Shared reports whether an instance may have several events at once.
func (l Limits) Shared() bool { return l.Concurrency > 1 }

// MaxConcurrency is how many events an instance can have at once. Each may take a thread, and there are 256
// of those.
const MaxConcurrency = 100

// InstanceProcessors is how many processors an instance can keep busy: its share of the time in each period,
// for every function. Libraries start as many threads in it (HandlerLoad.Processors).
const InstanceProcessors = 1

// Sizes on which every worker and every driver agree.
const (
	MaxTimeout = 15 * time.Minute // of an event, as in AWS Lambda
	MaxEvent   = 6 << 20          // bytes of an event, as in AWS Lambda's synchronous invocation
	MaxResult  = 6 << 20          // bytes of a result
	MaxPart    = 64 << 10         // bytes of a part of a response
	MaxDepth   = 16               // functions that have invoked each other, one above the other
	MaxNesting = 512              // lists and objects of an event or a result inside each other
)
