package core

import (
	"context"
	"io"
	"iter"
	"time"
)

// Service is the contract between a worker, a cluster and a gateway: a set of parts. Catalog, Invoker and
// Tree are always there. Each other part is nil if the service does not have it. All methods of the parts may
// be called from many goroutines at once, and every error is an *Error.
//
// A function from its archive to a result:
//
//	fn, err := service.Catalog.Deploy(ctx, DeployRequest{Name: "f", Archive: archive, Ready: true}, nil)
//	result, err := service.Invoker.Invoke(ctx, Invocation{Function: fn.Name, ID: "r1", Event: []byte(`{"x":1}`)})
//	if service.Logs != nil {
//		lines, err := service.Logs.Logs(ctx, fn.Name, LogQuery{Request: "r1", Tail: AllLines})
//	}
//	err = service.Catalog.Remove(ctx, fn.Name) // waits for no event: busy instances finish
//
// A service that adds something to another one (tokens, a queue, a cluster) is a copy with some parts
// replaced. The other parts stay:
//
//	limited := service
//	limited.Invoker = limiter{service.Invoker}
type Service struct {
	Catalog         Catalog
	Invoker         Invoker
	Tree            Tree
	Applications    Applications
	Locker          Locker
	Logs            Logs
	Counter         Counter
	Packages        Packages
	Bills           Bills
	Vulnerabilities Vulnerabilities
	Stopper         Stopper
	Tokens          Tokens
	Health          Health
	Namespaces      Namespaces
	Settings        Settings
	Secrets         Secrets
	Router          Router
	Storages        Storages
	Planner         Planner
}

// Catalog is the part of a Service that knows which functions are deployed.
type Catalog interface {
	// Deploy makes a function from an archive (tar.gz or zip), or replaces it. It returns when the function
	// can be invoked, with all packages installed and its handler imported once. On an error the function is
	// unchanged. Only one Deploy or Remove of a name may run at a time: the second is KindConflict,
	// Retryable. Progress may be nil; it is called from one goroutine at a time.
	Deploy(ctx context.Context, request DeployRequest, progress func(Progress)) (Function, error)
	// Remove removes a function, ends its idle instances and lets the busy ones finish. KindNotFound if there
	// is none.
	Remove(ctx context.Context, name string) error
	// Functions returns the deployed functions, sorted by name.
	Functions(ctx context.Context) ([]Function, error)
}

// Invoker is the part of a Service that runs events.
type Invoker interface {
	// Admit returns the error by which Invoke would refuse any event of the function now, such as
	// KindNotFound, and nil for a function that may be invoked. It does not block: a gateway asks before it
	// reads the event, which has that id.
	Admit(function, id string) error
	// Public reports whether there is such a function and anybody may invoke it, without a token. It does not
	// block.
	Public(function string) bool
	// Invoke runs one event, at most once. The event is one JSON value, as core/value checks it: the caller
	// has checked it. The result's Phases and Start are set as far as the invocation got, also with an error.
	// If the context ends first, the handler still runs to its end, and its result is dropped. KindNotFound
	// if there is no such function, or not in that version.
	Invoke(ctx context.Context, invocation Invocation) (Result, error)
}

// Tree is the part of a Service that shows its processes.
type Tree interface {
	// Snapshot returns the processes that are alive now. The caller owns it. It waits for no process.
	Snapshot(ctx context.Context) (Snapshot, error)
}

// Applications is the part of a Service that deploys several functions together.
type Applications interface {
	// DeployApplication makes functions, or replaces them, as Deploy does, and removes functions of the
	// application that are no longer in the request. Nothing changes before every function has been resolved,
	// installed and built; then everything changes at once. On an error everything is unchanged, and the
	// message names the function. Progress is as for Deploy.
	DeployApplication(ctx context.Context, request ApplicationRequest, progress func(Progress)) (Application, error)
	// RemoveApplication removes all functions of an application at once, and returns their names.
	RemoveApplication(ctx context.Context, name string) ([]string, error)
}

// Namespaces is the part of a Service that separates tenants.
type Namespaces interface {
	// Namespaces returns all namespaces, sorted by name. The default one is always there.
	Namespaces(ctx context.Context) ([]NamespaceInfo, error)
	// CreateNamespace makes a namespace. KindConflict if there is one of that name.
	CreateNamespace(ctx context.Context, spec NamespaceSpec) error
	// SetNamespace replaces what was decided about a namespace. What it has already, it keeps. KindNotFound
	// if there is none, KindConflict if it has functions and Isolated is to change.
	SetNamespace(ctx context.Context, spec NamespaceSpec) error
	// RemoveNamespace removes a namespace. KindConflict if it has functions, or is the default one.
	RemoveNamespace(ctx context.Context, name string) error
}

