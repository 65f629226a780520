package conform

import "slices"

// Clause is one numbered sentence of PROTOCOL.md, in a few words.
type Clause struct {
	Name   string // "C13"
	Asks   string // what it asks of a driver or of the processes that it makes
	Unseen string // why no case can see whether it is kept; empty when one can
}

const (
	ofTheHost   = "it binds the host, and is tested with it"
	ofTheGate   = "it binds core's end of the gate, and is tested with core/sandbox"
	privateLoop = "it is between a driver and its own processes, and is tested with core/driver/kit/zygote"
)

// Clauses are all clauses of PROTOCOL.md, in its order of sections. A case names those that it checks.
var Clauses = []Clause{
	{"C1", "without the cookie it says what it is and exits with 1; --describe prints its Description", ""},
	{"C2", "only descriptors 0, 1 and 2, a plain environment, / as working directory; the ports are ignored", ""},
	{"C3", "it listens on a unix socket in PLUGIN_UNIX_SOCKET_DIR and nowhere else", ""},
	{"C4", "one handshake line on stdout, and nothing else there, ever", ""},
	{"C5", "the services Driver, and Installer when it has the capability", ""},
	{"C6", "from the start to the answer of Describe at most 30 s", ""},
	{"C7", "language is what follows pipsqueak-driver- in the file name", ""},
	{"C8", "stderr has lines of hclog's JSON", ""},
	{"C9", "any number of calls may be under way at once", ""},
	{"C10", "a call is given up soon after its deadline or its cancellation", ""},
	{"C11", "absent lists, maps and strings equal empty ones", ""},
	{"C12", "Describe starts no process that stays; a machine without a runtime is no error", ""},
	{"C13", "Preload returns after the process has come through the gate", ""},
	{"C46", "the environment of a zygote has what all have", ""},
	{"C14", "Parked says nothing more: the kernel tells who came in", ""},
	{"C15", "Fork returns after the child stands in its sandbox, with nothing imported that the parent had not", ""},
	{"C16", "forks of one parent may be asked for at once", ""},
	{"C17", "a parent that ended is unavailable (worker, retryable), one with threads invalid (worker), an ID that lives conflict (worker)", ""},
	{"C18", "modules are imported in order, and the report has each", ""},
	{"C19", "Import is for zygotes", ""},
	{"C20", "what imported code raises is exception (handler) without frames of the runtime; that it ended the process is exit (handler)", ""},
	{"C21", "a process whose import failed is never used again", ""},
	{"C44", "which packages and files imported code looks for, which variables it reads, and what generators of random numbers give", ""},
	{"C22", "third-party programs run only in the sandbox of the request", ""},
	{"C23", "what cannot be resolved or installed is install (handler), and names the requirement", ""},
	{"C24", "a call that fails has a kind and a fault; texts are bounded, and UTF-8", ""},
	{"C25", "what a gRPC status without detail means", ofTheHost},
	{"C26", "an error without a kind is internal", ofTheHost},
	{"C27", "the end of stdin makes the driver leave within 2 s", ""},
	{"C28", "PR_SET_PDEATHSIG", ofTheHost},
	{"C29", "a driver that died is started again", ofTheHost},
	{"C30", "a new driver knows no process of the old one", ""},
	{"C31", "no process keeps the driver's stdout or stderr", ""},
	{"C32", "Resolve, Install and Build have a sandbox each, with /function or /out writable", ""},
	{"C47", "Runtime.system_calls are of those that core offers", "a runtime with another one starts nowhere, so every case would fail"},
	{"C33", "Debian packages are resolved too, with the capability debian", "it needs an archive of Debian packages; the drivers that claim it test it"},
	{"C45", "which variables a function's files set, and what they import perhaps", "it is optional, and tested with the drivers that do"},
	{"C37", "a lock has digests, what requires what, package URLs, and what runs code", "it needs a registry; the drivers that claim lock test it"},
	{"C38", "a lock that is known is taken as it is, without a network", "it needs a registry; the drivers that claim lock test it"},
	{"C39", "archives are checked, code runs only when it is allowed, and there is a receipt for each package", "it needs a registry; the drivers that claim lock test it"},
	{"C40", "only the registries can be reached from an installer's sandbox", ofTheHost},
	{"C43", "what Resolve hands over, Install finds", "it needs a registry; the drivers that claim handover test it"},
	{"C42", "Compile runs nothing of the packages, and only adds files", "it needs packages; the drivers that claim compile test it"},
	{"C41", "Scan runs nothing of the packages", "it needs packages; the drivers that claim scan test it"},
	{"C34", "what a compiler has against the code is build (handler), with what it said", ""},
	{"C35", "version 2: events have no tokens", ofTheHost},
	{"C48", "with the capability fork, zygotes fork for core", ""},

	{"G1", "the driver sends the node's ID as one packet at the gate, and no other", ""},
	{"G2", "a node is admitted once", ofTheGate},
	{"G3", "at most 20 s pass at the gate", ofTheGate},
	{"G4", "the kernel tells who sends HELLO; ENTERED comes from the same", ""},
	{"G5", "a program that is launched says USER first, and again as the user that GO names, from a new user namespace", ""},
	{"G6", "the sender of HELLO has one thread and is the second process of a pid namespace, the first of which is init", ""},
	{"G7", "namespaces are made between HELLO and ORDERS", ""},
	{"G8", "ORDERS with another number of descriptors are an error", ""},
	{"G9", "the orders are carried out: root, ids, no capability, no_new_privs, filter, session, no blocked signals", ""},
	{"G10", "0 is /dev/null, 1 and 2 the streams, 4 the way to core; nothing else is open", ""},
	{"G11", "a step that fails is told by FAILED, and the process exits", ""},
	{"G12", "a zygote has another pid than init, than instances, and than the zygote that it was forked from", ""},
	{"G13", "the keeper of a launched program ends with it", ""},
	{"G14", "USER asks the keeper for a user namespace and the network in it", ofTheGate},
	{"G15", "orphans are reaped, signals that nobody handles end a process, and what it has started ends with it", ""},
	{"G16", "a zygote has no capability, and its fork is in the user namespace that core has sent", ""},
	{"G17", "a zygote forks instances at core's own request, with the capability fork; it says at the gate why it cannot, and goes on", ""},
	{"G18", "with a listener asked for, ENTERED brings that of the filter", ofTheGate},

	{"Z1", "packets of one JSON object", privateLoop},
	{"Z2", "a process begins with parked", privateLoop},
	{"Z3", "each request has exactly one answer", privateLoop},
	{"Z4", "what a fork request comes with", privateLoop},
	{"Z5", "the driver keeps no copy of a child's socket", ""},
	{"Z6", "a fork that is impossible is answered by an error, and the zygote goes on", ""},
	{"Z7", "siblings share no random state; a zygote has the kernel reap, a child begins with SIGCHLD at its default", ""},
	{"Z8", "modules are looked for in packages, in order; threads are counted last", ""},
	{"Z9", "whatever imported code raises is answered by an error, a request to exit too", ""},
	{"Z10", "no fork after a report of more than one thread", ""},
	{"Z11", "an instance closes its control socket", ""},
	{"Z12", "what the end of a process means to each call", ""},
	{"Z13", "a zygote that loses its driver waits", ""},
	{"Z14", "a fork that is given up leaves the zygote as it is", ""},
	{"Z15", "the fork request of ps_zygote", privateLoop},
	{"Z16", "the library sees which variables and files imported code looks at", privateLoop},

	{"E1", "each H and E has exactly one answer", ""},
	{"E2", "after an impossible frame, or one out of turn, the instance closes its socket", ""},
	{"E3", "unknown keys are ignored, absent ones are empty", ""},
	{"E4", "the size of a result is checked first; texts of exceptions are cut", ""},
	{"E5", "a process that the handler starts does not hold descriptor 4", ""},
	{"E6", "at the end of file the instance leaves at once", ""},
	{"E7", "the handler sees the deadline", ""},
	{"E8", "stdout and stderr are the handler's", ""},
	{"E9", "on H: env is the whole environment, modules in order, then the handler; P has each module", ""},
	{"E18", "what the handler loaded besides is told", "it is optional, and tested with the drivers that do"},
	{"E26", "which variables the function's own code sets while the handler is imported", "it is optional, and tested with the drivers that do"},
	{"E19", "what is said in an event begins with its token, and comes from the process that got it", ""},
	{"E20", "nothing of an event runs before all of its frame has been read", ""},
	{"E21", "a result is one JSON value in UTF-8, whatever the handler returns", ""},
	{"E25", "what is behind an exception is told, and no exception is fatal to who asks it", ""},
	{"E22", "events nested 512 deep are understood, and so are results", ""},
	{"E23", "programs that the handler starts find the packages", ""},
	{"E10", "F for a handler that raises (exception) or is not there (invalid), fault handler; then the instance ends", ""},
	{"E11", "what core makes of an end before P or F", ofTheHost},
	{"E12", "nothing of what an instance did before H can be noticed", ""},
	{"E13", "an invocation has a number that its process uses only once", ""},
	{"E14", "an A for a call that is not awaited is skipped", ""},
	{"E15", "request id, depth and deadline of an invocation", ofTheHost},
	{"E16", "a call that fails raises in the handler; uncaught it is an X", ""},
	{"E27", "a response comes in parts only where that is offered, with its head first; elsewhere it is a result", ""},
	{"E28", "the next part comes after the answer to the last, and has at most 64 KiB", ""},
	{"E29", "a part that is not passed on raises in the handler, and no other one follows", ""},
	{"E30", "after parts the event is answered as any other", ""},
	{"E31", "with concurrency in H, several events are under way at once, and each has one answer", ""},
	{"E32", "every frame of an instance begins with the token of its own event", ""},
	{"E33", "what a handler prints in an event is an O with the event's token", ""},
	{"E34", "what ends one event leaves the others, except for the end of the process", ""},
	{"E35", "an event that is late ends no other one: its instance gets no further event", ofTheHost},
	{"E36", "a caller that has gone ends no event: the handler is told, or runs on, and the event is answered", ""},
	{"E17", "a crash, or a request to end, is answered by nothing, or by D; then the instance ends", ""},
}

// asks returns what a clause asks for.
func asks(name string) string {
	i := slices.IndexFunc(Clauses, func(c Clause) bool { return c.Name == name })
	if i < 0 {
		return "is unknown to the kit"
	}
	return Clauses[i].Asks
}
