package core

import "testing"

func TestBudget(t *testing.T) {
	b := NewBudget(100)
	for i, step := range []struct {
		namespace string
		take      int64
		ok        bool
		greatest  string
	}{{"a", 50, true, "a"}, {"a", 1, false, "a"}, {"b", 40, true, "a"}, {"b", 11, false, "a"}, {"c", 10, true, "a"}, {"c", 1, false, "a"}} {
		if ok := b.Take(step.namespace, step.take); ok != step.ok || b.Greatest() != step.greatest {
			t.Errorf("step %d: %t, %s has most", i, ok, b.Greatest())
		}
	}
	b.Give("a", 50)
	if b.Greatest() != "b" || !b.Take("c", 40) || b.Greatest() != "c" {
		t.Error("what was given back is not there")
	}
	if b.Give("b", 40); len(b.by) != 1 {
		t.Errorf("namespaces that have nothing are kept: %v", b.by)
	}
}
