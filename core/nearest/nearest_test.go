package nearest

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	names := []string{"hello", "thumbnail", "thumb", "memory_mb", "timeout_ms", "idle_timeout", "x"}
	for wrong, want := range map[string]string{
		"helo": "hello", "Hello": "hello", "hell": "hello", "hello2": "hello", "thumb-nail": "thumb", "memory": "memory_mb", "timout_ms": "timeout_ms",
		"idle": "idle_timeout", "report": "", "": "", "h": "", "x1": "", strings.Repeat("z", 1<<20): "", "é": "",
	} {
		if got := Name(wrong, names); got != want {
			t.Errorf("%.20q: %q, want %q", wrong, got, want)
		}
	}
	if got := Question("helo", names) + Question("report", names) + Question("x", nil); got != `; did you mean "hello"?` {
		t.Error(got)
	}
}
