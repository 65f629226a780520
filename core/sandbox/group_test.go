package sandbox

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

func TestGroupOf(t *testing.T) {
	for want, config := range map[string]core.SandboxConfig{
		"ns-default": {Role: core.RoleInstance, Function: "f"},
		"ns-team":    {Role: core.RoleInstance, Function: "f.team"},
		"ns-apart":   {Role: core.RoleZygote, Namespace: "apart"},
		"zygotes":    {Role: core.RoleZygote},
		"installers": {Role: core.RoleInstaller, Function: "f.team"},
	} {
		if got := groupOf(config); got != want {
			t.Errorf("%+v is in the group %s and not %s", config, got, want)
		}
	}
}

// Processors are shared by namespaces first: one with three times as many busy instances has no more of them
// than another.
func TestNamespacesShareProcessors(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	few := runtime.NumCPU()
	var group sync.WaitGroup
	var mu sync.Mutex
	got := map[string]float64{}
	burning := map[string][]child{}
	for namespace, n := range map[string]int{"few": few, "many": 3 * few} {
		for range n {
			config := h.config(core.RoleInstance)
			config.Function = "f." + namespace
			burning[namespace] = append(burning[namespace], h.fork(t, zygote, config))
		}
	}
	for namespace, all := range burning {
		for _, c := range all {
			group.Go(func() {
				var ms, errno int
				answer, err := c.try("burn 2")
				if _, err2 := fmt.Sscan(answer, &ms, &errno); err != nil || err2 != nil {
					t.Error(answer, err)
				}
				mu.Lock()
				defer mu.Unlock()
				got[namespace] += float64(ms)
			})
		}
	}
	group.Wait()
	if part := got["few"] / (got["few"] + got["many"]); part < 0.38 {
		t.Errorf("%d instances of one namespace got %.0f %% of the processor time that they and %d of another had", few, 100*part, 3*few)
	}
}

// installers have a low share together, and groups that are empty go when there are many.
func TestGroups(t *testing.T) {
	h := newRig(t)
	tree := h.cgroups
	c := h.launch(t, h.config(core.RoleInstaller))
	weight := "cpu.shares"
	if tree.unified {
		weight = "cpu.weight"
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(c.cgroup.manager.Path("cpu")), weight))
	if want := map[bool]string{false: "128\n", true: "12\n"}[tree.unified]; string(text) != want || err != nil {
		t.Errorf("the weight of installers is %s, %v, and not %s", text, err, want)
	}
	for i := range 3 * keptGroups {
		group := fmt.Sprint("ns-", i)
		if err := tree.join(group); err != nil {
			t.Fatal(err)
		}
		tree.leave(group)
	}
	if err := tree.join("ns-0"); err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(tree.groupDir("*"))
	if _, is := slices.BinarySearch(dirs, tree.groupDir("ns-0")); !is || len(dirs) > keptGroups+1 || err != nil {
		t.Errorf("%d groups, %v", len(dirs), err)
	}
	if _, err := os.Stat(c.cgroup.manager.Path("cpu")); err != nil {
		t.Errorf("a group with a sandbox: %v", err)
	}
}

// On v2 a group passes the controllers on to its sandboxes.
func TestGroupsOfV2(t *testing.T) {
	coretest.Requires(t, root)
	tree := &cgroupTree{unified: true, parents: map[string]string{"": t.TempDir()}, groups: groups{users: map[string]int{}}}
	written := map[string]string{}
	for _, group := range []string{installersGroup, "ns-a", "ns-a"} {
		if err := tree.join(group); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"cgroup.subtree_control", "cpu.weight"} {
			if text, err := os.ReadFile(filepath.Join(tree.groupDir(group), file)); err == nil {
				written[group+"/"+file] = string(text)
			}
		}
	}
	want := map[string]string{"installers/cgroup.subtree_control": "+memory +pids +cpu", "installers/cpu.weight": "12", "ns-a/cgroup.subtree_control": "+memory +pids +cpu"}
	if !maps.Equal(written, want) {
		t.Errorf("%v and not %v", written, want)
	}
	if users := tree.groups.users; users["ns-a"] != 2 || users[installersGroup] != 1 {
		t.Error(users)
	}
	manager, err := tree.manager("ns-a", "n1", tree.memory(1<<20))
	if want := filepath.Join(tree.parents[""], "ns-a", "n1"); err != nil || manager.Path("") != want {
		t.Errorf("%s, %v, and not %s", manager.Path(""), err, want)
	}
}
