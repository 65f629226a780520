package plan

import (
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestQuota(t *testing.T) {
	for _, c := range []struct {
		quotas, used core.Quotas
		want         string
	}{
		{core.Quotas{}, core.Quotas{Instances: 1000, Memory: 1 << 40}, ""},
		{core.Quotas{Instances: 2}, core.Quotas{Instances: 1}, ""},
		{core.Quotas{Instances: 2}, core.Quotas{Instances: 2}, core.QuotaInstances},
		{core.Quotas{Memory: 100}, core.Quotas{Memory: 90}, ""},
		{core.Quotas{Memory: 100}, core.Quotas{Memory: 91}, core.QuotaMemory},
	} {
		if got := Quota(c.quotas, c.used, 10); got != c.want {
			t.Errorf("%+v beside %+v: %q, want %q", c.quotas, c.used, got, c.want)
		}
	}
}

// Events come at any time, at most so many in each second, and those of a second at once.
func TestRate(t *testing.T) {
	var r Rate
	began := 0
	for i := range 1000 { // ten seconds, a hundred tries in each
		now, wait := r.At(5, noon.Add(time.Duration(i)*10*time.Millisecond))
		if wait == 0 {
			began++
			now = now.Taken()
		} else if wait > 200*time.Millisecond {
			t.Errorf("the next of five a second waits %v", wait)
		}
		r = now
	}
	if began != 5+49 {
		t.Errorf("%d events began in ten seconds", began)
	}
	if r, _ = r.At(5, noon.Add(time.Hour)); r.left != 5 {
		t.Errorf("after an hour there are %v events left", r.left)
	}
}

// Zygotes of an isolated namespace are its own, but for those without packages.
func TestIsolation(t *testing.T) {
	own, others := shapeOf("p q", "p"), shapeOf("p q", "p")
	own.Namespace = "team"
	zygotes := []Zygote{z("root", 1, ""), {Shape: others, ID: "others", Depth: 2}}
	facts := Facts{Costs: Costs{{"lang1", "p"}: time.Second}}
	if z, _ := Nearest(zygotes, own, facts); z.ID != "root" {
		t.Errorf("it starts from %s", z.ID)
	}
	zygotes = append(zygotes, Zygote{Shape: own, ID: "own", Depth: 2})
	if z, _ := Nearest(zygotes, own, facts); z.ID != "own" {
		t.Errorf("it starts from %s", z.ID)
	}
	if z, _ := Nearest(zygotes, others, facts); z.ID != "others" {
		t.Errorf("others start from %s", z.ID)
	}
	if own.Key() == others.Key() || len(own.shared(others).Set) > 0 || own.within(others) || others.within(own) {
		t.Error("they have something in common")
	}
	fn := core.Function{Name: "f.team", Isolated: true}
	if s := ShapeOf(&fn); s.Namespace != "team" {
		t.Errorf("%+v", s)
	}
	for _, s := range []Shape{own, others} {
		demands := Demands{}
		demands.Add(s, EnoughMisses, Once(noon), noon)
		want, found := Wanted(heaviest(demands), []Zygote{z("root", 1, "")}, nil, facts, noon)
		if !found || want.Namespace != s.Namespace {
			t.Errorf("wanted is %+v", want)
		}
	}
}

func TestShownIsStale(t *testing.T) {
	for age, stale := range map[time.Duration]bool{30 * time.Second: false, time.Minute: true} {
		if (Shown{At: noon}).Stale(noon.Add(age)) != stale || !(Shown{At: noon, Err: core.Stopping()}).Stale(noon.Add(age)) {
			t.Errorf("after %v", age)
		}
	}
	if !(Shown{}).Stale(noon) || DiskFull(1<<30, 1<<40) || !DiskFull(63<<20, 1<<40) || DiskFull(2<<20, 100<<20) || !DiskFull(1, 24<<20) {
		t.Error("what is unknown is not stale, or a disk is full")
	}
}
