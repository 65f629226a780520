package driver_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

// What Logger writes is hclog's form, and is read back as it was logged.
func TestLoggerRoundTrip(t *testing.T) {
	var b bytes.Buffer
	log := driver.Logger(&b)
	for _, level := range []slog.Level{slog.LevelDebug - 4, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		b.Reset()
		log.With("fn", "f").WithGroup("g").Log(t.Context(), level, "fork", "time", "now")
		var line map[string]any
		if err := json.Unmarshal(b.Bytes(), &line); err != nil || line["@message"] != "fork" {
			t.Fatalf("the line is %q, %v", b.String(), err)
		}
		r, ok := driver.ParseLine(b.Bytes())
		if !ok || r.Level != level || r.Message != "fork" || time.Since(r.Time) > time.Minute || r.NumAttrs() != 2 {
			t.Errorf("%q was read as %+v, %v", b.String(), r, ok)
		}
	}
}

func TestParseLine(t *testing.T) {
	for line, ok := range map[string]bool{
		`{"@level":"info","@message":"m","@timestamp":"2026-01-02T03:04:05.000006Z"}`: true,
		`{"@level":"info","@message":"m"}`:                                            true,
		`{"@level":"info","@message":"m","@timestamp":7}`:                             true,
		`{"@level":"none","@message":"m"}`:                                            false,
		`{"@message":"m"}`:                                                            false,
		`{"@level":"info","@message":1}`:                                              false,
		`{"@level":7,"@message":"m"}`:                                                 false,
		`{"level":"info","msg":"m"}`:                                                  false,
		`[1]`:                                                                         false,
		`{`:                                                                           false,
		``:                                                                            false,
		`panic: no`:                                                                   false,
	} {
		if _, got := driver.ParseLine([]byte(line)); got != ok {
			t.Errorf("%q is %v, want %v", line, got, ok)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"@level":"info","@message":"m","@timestamp":"2026-01-02T03:04:05.000006Z","a":{"b":[1,null]}}`))
	f.Add([]byte(`{"@level":7,"@message":"m"}`))
	f.Fuzz(func(t *testing.T, line []byte) { driver.ParseLine(line) })
}
