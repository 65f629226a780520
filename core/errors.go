package core

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// Kind says what went wrong, in one word that programs can test for.
type Kind string

// The kinds of error. Every error that crosses a boundary (driver wire, Service, HTTP) has one.
const (
	KindNone        Kind = "ok"           // no error, where things are counted by kind
	KindInvalid     Kind = "invalid"      // the input cannot be understood or is not allowed; the message names it
	KindDenied      Kind = "denied"       // who asks has no token, or one that is not for this; the message says what it lacks
	KindNotFound    Kind = "not_found"    // no such function, driver, runtime or package
	KindConflict    Kind = "conflict"     // another operation on the same thing is under way, or it changed meanwhile
	KindTooLarge    Kind = "too_large"    // an archive, event or result is over its limit
	KindUnsupported Kind = "unsupported"  // this driver, kernel or machine cannot do it
	KindInstall     Kind = "install"      // packages cannot be resolved or installed
	KindBuild       Kind = "build"        // the code cannot be built: the message has the compiler's output
	KindImport      Kind = "import"       // a deploy is refused, because the handler cannot be imported; the message says why
	KindLoop        Kind = "loop"         // functions have invoked each other too deep
	KindExhausted   Kind = "exhausted"    // max_instances, memory or the queue is full (Retryable: try again later), or the worker's disk is
	KindTimeout     Kind = "timeout"      // the deadline passed
	KindCanceled    Kind = "canceled"     // the caller went away
	KindException   Kind = "exception"    // the handler, or the import of its module, raised
	KindExit        Kind = "exit"         // the process of the handler ended: exit, signal, crash
	KindMemory      Kind = "memory_limit" // the handler was killed at its memory limit
	KindUnavailable Kind = "unavailable"  // a driver, a zygote or the worker went away under the operation
	KindInternal    Kind = "internal"     // a defect of Pipsqueak
)

// Kinds returns every kind of error; KindNone is not one. Each has a status in the gateway, a row in
// docs/http.md and in docs/functions.md, and a test that names it; without one of these a test fails.
func Kinds() []Kind {
	return []Kind{KindInvalid, KindDenied, KindNotFound, KindConflict, KindTooLarge, KindUnsupported, KindInstall, KindBuild, KindImport, KindLoop,
		KindExhausted, KindTimeout, KindCanceled, KindException, KindExit, KindMemory, KindUnavailable, KindInternal}
}

// Fault says who has to fix an error.
type Fault string

// Whose fault an error is.
const (
	FaultCaller  Fault = "caller"  // the sender of the request
	FaultHandler Fault = "handler" // the author of the function
	FaultDriver  Fault = "driver"  // the author of the driver
	FaultWorker  Fault = "worker"  // the worker or its machine
)

// SeeLogs ends the message of an error about which the function's log may have more. A runtime may use these
// words too. They are left out in the log itself.
const SeeLogs = "; look at the function's logs"

// Error is an error that may cross a boundary. The zero Retryable means that the same call will fail again.
type Error struct {
	Kind      Kind       `json:"kind"`
	Message   string     `json:"message"` // one sentence for a person: names the input and says what to do
	Fault     Fault      `json:"fault"`
	Retryable bool       `json:"retryable,omitempty"` // the same call may succeed: nothing of it happened, or the cause has passed
	Exception *Exception `json:"exception,omitempty"` // for KindException and KindImport: what the handler raised; for KindExit, if the runtime saw it: what it ended by
	Err       error      `json:"-"`                   // the cause, for errors.Is; the message already tells it, and it does not cross the wire
	after     time.Duration
}

func (e *Error) Error() string { return e.Message }

// Again returns the error as one that is Retryable.
func (e *Error) Again() *Error { return e.After(0) }

// After returns the error as one that is Retryable, with the time for which the obstacle will probably last.
func (e *Error) After(d time.Duration) *Error {
	later := *e
	later.Retryable, later.after = true, d
	return &later
}

// RetryAfter is how long the obstacle will probably last; 0 if it is over, or nobody knows. It does not cross
// the wire.
func (e *Error) RetryAfter() time.Duration { return e.after }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error. A %w in the format becomes its cause and a part of its message, as with fmt.Errorf.
func Errorf(kind Kind, fault Fault, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Fault: fault, Message: err.Error(), Err: errors.Unwrap(err)}
}

// shortages are how the kernel says that the machine, or a limit around the process that asked, has no more
// of something for now: descriptors, processes, memory, namespaces.
var shortages = []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM, syscall.ENOBUFS, syscall.ENOSPC}

// Shortage returns what the worker could not do for a shortage of its own as an error that blames nobody
// else, nil when err has another cause.
func Shortage(doing string, err error) *Error {
	if !slices.ContainsFunc(shortages, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return Errorf(KindExhausted, FaultWorker, "%s: %w; the worker or its machine is short of it, try again later", doing, err).After(time.Second)
}

// Stopping is the answer of a worker that is about to end.
func Stopping() *Error {
	return Errorf(KindUnavailable, FaultWorker, "the worker is stopping; try another one or again later").Again()
}

// AsError returns err as an *Error: the first one in its chain, or an internal error of the worker that wraps
// it. It returns nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: KindInternal, Fault: FaultWorker, Message: err.Error()}
}

// IsKind reports whether err is an Error of that kind.
func IsKind(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}
