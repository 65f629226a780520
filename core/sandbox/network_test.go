package sandbox

import (
	"os"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestIDsAreUniqueAndComeBack(t *testing.T) {
	h := newHouse(t)
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

	uids := map[uint32]bool{}
	for range idRange - 3 {
		uid := h.newUID()
		if uids[uid] || uid == 0 || uid >= idRange-2 {
			t.Fatalf("uid %d", uid)
		}
		uids[uid] = true
	}
}

// full waits until the zygote's keeper has made all networks that it makes ahead.
func full(t *testing.T, h *house, zygote child) {
	t.Helper()
	user, err := userNamespace(zygote.pid)
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "networks are made ahead", func() bool {
		h.networks.mu.Lock()
		defer h.networks.mu.Unlock()
		return len(h.networks.keepers[user]) == readyNetworks
	})
}

func TestNetworksAreTakenOnce(t *testing.T) {
	h := newHouse(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	full(t, h, zygote)
	seen := map[string]bool{}
	inode := func(c child) string {
		for line := range strings.Lines(c.ask(t, "ls /proc/self/ns")) {
			if strings.HasPrefix(line, "net ") {
				return line
			}
		}
		return ""
	}
	for range 2 * readyNetworks {
		c := h.fork(t, zygote, h.config(core.RoleInstance))
		if net := inode(c); seen[net] || net == "" {
			t.Errorf("the network %s again", net)
		} else {
			seen[net] = true
		}
		if text := c.ask(t, "cat /proc/net/dev"); strings.Count(text, ":") != 1 || !strings.Contains(text, "lo:") {
			t.Errorf("more than a loopback:\n%s", text)
		}
	} // they stay, or the kernel would use the numbers again
	full(t, h, zygote)
	before := descriptors(t)
	zygote.Kill()
	gone(t, zygote.Sandbox)
	soon(t, "the keeper's networks are forgotten", func() bool {
		h.networks.mu.Lock()
		defer h.networks.mu.Unlock()
		return len(h.networks.keepers) == 0
	})
	soon(t, "and closed", func() bool { return descriptors(t) <= before-readyNetworks })
	if fd := h.networks.take(os.Getpid()); fd >= 0 {
		t.Error("a network for a user namespace that has no keeper")
	}
}

// The keeper is killed: nothing of the zygote may stay, although the worker has not died.
func TestKeeperKilled(t *testing.T) {
	h := newHouse(t)
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
