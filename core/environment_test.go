package core

import (
	"slices"
	"testing"
	"time"
)

// What is the same for a zygote and all instances is no function's own, and what an author sets wins.
func TestEnvironment(t *testing.T) {
	f := &Function{Name: "f", Version: 3, Handler: "a.b", Limits: Limits{Memory: 64 << 20, Timeout: time.Second}, Env: map[string]string{"TZ": "Europe/Berlin", "LANG": "C.UTF-8", "OWN": ""}}
	env := f.Environment("f-7")
	for name, want := range map[string]string{"TZ": "Europe/Berlin", "HOME": "/tmp", "USER": "function", "_HANDLER": "a.b", "AWS_LAMBDA_FUNCTION_VERSION": "3",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "64", "AWS_LAMBDA_LOG_STREAM_NAME": "f-7", "OWN": ""} {
		if got, there := env[name]; !there || got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	own := f.OwnVariables()
	for _, name := range []string{"TZ", "OWN", "_HANDLER", "AWS_LAMBDA_FUNCTION_NAME"} {
		if !slices.Contains(own, name) {
			t.Errorf("%s is not the function's own", name)
		}
	}
	for name := range Everywhere() {
		if name != "TZ" && slices.Contains(own, name) {
			t.Errorf("%s is the function's own, and it is the same everywhere", name)
		}
	}
}
