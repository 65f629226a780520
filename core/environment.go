package core

import (
	"maps"
	"slices"
	"strconv"
)

// Everywhere returns the environment that processes of zygotes and instances have in common: what programs rely on, and what is the same for
// all functions under the names that AWS Lambda uses. The region is the one that AWS's libraries take when nobody names one; without
// one they raise before they are asked for anything. What is only true on AWS is not there.
func Everywhere() map[string]string {
	return map[string]string{
		"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": ":UTC", "SHELL": "/bin/sh",
		"HOME": ScratchDir, "TMPDIR": ScratchDir, "USER": UserName, "LOGNAME": UserName,
		"LAMBDA_TASK_ROOT": CodeDir, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
	}
}

// Environment returns the whole environment of an instance of the function: Everywhere, what the function is told of itself under the
// names that AWS Lambda uses, and what its author set.
func (f *Function) Environment(instance NodeID) map[string]string {
	env := Everywhere()
	maps.Copy(env, map[string]string{
		"_HANDLER": f.Handler, "AWS_LAMBDA_FUNCTION_NAME": f.Name, "AWS_LAMBDA_FUNCTION_VERSION": strconv.Itoa(f.Version),
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.FormatInt(f.Limits.Memory>>20, 10),
		"AWS_LAMBDA_LOG_GROUP_NAME":       f.Name, "AWS_LAMBDA_LOG_STREAM_NAME": string(instance),
	})
	maps.Copy(env, f.Env)
	return env
}

// Settings returns the names of the environment variables that mean something else to what the function imports than they would in a zygote: its own, and
// those that its files set. AllVariables is among them when it is not known which.
func (f *Function) Settings() []string {
	return slices.DeleteFunc(slices.Concat(f.OwnVariables(), f.Sets, f.Changes), IsPlace)
}

// OwnVariables returns the names of the environment variables that an instance of the function has and a zygote has not, or has with another
// value, sorted.
func (f *Function) OwnVariables() []string {
	env := f.Environment("")
	for name, value := range Everywhere() {
		if env[name] == value {
			delete(env, name)
		}
	}
	return slices.Sorted(maps.Keys(env))
}
