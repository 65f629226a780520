package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

func TestProgress(t *testing.T) {
	tell := func(terminal bool) string {
		var out bytes.Buffer
		now := noon
		show := (&program{screen: &out, terminal: terminal, now: func() time.Time { return now }}).progress()
		show.step(core.Progress{Verb: "install", Item: "numpy==1", Done: 1, Total: 4})
		show.step(core.Progress{Verb: "install", Item: "numpy==1", Done: 2, Total: 4}) // too soon
		now = now.Add(1500 * time.Millisecond)
		show.step(core.Progress{Verb: "install", Item: "numpy==1", Done: 3, Total: 4, Detail: strings.Repeat("é", 100)})
		show.step(core.Progress{Verb: "install", Item: "six==1\x1b[2J", Detail: "fetched", Bytes: 3 << 10, Took: 1234567 * time.Nanosecond, Ended: true})
		show.step(core.Progress{Verb: "install", Item: "f", Detail: "2 packages, all in the store", Ended: true})
		show.step(core.Progress{Verb: core.VerbWarn, Item: "f", Detail: strings.Repeat("long ", 20) + "end", Ended: true})
		show.step(core.Progress{Verb: "build", Item: "f"})
		now = now.Add(time.Minute)
		show.tick()
		show.clear()
		show.tick()
		return out.String()
	}
	const clear = "\r\x1b[K"
	warning := "warn f: " + strings.Repeat("long ", 20) + "end\n"
	want := clear + "install numpy==1 25 %  0.0s" + clear + "install numpy==1 75 % (" + strings.Repeat("é", 73-len("install numpy==1 75 % (")) + "  1.5s" +
		clear + "install six==1 [2J (fetched)  1.5s" + clear + "install f                                2 packages, all in the store\n" + clear + warning +
		clear + "build f  1.5s" + clear + "build f  1m01s" + clear
	if got := tell(true); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	want = "  0.0s  install numpy==1\n  1.5s  install six==1 [2J                       fetched, 3.0 KiB, 1ms\n" +
		"  1.5s  install f                                2 packages, all in the store\n  1.5s  " + warning + "  1.5s  build f\n"
	if got := tell(false); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]size{
		"1b": 1, "1048576B": 1 << 20, "512M": 512 << 20, "2G": 2 << 30, "2GiB": 2 << 30, "2gb": 2 << 30, "1.5k": 1536, " 1T ": 1 << 40,
		"": 0, "0": 0, "-1G": 0, "512": 0, "1048576": 0, "1.5": 0, "G": 0, "1X": 0, "1MM": 0, "nan": 0, "inf": 0, "1e30": 0, "1P P": 0,
	} {
		var s size
		if err := s.Set(text); (err != nil) != (want == 0) || s != want {
			t.Errorf("%q: %d, %v", text, s, err)
		}
	}
	if err := new(size).Set("512"); err == nil || !strings.Contains(err.Error(), "write 512M for megabytes") {
		t.Error(err)
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 1536 << 20: "1.5 GiB", 1 << 62: "4096.0 PiB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Hour: "1h", 90 * time.Minute: "1h30m", 5 * time.Minute: "5m", 10 * time.Second: "10s"} {
		if got := humanDuration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
