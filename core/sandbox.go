package core

// SandboxConfig is what a sandbox is made of: everything that decides what the process in it can see and use.
//
// The life of a sandbox (core/sandbox has the methods; a driver gets the Door alone):
//
//	box, err := host.Create(ctx, config)     // cgroup, root directory, a gate; nobody is inside
//	driver.Fork(ctx, id, parent, box.Door()) // a process comes through the gate; of an instance, box.Fork(ctx) does without the driver
//	pid, enter, err := box.Entered()         // which one, by the kernel's word
//	conn := box.Endpoint()                   // to an instance; nil for a zygote
//	usage, err := box.Usage()                // at any time
//	box.Kill()                               // every process in it
//	<-box.Done()
//	exit := box.Exit()                       // valid after Done
//
// The one who has created a sandbox kills it, also when nobody came in. All of this works when the driver is
// dead.
type SandboxConfig struct {
	ID       NodeID // no living sandbox of the host has the same
	Role     Role
	Parent   NodeID  // of a process that is forked: the zygote that forks it
	Runtime  Runtime // its Mounts are shown, its Hidden directories are not
	Packages Set     // each is in the store, and is shown at PackageDir
	Code     string  // digest of the code directory in the store, shown at CodeDir; empty for a zygote, whose CodeDir is empty
	Mounts   []Mount // shown in addition: CodeDir and OutDir of an installer
	Function string  // the function that the sandbox is for, for logs; empty for a zygote
	Version  int     // of that function
	// Namespace is that of a zygote which no other namespace shares; empty for every other sandbox.
	Namespace string
	Imports   int64 // bytes of memory that an instance has beyond its limit, for packages that it imports itself
	// Limits are enforced for an instance, and of a zygote's only the memory, 0 for 512 MiB. An installer
	// gets the worker's own bounds.
	Limits Limits
	// Forks says of a zygote that core itself asks it to fork instances (CapabilityFork).
	Forks bool
	// Secrets are files of an instance in SecretsDir, by their names. They are there before anything of the
	// function runs, and its alone.
	Secrets map[string]Secret
	// Storage shows the storage of an instance, whose Source is a file with an ext4; empty for none.
	Storage Mount
	// Registries are the addresses (as in Runtime) that an installer can reach, through RelayAddress. A
	// sandbox reaches nothing else of the host's network. Without registries there is no relay.
	Registries []string
	// Network is what an instance reaches, and Egress its only destinations there, as in Function. Empty is
	// NetworkNone.
	Network Network
	Egress  []string
	// Pages are copied by an instance before it is asked for anything, because one like it has written to
	// them.
	Pages Pages
}

// Pages are ranges of a process's memory: each is the address of a page and, in the lowest 12 bits, how many
// pages begin there.
type Pages []uint64

// Exit is how the process of a sandbox ended.
type Exit struct {
	Signal      int  // that ended it; 0 if it exited
	Code        int  // that it exited with
	OutOfMemory bool // the kernel ended it at the memory limit of its sandbox
	Starved     bool // the kernel ended it for lack of memory outside: of the machine, or of a cgroup around the worker
	Crowded     bool // it wanted more processes and threads, at some time, than its sandbox may have
	Known       bool // false if it ended unseen, such as with its parent: Signal and Code say nothing then
}

// Usage is the memory of all processes of a sandbox.
type Usage struct {
	Proportional int64 // bytes; a page that n processes share counts as 1/n of a page
	Private      int64 // bytes that are shared with nobody
}