// Settings is the part of a Service that changes what a deployed function is started with.
type Settings interface {
	// SetEnv changes the environment of a function. It makes a new version, as a deploy of the same archive
	// does: the handler is imported once with the new environment, later instances have it, and idle ones of
	// the earlier version end. On an error the function is unchanged. Progress is as for Deploy.
	SetEnv(ctx context.Context, change EnvChange, progress func(Progress)) (Function, error)
}

// ApplicationRequest is an application to deploy.
type ApplicationRequest struct {
	Name string
	// Functions yields each function with its name. The service reads the Archive of one before it asks for
	// the next. After an error there is no next one.
	Functions iter.Seq2[DeployRequest, error]
}

// Application is an application as it was deployed.
type Application struct {
	Name      string     `json:"name"`
	Functions []Function `json:"functions"`         // in the order of the request
	Removed   []string   `json:"removed,omitempty"` // functions that it had before and has no more
}

// MaxFunctions is how many functions an application may have.
const MaxFunctions = 100

// Stopper is the part of a Service that prepares its end.
type Stopper interface {
	// Stop refuses new events, and those that wait for an instance. Running events continue. It returns at
	// once, and may be called many times.
	Stop()
}

// Tokens is the part of a Service that decides by tokens who may do what.
type Tokens interface {
	// CreateToken makes a token with the Name, Scopes, Functions and Expires of this one. The text is the
	// token itself, which nobody can learn again.
	CreateToken(ctx context.Context, token Token) (made Token, text string, err error)
	// Tokens returns the tokens, sorted by name and then by the time they were made.
	Tokens(ctx context.Context) ([]Token, error)
	// RevokeToken ends a token at once. Events that it has sent run to their end, its other requests are
	// canceled. KindNotFound if there is no such token.
	RevokeToken(ctx context.Context, id string) (Token, error)
}

// Locker is the part of a Service that can resolve a function's packages without deploying it.
type Locker interface {
	// Lock resolves the packages of a function again and returns their lock. The caller puts its Files beside
	// the manifests: the Inputs include them. Name and Again of the request are ignored. Progress is as for
	// Deploy.
	Lock(ctx context.Context, request DeployRequest, progress func(Progress)) (Lock, error)
}

// Logs is the part of a Service that keeps the output of handlers.
type Logs interface {
	// Logs returns those kept lines of the function, or of all functions of the application, that the query
	// selects, oldest first, as one JSON LogLine a line. The caller closes the reader.
	Logs(ctx context.Context, name string, query LogQuery) (io.ReadCloser, error)
}

// LogQuery selects lines of a log.
type LogQuery struct {
	Tail    int       // only the last so many of the selected lines; AllLines for all of them
	Since   time.Time // lines from then on
	Request string    // lines with this request id; empty for all
	Errors  bool      // only lines about events that failed
	Follow  bool      // the reader blocks for new lines, until the context ends
	// Functions are those of an application whose lines are wanted; nil for all of them.
	Functions []string
}

// AllLines is the Tail of a LogQuery for all lines.
const AllLines = -1

// Counter is the part of a Service that counts events by function.
type Counter interface {
	// Counted returns the outcomes of the events of each function, including events that functions send to
	// each other. Only a bounded number of functions is counted by name.
	Counted() []FunctionCount
}

// FunctionCount has the outcomes of the events of one function since the worker started.
type FunctionCount struct {
	Function string           // OtherFunctions for those that are not counted by name
	Kinds    map[Kind]uint64  // of errors; KindNone for successes
	Starts   map[Start]uint64 // how their instances came to be; StartNone for events that got to none
	Buckets  []uint64         // events that took at most CountBuckets, each without those of the one before; the last bucket has the longer ones
	Took     time.Duration    // of all events together
	Refused  uint64           // connections and look-ups of names that its instances were refused
}

// OtherFunctions stands for the functions that are not counted by name: it is no function's name.
const OtherFunctions = "(other)"

// CountBuckets are the bounds of FunctionCount.Buckets: from a warm event to the timeout that most functions
// have.
var CountBuckets = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2500 * time.Millisecond, 10 * time.Second, 30 * time.Second,
}

// LogLine is one line that a process of a function printed, or a message of the worker about an event or a
// deploy. A line over 16 KiB is split, between two characters.
type LogLine struct {
	Time     time.Time `json:"time"`
	Function string    `json:"function"`
	// Request is the id of the event that the line belongs to: the one that the process was running or,
	// between two events, had run last. Output while the handler is imported belongs to the event for which
	// the instance is started.
	Request string   `json:"request,omitempty"`
	Node    NodeID   `json:"node"`   // empty for an event that did not get to an instance
	Stream  string   `json:"stream"` // "stdout", "stderr", or "worker" for messages of the worker itself
	Text    string   `json:"text"`
	Failure *Failure `json:"error,omitempty"` // of an event: why it failed, with Text as the message
}

// Failure is the reason why an event failed, shortened for a log: the innermost frames of a stack, and the
// beginnings of long texts.
type Failure struct {
	Kind      Kind       `json:"kind"`
	Fault     Fault      `json:"fault"`
	Exception *Exception `json:"exception,omitempty"`
}

