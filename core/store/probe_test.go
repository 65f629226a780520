package store

import (
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

func TestSetProbes(t *testing.T) {
	data := t.TempDir()
	s, _, err := Open(data)
	coretest.Must(t, err)
	var all []core.Installed
	for _, archive := range []string{"sha256:aa", "sha256:bb"} {
		dir := stage(t, s, map[string]string{"a.x": archive})
		p, err := s.CommitPackage("lang1", core.Locked{Name: "@a/b", Version: "1-2", Archives: []string{archive}}, core.Receipt{Archive: archive}, dir)
		coretest.Must(t, err)
		all = append(all, p)
	}
	want := core.Probe{Own: time.Second, Threads: 2, Errors: map[string]string{"m": "no"}, Unforkable: "starts 2 threads at import"}
	coretest.Must(t, s.SetProbes("lang1", map[core.Package]core.Probe{all[1].Package: want, {Name: "nobody", Version: "1"}: {}, {Name: "@a/b", Version: "1-2", Digest: "sha256:00"}: {}}))
	coretest.Must(t, s.SetProbes("lang2", map[core.Package]core.Probe{all[0].Package: want}))
	coretest.Must(t, s.Close())
	s, _, err = Open(data)
	coretest.Must(t, err)
	defer s.Close()
	first, ok := s.Find("lang1", all[0].Package)
	if !ok || first.Probe != nil {
		t.Errorf("another of the same name and version: %+v", first)
	}
	second, ok := s.Lookup("lang1", all[1].Locked)
	if !ok || second.Probe == nil || second.Probe.Own != want.Own || second.Probe.Errors["m"] != "no" || second.Receipt.Archive != "sha256:bb" {
		t.Errorf("%+v", second)
	}
	if second.Used.Before(all[1].Used) || len(s.Installed()) != 2 {
		t.Errorf("used %v, installed %v", second.Used, s.Installed())
	}
}

func TestAmend(t *testing.T) {
	s, _, err := Open(t.TempDir())
	coretest.Must(t, err)
	defer s.Close()
	digest, release, err := s.CommitCode(stage(t, s, map[string]string{"f.x": "1"}))
	coretest.Must(t, err)
	defer release()
	coretest.Must(t, s.Put(core.Function{Name: "f", Version: 3, Code: digest, Imports: []string{"a"}}))
	var group sync.WaitGroup
	for _, m := range []string{"b", "c"} {
		group.Go(func() {
			if _, err := s.Amend("f", 3, func(f *core.Function) { f.Loaded = slices.Concat(f.Loaded, []string{m}) }); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	f, _ := s.Get("f")
	if slices.Sort(f.Loaded); !slices.Equal(f.Loaded, []string{"b", "c"}) || !slices.Equal(f.Imports, []string{"a"}) {
		t.Errorf("%+v", f)
	}
	for name, version := range map[string]int{"f": 2, "g": 1} {
		if _, err := s.Amend(name, version, func(*core.Function) { t.Error("it is changed") }); !core.IsKind(err, core.KindConflict) {
			t.Errorf("%s version %d: %v", name, version, err)
		}
	}
}

// TestInstalledOf looks up packages among others whose entries nobody may read: who does waits for ever.
func TestInstalledOf(t *testing.T) {
	s, _, err := Open(t.TempDir())
	coretest.Must(t, err)
	defer s.Close()
	var want core.Set
	for _, archive := range []string{"sha256:aa", "sha256:bb"} {
		p, err := s.CommitPackage("lang1", core.Locked{Name: "@a/b", Version: "1-2", Archives: []string{archive}}, core.Receipt{Archive: archive}, stage(t, s, map[string]string{"a.x": archive}))
		coretest.Must(t, err)
		want = append(want, p.Package)
	}
	want = core.NewSet(want...)
	path, err := s.indexPath("lang1", core.Locked{Name: "other", Version: "1"}, "")
	coretest.Must(t, err)
	coretest.Must(t, syscall.Mkfifo(path, 0o600))
	for _, set := range []core.Set{want, want[:1], nil} {
		var got core.Set
		for _, p := range s.InstalledOf("lang1", append(slices.Clone(set), core.Package{Name: "nobody", Version: "1"})) {
			got = append(got, p.Package)
		}
		if !slices.Equal(got, set) {
			t.Errorf("%v, want %v", got, set)
		}
	}
	coretest.Must(t, s.SetProbes("lang1", map[core.Package]core.Probe{want[0]: {Own: time.Second}}))
	if p, ok := s.Find("lang1", want[0]); !ok || p.Probe == nil || len(s.InstalledOf("lang2", want)) > 0 {
		t.Errorf("%+v", p)
	}
	coretest.Must(t, os.Remove(path))
}
