package sandbox

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestIDsAreUniqueAndComeBack(t *testing.T) {
	h := newRig(t)
	seen := map[string]bool{}
	for range 3 {
		zygote := h.launch(t, h.config(core.RoleZygote))
		ids := zygote.ask(t, "cat /proc/self/uid_map")
		if seen[ids] || zygote.ask(t, "cat /proc/self/gid_map") != ids {
			t.Errorf("the range %s again, or not for groups", ids)
		}
		seen[ids] = true
	}
	taken := 0
	for _, s := range h.alive {
		taken++
		s.Kill()
		gone(t, s)
	}
	if taken != 3 || h.idSlots != [idRanges]bool{} {
		t.Errorf("%d zygotes, and ranges are not free after their death", taken)
	}

	h.nextSlot = idRanges - 1
	for _, want := range []int{idRanges - 1, 0, 1} {
		if got, err := h.takeIDs(); err != nil || got != want {
			t.Errorf("range %d, %v, and not %d", got, err, want)
		}
	}
	for range idRanges - 3 {
		if _, err := h.takeIDs(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.takeIDs(); !core.IsKind(err, core.KindExhausted) {
		t.Errorf("one range too many: %v", err)
	}
	if last := firstID + idRanges*idRange; last > 1<<31-1 {
		t.Errorf("the last id would be negative: %d", last)
	}
	h.idSlots = [idRanges]bool{}
}

// full waits until the zygote's keeper has made all places that it makes ahead.
func full(t *testing.T, h *rig, zygote child) {
	t.Helper()
	user, err := h.users.of(zygote.config.ID)
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "places are made ahead", func() bool { return len(user.ready) == readyPlaces })
}

// namespaceOf returns the line of a process's namespace of a kind.
func namespaceOf(t *testing.T, c child, kind string) string {
	t.Helper()
	return linesWith(c.ask(t, "ls /proc/self/ns"), kind+" ")
}

func TestPlacesAreTakenOnce(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	full(t, h, zygote)
	seen := map[string]bool{}
	for range 2 * readyPlaces {
		c := h.fork(t, zygote, h.config(core.RoleInstance))
		for _, what := range []string{namespaceOf(t, c, "net"), namespaceOf(t, c, "user"), "uid " + onHost(t, c, "Uid"), "gid " + onHost(t, c, "Gid")} {
			if seen[what] || what == "" {
				t.Errorf("%q again", what)
			}
			seen[what] = true
		}
		if text := c.ask(t, "cat /proc/net/dev"); strings.Count(text, ":") != 1 || !strings.Contains(text, "lo:") {
			t.Errorf("more than a loopback:\n%s", text)
		}
	} // they stay, or the kernel would use the numbers again
	full(t, h, zygote)
	before := descriptors(t)
	zygote.Kill()
	gone(t, zygote.Sandbox)
	soon(t, "the keeper's places are forgotten", func() bool {
		h.users.mu.Lock()
		defer h.users.mu.Unlock()
		return len(h.users.known) == 0
	})
	soon(t, "and closed", func() bool { return descriptors(t) <= before-2*readyPlaces })
	if _, err := h.users.of(zygote.config.ID); err == nil {
		t.Error("a zygote that has ended can be forked")
	}
}

// Every process has a user namespace of its own, which an unprivileged user of the host made: a launched
// one's lies below the host's, a fork's below its zygote's. All that it needs belongs to that one, it has no
// power there, and it is one user whom nobody else is.
func TestEachProcessHasItsUsers(t *testing.T) {
	h := newRig(t)
	root := h.launch(t, h.config(core.RoleZygote))
	first, second := h.fork(t, root, h.config(core.RoleZygote)), h.fork(t, root, h.config(core.RoleZygote))
	below := h.fork(t, first, h.config(core.RoleZygote))
	all := []child{root, first, second, below}
	parents := map[int]child{first.pid: root, second.pid: root, below.pid: first}
	for _, zygote := range slices.Clone(all) {
		instance := h.fork(t, zygote, h.config(core.RoleInstance))
		parents[instance.pid] = zygote
		all = append(all, instance)
	}
	all = append(all, h.launch(t, h.config(core.RoleInstaller)))
	seen := map[string]bool{}
	for i, c := range all {
		for _, what := range []string{namespaceOf(t, c, "user"), "uid " + onHost(t, c, "Uid"), "gid " + onHost(t, c, "Gid")} {
			if seen[what] || what == "" {
				t.Errorf("process %d has the %q of another one", i, what)
			}
			seen[what] = true
		}
		for _, kind := range []string{"pid", "mnt", "ipc", "uts", "net", "cgroup", "pid_for_children"} {
			if owner := related(t, c, kind, unix.NS_GET_USERNS); owner != inode(t, userNamespace(c.pid)) {
				t.Errorf("the %s of process %d belongs to another user namespace", kind, i)
			}
		}
		above, owner := "/proc/self/ns/user", firstID
		if parent, forked := parents[c.pid]; forked {
			above = userNamespace(parent.pid)
			owner, _ = strconv.Atoi(onHost(t, parent, "Uid"))
		}
		if got := related(t, c, "user", unix.NS_GET_PARENT); got != inode(t, above) {
			t.Errorf("the user namespace of process %d lies elsewhere", i)
		}
		if got := ownerOf(t, c); got != owner && (above != "/proc/self/ns/user" || (got-firstID)%idRange != 1 || got < firstID) {
			t.Errorf("the user namespace of process %d belongs to user %d, and not to %d", i, got, owner)
		}
		compareProcess(t, c, c.spec)
		compareMounts(t, c, c.spec)
		fields := strings.Fields(c.ask(t, "cat /proc/self/uid_map"))
		if c.config.Role == core.RoleInstance && (len(fields) != 6 || !slices.Equal(fields[3:], []string{strconv.Itoa(ownID), fields[4], "1"})) {
			t.Errorf("the ids of instance %d are %v", i, fields)
		}
		if got := words(t, c, "Uid")[0]; got != strconv.Itoa(ownID) {
			t.Errorf("process %d is user %s to itself", i, got)
		}
	}
	spans := map[int]idSpan{} // on the host, of the zygotes that were forked
	for i, c := range []child{first, second, below} {
		fields := strings.Fields(c.ask(t, "cat /proc/self/uid_map"))
		uid, _ := strconv.Atoi(onHost(t, c, "Uid"))
		count, _ := strconv.Atoi(fields[5])
		spans[i] = idSpan{uid, count}
		if len(fields) != 6 || fields[3] != strconv.Itoa(ownID) || count < leastIDs {
			t.Errorf("the ids of zygote %d are %v", i, fields)
		}
	}
	if within := spans[2].first > spans[0].first && spans[2].first+spans[2].count <= spans[0].first+spans[0].count; !within ||
		spans[0].first < spans[1].first+spans[1].count && spans[1].first < spans[0].first+spans[0].count {
		t.Errorf("the ids of siblings overlap, or those of a zygote are not among its parent's: %v", spans)
	}
}

// A zygote has no privilege: it makes no mount, becomes nobody else, and joins no user namespace but one that
// was made for a fork of it.
func TestZygoteHasNoPrivilege(t *testing.T) {
	h := newRig(t)
	root := h.launch(t, h.config(core.RoleZygote))
	zygote := h.fork(t, root, h.config(core.RoleZygote))
	stranger := h.launch(t, h.config(core.RoleZygote))
	for name, c := range map[string]child{"a root zygote": root, "a zygote of it": zygote} {
		for what, err := range map[string]error{
			"mounts":                   c.call(t, unix.SYS_MOUNT, "tmpfs", "/tmp", "tmpfs", 0, 0),
			"mounts a list of formats": c.call(t, unix.SYS_MOUNT, "none", "/tmp", "binfmt_misc", 0, 0),
			"unmounts":                 c.call(t, unix.SYS_UMOUNT2, "/tmp", unix.MNT_DETACH),
			"makes mounts its own":     c.call(t, unix.SYS_UNSHARE, unix.CLONE_NEWNS),
			"makes a pid namespace":    c.call(t, unix.SYS_UNSHARE, unix.CLONE_NEWPID),
			"makes a user namespace":   c.call(t, unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
			"changes the host name":    c.call(t, unix.SYS_SETHOSTNAME, "x", 1),
			"becomes an instance":      c.call(t, unix.SYS_SETUID, ownID+2),
			"becomes another group":    c.call(t, unix.SYS_SETGID, ownID+2),
			"takes groups":             c.call(t, unix.SYS_SETGROUPS, 0, 0),
		} {
			if !errors.Is(err, unix.EPERM) {
				t.Errorf("%s %s: %v", name, what, err)
			}
		}
	}
	// A descriptor of somebody else's: of the zygote above, of one of another tree, and of an instance of
	// that one.
	for what, other := range map[string]child{"the zygote above": root, "another zygote": stranger, "another one's instance": h.fork(t, stranger, h.config(core.RoleInstance))} {
		file, err := os.Open(userNamespace(other.pid))
		if err != nil {
			t.Fatal(err)
		}
		if answer := zygote.ask(t, "join", file); answer != fmt.Sprintf("-1 %d", unix.EPERM) {
			t.Errorf("a zygote joins the user namespace of %s: %s", what, answer)
		}
	}
	if c := h.fork(t, zygote, h.config(core.RoleInstance)); c.ask(t, "cat /proc/self/comm") == "" {
		t.Error("and cannot be forked any more")
	}
	// What the keeper makes places with shares its memory, and has an owner that the zygote is: it is nothing
	// to be seen.
	for i, c := range []child{root, zygote} {
		full(t, h, c)
		first := h.fork(t, c, h.config(core.RoleInstance))
		full(t, h, c)
		if second := h.fork(t, c, h.config(core.RoleInstance)); second.number != first.number+3 {
			t.Errorf("between two forks of zygote %d, numbered %d and %d, there were others than the helper and init", i, first.number, second.number)
		}
	}
}

// What the kernel counts for a user and for the owners of user namespaces: a process comes to its own bound,
// and the next one has as much.
func TestUsersAreBounded(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	for range 2 {
		c, made := h.fork(t, zygote, h.config(core.RoleInstance)), 0
		var err error
		for ; err == nil && made < 200; made++ {
			err = c.call(t, unix.SYS_INOTIFY_INIT1, 0)
		}
		if !errors.Is(err, unix.EMFILE) || made != 17 {
			t.Errorf("%d inotify instances, and %v for one more", made-1, err)
		}
	}
}

// The limit that docs/security.md states: what all instances of a runtime have together is bounded as for one
// user of the host.
func TestInotifyOfARuntimeIsBounded(t *testing.T) {
	h := newRig(t)
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	most, err2 := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	zygote, made := h.launch(t, h.config(core.RoleZygote)), 0
	const instances, each = 9, 16
	for range instances {
		c := h.fork(t, zygote, h.config(core.RoleInstance))
		for c.call(t, unix.SYS_INOTIFY_INIT1, 0) == nil {
			made++
		}
	}
	if want := min(instances*each, most); made != want {
		t.Errorf("%d instances of a runtime have %d inotify instances, and not %d", instances, made, want)
	}
}

func TestZygotesShareTheirIDs(t *testing.T) {
	whole := newIDs(idRange - ownID)
	given := map[idSpan]bool{}
	for range 40 {
		s := whole.some()
		for other := range given {
			if s.first < other.first+other.count && other.first < s.first+s.count {
				t.Fatalf("%v overlaps %v", s, other)
			}
		}
		if s.count < leastIDs || s.first <= whole.ones.first+whole.ones.count-1 || s.first+s.count > idRange {
			t.Fatalf("%v of %+v", s, whole)
		}
		given[s] = true
	}
	for count, depth := idRange-ownID, 0; depth < 40; depth++ { // deeper than any tree or probe is
		ids := newIDs(count)
		one, some := ids.one(), ids.some()
		for _, s := range []idSpan{one, some} {
			if s.count < 1 || s.first < ownID || s.first+s.count > ownID+count {
				t.Fatalf("at depth %d a zygote with %d ids gives %v", depth, count, s)
			}
		}
		count = some.count
	}
	for range 1000 {
		whole.some()
	}
	if s := whole.some(); s != whole.ones {
		t.Errorf("when none are left, it is %v and not those of instances", s)
	}
	for s := range given {
		whole.giveBack(s)
	}
	if s := whole.some(); s == whole.ones || s.count <= leastIDs {
		t.Errorf("what was given back is not given again: %v", s)
	}
	few := newIDs(leastIDs)
	seen := map[int]int{}
	for range 2 * few.ones.count {
		s := few.one()
		seen[s.first]++
		if s.count != 1 || s.first <= ownID || s.first >= ownID+leastIDs {
			t.Errorf("an instance gets %v", s)
		}
	}
	if len(seen) != few.ones.count {
		t.Errorf("instances get %v, and not each in turn", seen)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return inodeOf(info)
}

// related returns the inode of a namespace that one of a process's is related to.
func related(t *testing.T, c child, kind string, how uint) uint64 {
	t.Helper()
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", c.pid, kind))
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	other, err := unix.IoctlRetInt(int(namespace.Fd()), how)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	return inode(t, fmt.Sprintf("/proc/self/fd/%d", other))
}

// ownerOf returns the user of the host that a process's user namespace belongs to.
func ownerOf(t *testing.T, c child) int {
	t.Helper()
	namespace, err := os.Open(userNamespace(c.pid))
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	uid, err := unix.IoctlGetUint32(int(namespace.Fd()), unix.NS_GET_OWNER_UID)
	if err != nil {
		t.Fatal(err)
	}
	return int(uid)
}

// The keeper is killed: nothing of the zygote may stay, although the worker has not died.
func TestKeeperKilled(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	instance := h.fork(t, zygote, h.config(core.RoleInstance))
	if err := zygote.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	gone(t, instance.Sandbox)
	gone(t, zygote.Sandbox)
	installer := h.launch(t, h.config(core.RoleInstaller))
	installer.ask(t, "cat /proc/self/comm") // it is inside for good: it has become somebody else, and asked again to die with its keeper
	if err := installer.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	gone(t, installer.Sandbox)
	soon(t, "what the keepers have left is reaped", func() bool { return endedChild() == 0 })
}
