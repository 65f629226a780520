// Package core is the vocabulary of Pipsqueak: the types, the error kinds and the two contracts, Driver and
// Service, that every other package speaks in. It says what each word means and does nothing; it imports the
// standard library only.
//
// Each process that runs a function, or is forked for one, is a node in one tree. Inner nodes are zygotes:
// they have imported a set of packages and only fork. Nodes that are never forked are instances: they serve
// one function, one event at a time unless it asks for more. A driver is a separate program that knows how to
// make processes of one language; core knows where they live, what they cost and when they die.
//
// Eight verbs, spelled the same in method names, logs, metrics and documents:
//
//	deploy → install → plan → preload → fork → import → invoke → evict
package core

import "time"

// NodeID names one node of the tree, unique for the life of a worker. It is safe as a file name.
type NodeID string

// RuntimeID names a language at a version with an ABI, such as "python3.11". It is safe as a file name.
type RuntimeID string

// Role says what a sandbox is made for, and with that what the process in it may do.
type Role string

// The roles of a sandbox.
const (
	// RoleZygote imports third-party packages and forks; it never runs handler code. It has no capability:
	// its forks have power over user namespaces that were made for them, until they are inside.
	RoleZygote Role = "zygote"
	// RoleInstance serves one function. It has no capability at all and is never forked.
	RoleInstance Role = "instance"
	// RoleInstaller runs a package installer or examines deployed code, with no capability, and with the
	// network when asked for.
	RoleInstaller Role = "installer"
)

// Start says how the instance that served an event came to be.
type Start string

// The kinds of start, from the cheapest to the dearest.
const (
	StartWarm Start = "warm" // an idle instance was reused
	StartFork Start = "fork" // forked from a zygote that had imported every package the function imports
	StartCold Start = "cold" // with package imports or a process start still to do
	StartNone Start = "none" // where starts are counted: the event did not get to an instance
)

// PhaseNames are the phases in the order in which they happen.
var PhaseNames = [...]string{"queue", "sandbox", "preload", "fork", "enter", "import", "handler", "total"}

// Phases tells where the time of one invocation went. A phase that did not happen is zero. They do not
// overlap, and their sum is at most Total.
type Phases struct {
	Queue   time.Duration // waiting for an instance, for a turn to fork, or for a zygote or a child that was already being made
	Sandbox time.Duration // making the sandbox: cgroup, root directory, endpoint
	Preload time.Duration // starting a root zygote from nothing (cold starts only)
	Fork    time.Duration // from the fork request until the child stood at the gate
	Enter   time.Duration // from the gate until the child stood in its sandbox
	Import  time.Duration // importing what no zygote had, and the handler
	Handler time.Duration // the handler itself, with the transport of event and result
	Total   time.Duration // everything, from Invoker.Invoke's call to its return
}

// Durations returns the phases in the order of PhaseNames.
func (p Phases) Durations() [len(PhaseNames)]time.Duration {
	return [...]time.Duration{p.Queue, p.Sandbox, p.Preload, p.Fork, p.Enter, p.Import, p.Handler, p.Total}
}
