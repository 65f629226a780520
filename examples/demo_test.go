package main

import "testing"

func TestWithoutReuse(t *testing.T) {
	for settings, want := range map[string]string{
		"":                                     "reuse: false\n",
		"memory_mb: 64\n":                      "memory_mb: 64\nreuse: false\n",
		"concurrency: 20\n":                    "reuse: false\n",
		"env: {A: b}\nconcurrency: 20\nx: y\n": "env: {A: b}\nx: y\nreuse: false\n",
	} {
		if got := string(withoutReuse([]byte(settings))); got != want {
			t.Errorf("%q becomes %q, want %q", settings, got, want)
		}
	}
}