// DeployRequest is a function to deploy.
type DeployRequest struct {
	Name    string    // overrides the name in the archive's settings; may be empty when those have one
	Archive io.Reader // tar.gz or zip, told apart by its first bytes
	Again   bool      // resolve its packages again, whatever lock there is
	Force   bool      // do not try to import its handler
	Ready   bool      // return when its first start is a fork, or when it is known why that is impossible: Function.Unready
	// Signature is a DSSE envelope that vouches for the name and the code (core/signing); empty without a
	// signature.
	Signature []byte
}

// Invocation is one event for one function.
type Invocation struct {
	Function string
	Version  int    // of the function; 0 for the one that is deployed. KindNotFound when another one is
	ID       string // the request id, for logs and the handler's context; made by the gateway
	Event    []byte // JSON, at most MaxEvent bytes; not kept after Invoke returns
	// For an event from another function, Depth is the number of functions above this one, at most MaxDepth,
	// and Deadline is the deadline of the event above, by which this one has to be answered too. Both are
	// zero for an event from outside.
	Depth    int
	Deadline time.Time
	// Stream takes the response in parts, if the handler makes it so. Nil if it is wanted whole, as the
	// Result's Body.
	Stream Stream
	// Room is asked before a large result is read, or after that if its instance has several events. Nil if
	// there is always room.
	Room Room
}

// Room is where whoever invokes keeps a result.
type Room interface {
	// Take returns when there is room for so many bytes, or the context has ended, with an error. It is
	// called once at most.
	Take(ctx context.Context, bytes int) error
}

// Stream is a response on its way to the caller while the handler makes it. One goroutine at a time uses it.
// Every error is an *Error, and is the event's: nothing is passed on after it.
type Stream interface {
	// Begin begins the response. It is called once, before Write. The head is a JSON object with statusCode
	// (200 if it is not there), headers and cookies. Start, Node and Phases of the result are set as far as
	// the event got.
	Begin(head []byte, result Result) error
	// Write passes on a part, which it does not keep. It returns when the caller's connection has taken the
	// part, or when the context has ended.
	Write(ctx context.Context, part []byte) error
}

// Result is the outcome of an invocation.
type Result struct {
	Body     []byte // JSON, at most MaxResult bytes; the caller's to keep; of no meaning after Invocation.Stream has begun
	Start    Start
	Phases   Phases
	Language string // of the function, for metrics
	Version  int    // of the function
	Node     NodeID // the instance that served it
}

// Snapshot has the processes of a worker at one moment.
type Snapshot struct {
	Worker  string       `json:"worker"` // the worker's id: no other has it, and it is the same after a restart
	Time    time.Time    `json:"time"`
	Nodes   []NodeInfo   `json:"nodes"`  // parents before children
	Memory  int64        `json:"memory"` // proportional bytes of all nodes, as last measured
	Budget  int64        `json:"budget"` // bytes
	Drivers []DriverInfo `json:"drivers"`
}

// NodeInfo is one node of the tree.
type NodeInfo struct {
	Worker     string            `json:"worker"`           // the id of the worker that it lives on
	ID         NodeID            `json:"id"`               // unique on its worker
	Parent     NodeID            `json:"parent,omitempty"` // empty for a root zygote
	Role       Role              `json:"role"`
	State      string            `json:"state"`
	Runtime    RuntimeID         `json:"runtime"`
	Function   string            `json:"function,omitempty"`  // of an instance
	Namespace  string            `json:"namespace,omitempty"` // of a zygote: that of the functions which alone start from it
	Set        Set               `json:"set"`
	Modules    []string          `json:"modules,omitempty"` // that it has imported
	Apart      map[string]string `json:"apart,omitempty"`   // of an instance: the modules that no zygote imports for its function, with the reasons, as they are known now
	PID        int               `json:"pid"`
	Memory     int64             `json:"memory"`     // proportional bytes, as last measured; 0 before the first time
	Private    int64             `json:"private"`    // bytes that it shares with nobody
	Generation int               `json:"generation"` // how many times this zygote has been rebuilt
	Forks      int               `json:"forks"`      // children it has had
	Events     int               `json:"events"`     // an instance has served
	UnderWay   int               `json:"under_way"`  // events that an instance with concurrency has now
	Born       time.Time         `json:"born"`
	Use        float64           `json:"use"`             // of a zygote forks, of an instance starts and events; older ones for less
	Saves      time.Duration     `json:"saves"`           // by each use; JSON has nanoseconds
	Value      float64           `json:"value"`           // seconds that it saves, weighed by use, for each MiB that its end frees
	Spare      bool              `json:"spare,omitempty"` // a zygote that the worker's plan does without
}

// DriverInfo is one driver as the worker sees it.
type DriverInfo struct {
	Description
	Path     string `json:"path"`
	PID      int    `json:"pid"`
	Restarts int    `json:"restarts"`
	Error    string `json:"error,omitempty"` // why it does not run
}
