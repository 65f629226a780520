package core

import (
	"context"
	"regexp"
	"strings"
	"time"
)

// Bounds of secrets.
const (
	MaxSecret  = 64 << 10 // bytes of one
	MaxSecrets = 16       // of one function
)

// SecretsDir is where an instance finds its secrets that are files.
const SecretsDir = "/run/secrets"

// SecretUse is how a function gets a secret of its namespace: in an environment variable, or in a file.
type SecretUse struct {
	Name string `json:"name"`           // without the namespace, which is the function's
	Env  string `json:"env,omitempty"`  // a variable
	File string `json:"file,omitempty"` // a name in SecretsDir
}

// SecretInfo is what is known of a secret. Its value is shown to nobody.
type SecretInfo struct {
	Name      string    `json:"name"`           // the full one, as a function's
	Set       time.Time `json:"set"`            // last
	Key       string    `json:"key"`            // the id of the key that it is sealed with
	Lost      string    `json:"lost,omitempty"` // why it cannot be opened; empty if it can
	Functions []string  `json:"functions"`      // that use it, sorted
}

// Secret is the value of one. It is formatted as nothing that tells it.
type Secret []byte

func (Secret) String() string { return "(secret)" }

// GoString hides it from %#v too.
func (Secret) GoString() string { return "(secret)" }

// MarshalText hides it from JSON and from logs.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Secrets is the part of a Service that keeps secrets of namespaces.
type Secrets interface {
	// Secrets returns what is known of all secrets, sorted by name. One that cannot be opened is no error:
	// its Lost says why.
	Secrets(ctx context.Context) ([]SecretInfo, error)
	// SetSecret keeps a value under a full name, in place of an earlier one. The functions that use it get a
	// next version each: later instances have the new value, and idle ones of the earlier version end.
	// KindInvalid if the name cannot be a secret's, or the value is empty, or no variable can have it and a
	// function wants it in one; KindTooLarge if it has more than MaxSecret bytes; KindNotFound if there is no
	// such namespace; KindExhausted if that has as many as it may; KindConflict, Retryable, if a function
	// that uses it is being deployed.
	SetSecret(ctx context.Context, name string, value Secret) (SecretInfo, error)
	// RemoveSecret forgets one. KindConflict if a function uses it, KindNotFound if there is none.
	RemoveSecret(ctx context.Context, name string) error
}

// ValidSecret returns the reason why a secret cannot have a full name, nil if it can.
func ValidSecret(full string) error {
	name, namespace, found := strings.Cut(full, ".")
	if !validName.MatchString(name) || found && namespace == DefaultNamespace {
		return Errorf(KindInvalid, FaultCaller, "%.150q cannot be the name of a secret: a name has 1 to 63 letters a–z and A–Z, digits, '-' and '_', "+
			"and begins and ends with a letter or digit; a namespace other than the default one follows after a dot", full)
	}
	if found {
		return ValidNamespace(namespace)
	}
	return nil
}

// secretFile are names of files that secrets may have.
var secretFile = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$`)

// ValidSecretUse returns the reason why a function cannot get a secret so, nil if it can.
func ValidSecretUse(u SecretUse) error {
	switch {
	case !validName.MatchString(u.Name):
		return Errorf(KindInvalid, FaultCaller, "%.150q cannot be the name of a secret: a name has 1 to 63 letters a–z and A–Z, digits, '-' and '_', "+
			"and begins and ends with a letter or digit; it is one of the function's own namespace", u.Name)
	case u.Env != "":
		return ValidVariable(u.Env, "")
	case !secretFile.MatchString(u.File):
		return Errorf(KindInvalid, FaultCaller, "the secret %s cannot be at %.150q: a file is %s/NAME, and a NAME has letters, digits, '.', '-' and '_'", u.Name, u.File, SecretsDir)
	}
	return nil
}
