package core

import (
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, name := range []string{"a", "7", "A-b_c", "hello-world", long, "a.b", "Hello.team-1", long + "." + long} {
		if err := ValidName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "-a", "a-", "_a", "a/b", "../a", "..", ".", ".a", "a b", "naïve", "名", "a\n", "a\x00", long + "a",
		strings.Repeat("é", 300), "a.", "a.B", "a.b_c", "a.-b", "a.b-", "a.b.c", "a." + long + "a", "a.b/c", "a.default"} {
		err := AsError(ValidName(name))
		if err == nil || err.Kind != KindInvalid || err.Fault != FaultCaller || !strings.Contains(err.Message, "cannot be the name of a") {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if len(err.Error()) > 600 {
			t.Errorf("a message of %d bytes", len(err.Error()))
		}
	}
}

func TestNamespace(t *testing.T) {
	for _, c := range []struct{ name, inside, full, namespace string }{
		{"hello", DefaultNamespace, "hello", DefaultNamespace},
		{"hello", "team", "hello.team", "team"},
		{"hello.team", "team", "hello.team", "team"},
		{"hello.team", DefaultNamespace, "hello.team", "team"},
		{"hello.other", "team", "hello.other", "other"},
	} {
		if full := FullName(c.name, c.inside); full != c.full || Namespace(full) != c.namespace {
			t.Errorf("%s inside %s is %s of %s", c.name, c.inside, full, Namespace(full))
		}
	}
}
