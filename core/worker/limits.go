package worker

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/sandbox"
)

// otherDescriptors are those that a worker has besides its instances and the connections of its callers: of
// drivers, zygotes with the network namespaces that are made ahead for them or kept by them, and files.
const otherDescriptors = 170

// descriptors raises the limit of this process to the highest that it may have, and returns it. Each driver
// does so for itself: a Go program begins that way, and so does this one, unless its starter has lowered the
// limit.
func descriptors() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	raised := unix.Rlimit{Cur: limit.Max, Max: limit.Max}
	if limit.Cur < limit.Max && unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
		return raised.Cur
	}
	return limit.Cur
}

// instancesWith returns how many instances a worker with so many descriptors may have: one half is theirs,
// the other is the connections'.
func instancesWith(descriptors uint64) int {
	theirs := int64(min(descriptors, 1<<32)/2) - otherDescriptors
	return int(min(max(theirs/sandbox.Descriptors, 1), maxInstances))
}

// memory returns how much memory functions can have on this machine, in bytes, and whose limit that is.
func memory() (bytes int64, whose string) {
	bytes, whose = machineMemory(), "the machine"
	if limit, dir := sandbox.MemoryLimit(); limit > 0 && limit < bytes {
		return limit, "the cgroup " + dir
	}
	return bytes, whose
}

// workerMemory is what the worker itself may use with its drivers, besides what events take.
const workerMemory = 512 << 20

// bounds returns those of all processes together, on a machine with so much memory: besides the functions'
// budget there are installers, and what the kernel keeps of files. A part of the machine is always left to
// others.
func bounds(budget, machine int64) sandbox.Bounds {
	return sandbox.Bounds{
		Sandboxes: budget + min(sandbox.InstallerMemory, max(machine-budget, 0)/2),
		Processes: processes() / 4 * 3,
		Worker:    workerMemory + 4*core.EventBudget().Total(), // of the gateway and of calls, each read and written
	}
}

// processes returns how many processes and threads there can be on this machine.
func processes() int64 {
	least := int64(1 << 15)
	for i, file := range []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"} {
		text, err := os.ReadFile(file)
		n, err2 := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && err2 == nil && (i == 0 || n < least) {
			least = n
		}
	}
	return least
}

func examineDescriptors() core.Finding {
	limit := descriptors()
	f := core.Finding{Name: "descriptors", Status: core.StatusOK, Detail: fmt.Sprintf("%d for the worker, enough for %d instances", limit, instancesWith(limit))}
	if instancesWith(limit) < maxInstances {
		f.Status, f.Fix = core.StatusWarn, fmt.Sprintf("LimitNOFILE= of the service, or ulimit -Hn before it starts: %d are enough for %d instances",
			2*(otherDescriptors+sandbox.Descriptors*maxInstances), maxInstances)
	}
	return f
}

func examineMemory() core.Finding {
	const enough = 1 << 30
	bytes, whose := memory()
	f := core.Finding{Name: "memory", Status: core.StatusOK, Detail: fmt.Sprintf("%d MiB by the limit of %s, of which functions may use %d without --memory",
		bytes>>20, whose, bytes/4*3>>20)}
	if bytes < enough {
		f.Status, f.Fix = core.StatusWarn, "give the worker 1 GiB or more: a zygote with large packages takes some 100 MiB"
	}
	return f
}
