package sandbox

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
)

// MemoryLimit returns the smallest memory limit of the cgroups around the functions' own, in bytes, and the
// directory of that cgroup: a service's or a container's. It returns 0 when none is limited.
func MemoryLimit() (bytes int64, dir string) {
	mount, own, file := cgroupRoot, "", "memory.max"
	if cgroups.IsCgroup2UnifiedMode() {
		if dir, ours := delegated(); ours {
			own = strings.TrimPrefix(dir, cgroupRoot)
		}
	} else {
		groups, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
		if err != nil {
			return 0, ""
		}
		if mount, err = cgroups.FindCgroupMountpoint("", "memory"); err != nil {
			return 0, ""
		}
		own, file = groups["memory"], "memory.limit_in_bytes"
	}
	return leastLimit(mount, own, file)
}

// leastLimit looks at a cgroup and all those around it, up to the mount point.
func leastLimit(mount, own, file string) (least int64, where string) {
	least = math.MaxInt64
	for dir := filepath.Join(mount, own); strings.HasPrefix(dir, mount); dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			continue // of the root, which has none
		}
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit < least { // else it is "max"
			least, where = limit, dir
		}
	}
	if least >= unlimited {
		return 0, ""
	}
	return least, where
}

// unlimited is, on v1, near what a cgroup without a limit has.
const unlimited = math.MaxInt64 >> 10
