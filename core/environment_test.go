package core

import (
	"maps"
	"slices"
	"strings"
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

func TestEnvChange(t *testing.T) {
	f := &Function{Name: "f", Env: map[string]string{"FILE": "1", "BOTH": "1"}, EnvSet: map[string]string{"BOTH": "2", "SET": "2"}}
	if env := f.Environment(""); env["FILE"] != "1" || env["BOTH"] != "2" || env["SET"] != "2" {
		t.Errorf("%v", env)
	}
	for _, test := range []struct {
		set   map[string]string
		unset []string
		want  map[string]string
		told  string
	}{
		{map[string]string{"FILE": "3", "NEW": ""}, []string{"BOTH"}, map[string]string{"SET": "2", "FILE": "3", "NEW": ""}, ""},
		{nil, nil, nil, "nothing is to be changed"},
		{nil, []string{"FILE"}, nil, "is in its pipsqueak.yaml"},
		{nil, []string{"NONE"}, nil, `no variable "NONE" was set`},
		{map[string]string{"SET": "3"}, []string{"SET"}, nil, "set and unset at once"},
		{map[string]string{"A=B": "top secret"}, nil, nil, "is no name of an environment variable"},
		{map[string]string{"A": "top secret\x00"}, nil, nil, "the value of A has a NUL byte"},
		{map[string]string{"A": strings.Repeat("x", MaxEnvSet)}, nil, nil, "may have 65536"},
	} {
		change := EnvChange{Function: "f", Set: test.set, Unset: test.unset}
		got, err := change.Apply(f)
		if !maps.Equal(got, test.want) || (err == nil) != (test.told == "") || err != nil && (!strings.Contains(err.Error(), test.told) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%v without %v: %v, %v", test.set, test.unset, got, err)
		}
	}
	if f.EnvSet["BOTH"] != "2" {
		t.Error("the function itself has changed")
	}
}
