package core

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Everywhere returns the environment that processes of zygotes and instances have in common: what programs
// rely on, and what is the same for all functions under the names that AWS Lambda uses. The region is the one
// that AWS's libraries take when nobody names one; without one they raise before they are asked for anything.
// What is only true on AWS is not there.
func Everywhere() map[string]string {
	return map[string]string{
		"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": ":UTC", "SHELL": "/bin/sh",
		"HOME": ScratchDir, "TMPDIR": ScratchDir, "USER": UserName, "LOGNAME": UserName,
		"LAMBDA_TASK_ROOT": CodeDir, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
	}
}

// Environment returns the whole environment of an instance of the function: Everywhere, the function's facts
// about itself under the names that AWS Lambda uses, and what its author set.
func (f *Function) Environment(instance NodeID) map[string]string {
	env := Everywhere()
	maps.Copy(env, map[string]string{
		"_HANDLER": f.Handler, "AWS_LAMBDA_FUNCTION_NAME": f.Name, "AWS_LAMBDA_FUNCTION_VERSION": strconv.Itoa(f.Version),
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.FormatInt(f.Limits.Memory>>20, 10),
		"AWS_LAMBDA_LOG_GROUP_NAME":       f.Name, "AWS_LAMBDA_LOG_STREAM_NAME": string(instance),
	})
	maps.Copy(env, f.Env)
	maps.Copy(env, f.EnvSet)
	return env
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ValidVariable returns the reason why a function cannot have an environment variable, nil if it can. It does
// not say the value.
func ValidVariable(name, value string) error {
	switch {
	case !variableName.MatchString(name):
		return Errorf(KindInvalid, FaultCaller, "%.150q is no name of an environment variable: use letters, digits and '_', and no digit first", name)
	case strings.Contains(value, "\x00"):
		return Errorf(KindInvalid, FaultCaller, "the value of %.150s has a NUL byte in it; leave it out", name)
	}
	return nil
}

// MaxEnvSet is how many bytes the names and values of EnvSet have together at most: as many as a file of
// settings.
const MaxEnvSet = 64 << 10

// EnvChange changes the EnvSet of a function. Nothing else of it changes, so nothing is uploaded.
type EnvChange struct {
	Function string            `json:"-"`
	Set      map[string]string `json:"set,omitempty"`
	Unset    []string          `json:"unset,omitempty"` // each has to be in EnvSet
	Force    bool              `json:"-"`               // as in DeployRequest
	Ready    bool              `json:"-"`               // as in DeployRequest
}

// Apply returns what the EnvSet of a function is after the change, or why it cannot be made. The argument is
// not changed.
func (c *EnvChange) Apply(fn *Function) (map[string]string, error) {
	if len(c.Set)+len(c.Unset) == 0 {
		return nil, Errorf(KindInvalid, FaultCaller, "nothing is to be changed in the environment of %s: name a variable to set or to unset", fn.Name)
	}
	after := map[string]string{}
	maps.Copy(after, fn.EnvSet)
	for _, name := range c.Unset {
		_, isSet := fn.EnvSet[name]
		_, written := fn.Env[name]
		_, both := c.Set[name]
		switch {
		case both:
			return nil, Errorf(KindInvalid, FaultCaller, "%.150q is to be set and unset at once; leave one of them out", name)
		case !isSet && written:
			return nil, Errorf(KindInvalid, FaultCaller, "%.150s of %s is in its pipsqueak.yaml: take it out there and deploy, or set it to another value", name, fn.Name)
		case !isSet:
			return nil, Errorf(KindNotFound, FaultCaller, "no variable %.150q was set for %s; 'pipsqueak env list %s' shows those that it has", name, fn.Name, fn.Name)
		}
		delete(after, name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Set)) {
		if err := ValidVariable(name, c.Set[name]); err != nil {
			return nil, err
		}
		after[name] = c.Set[name]
	}
	changed := *fn
	changed.EnvSet = after
	if err := changed.Agree(); err != nil {
		return nil, err
	}
	bytes := 0
	for name, value := range after {
		bytes += len(name) + len(value)
	}
	if bytes > MaxEnvSet {
		return nil, Errorf(KindTooLarge, FaultCaller, "the variables that are set for %s have %d bytes together, and may have %d: put large values into a file of the function",
			fn.Name, bytes, MaxEnvSet)
	}
	return after, nil
}

// Agree returns an error if a variable of the function is a secret and something else too.
func (f *Function) Agree() error {
	for _, secret := range f.Secrets {
		if _, set := f.EnvSet[secret.Env]; set {
			return Errorf(KindInvalid, FaultCaller, "%s of %s would be its secret %s, and was set by 'pipsqueak env set': 'pipsqueak env unset %s %s' takes that back",
				secret.Env, f.Name, secret.Name, f.Name, secret.Env)
		}
		if _, written := f.Env[secret.Env]; written {
			return Errorf(KindInvalid, FaultCaller, "%s of %s is in env of its pipsqueak.yaml and would be its secret %s too: take one of them out", secret.Env, f.Name, secret.Name)
		}
	}
	return nil
}

// HasVariables reports whether the author or the operator of the function has given it variables of its own.
func (f *Function) HasVariables() bool {
	return len(f.Env)+len(f.EnvSet) > 0 || slices.ContainsFunc(f.Secrets, func(s SecretUse) bool { return s.Env != "" })
}

// Settings returns the names of the environment variables that mean something else to what the function
// imports than they would in a zygote: its own, and those that its files set. AllVariables is among them when
// it is not known which.
func (f *Function) Settings() []string {
	return slices.DeleteFunc(slices.Concat(f.OwnVariables(), f.Sets, f.Changes), func(name string) bool {
		return IsPlace(name) || strings.HasPrefix(name, LateModule)
	})
}

// IsLate reports whether the function's code imports the module after it may have changed what the module
// finds.
func (f *Function) IsLate(module string) bool {
	names := slices.Concat(f.Sets, f.Changes)
	return slices.Contains(names, LateModule+module) || slices.Contains(names, LateModule+AnyPackage) && !slices.Contains(f.Imports, module)
}

// OwnVariables returns the names of the environment variables that an instance of the function has and a
// zygote has not, or has with another value, sorted.
func (f *Function) OwnVariables() []string {
	env := f.Environment("")
	for _, secret := range f.Secrets {
		if secret.Env != "" {
			env[secret.Env] = ""
		}
	}
	for name, value := range Everywhere() {
		if env[name] == value {
			delete(env, name)
		}
	}
	return slices.Sorted(maps.Keys(env))
}
