package supply

import (
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

func TestInOrder(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	last := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		signed, last time.Time
		deployed     bool
		says         string // empty: it is accepted
	}{
		"the first":                  {now, time.Time{}, false, ""},
		"an old one, and the first":  {now.AddDate(-3, 0, 0), time.Time{}, false, ""},
		"a later one":                {last.Add(1), last, true, ""},
		"a later one, after removal": {last.Add(1), last, false, ""},
		"the same again":             {last, last, true, ""},
		"the same after removal":     {last, last, false, "f has been removed since it was signed"},
		"an earlier one":             {last.Add(-1), last, true, "an earlier signature does not count any more; to deploy these files all the same, sign them again"},
		"an earlier, after removal":  {last.Add(-1), last, false, "an earlier signature does not count"},
		"a clock that is ahead":      {now.Add(maxAhead), last, true, ""},
		"from the future":            {now.Add(maxAhead + 1), last, true, "set the clock of the machine that signs"},
	} {
		err := inOrder("f", c.signed, c.last, c.deployed, now)
		if c.says == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		t.Run(name, func(t *testing.T) { coretest.WantError(t, err, core.KindInvalid, core.FaultCaller, c.says) })
	}
}
