package core

// SandboxConfig is what a sandbox is made of: everything that decides what the process in it can see and use.
type SandboxConfig struct {
	ID       NodeID
	Role     Role
	Runtime  Runtime // its mounts are shown, its hidden directories are not
	Packages Set     // each shown at PackageDir
	Code     string  // digest of the code directory in the store, shown at CodeDir; empty for a zygote, where CodeDir is empty
	Mounts   []Mount // shown besides: an installer's CodeDir and OutDir
	Function string  // whose sandbox it is, for logs; empty for a zygote
	Version  int     // of that function
	Imports  int64   // bytes of memory that an instance has besides its limit, for packages that it imports itself
	Limits   Limits  // enforced for an instance; of a zygote only the memory, where there is one; an installer gets the worker's own
	// Registries are the addresses (as in Runtime) that an installer can reach, by RelayAddress. Nothing else of the host's network is ever
	// reached from a sandbox, and without any there is no relay.
	Registries []string
}

// Exit is how the process of a sandbox ended.
type Exit struct {
	Signal      int  // that ended it, 0 when it exited
	Code        int  // that it exited with
	OutOfMemory bool // whether the kernel ended it at its memory limit
	Starved     bool // whether the kernel ended it for want of memory outside: of the machine, or of a cgroup around the worker
	Known       bool // false when it ended unseen, such as with its parent: Signal and Code say nothing then
}

// Usage is the memory of all processes of a sandbox.
type Usage struct {
	Proportional int64 // bytes; a page that n processes share counts as 1/n of a page
	Private      int64 // bytes that are shared with nobody
}
