package core

import (
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	for _, name := range []string{"a", "7", "A-b_c", "hello-world", strings.Repeat("a", 63)} {
		if err := ValidName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "-a", "a-", "_a", "a/b", "../a", "..", "a.b", "a b", "naïve", "名", "a\n", "a\x00", strings.Repeat("a", 64),
		strings.Repeat("é", 300)} {
		err := AsError(ValidName(name))
		if err == nil || err.Kind != KindInvalid || err.Fault != FaultCaller || !strings.Contains(err.Message, "1 to 63") {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if len(err.Error()) > 600 {
			t.Errorf("a message of %d bytes", len(err.Error()))
		}
	}
}
