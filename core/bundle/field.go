package bundle

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
)

// field is one key of a mapping with its value, or with no key all settings.
type field struct {
	key  string // as it is written
	path string // with the keys above it, for people
	line int
	node *yaml.Node
}

func (f field) errorf(format string, args ...any) error {
	where := fmt.Sprintf("%s line %d: ", SettingsFile, f.line)
	if f.path != "" {
		where += files.Quote(f.path) + ": "
	}
	return files.Refusef("%s%w", where, fmt.Errorf(format, args...))
}

// expected is the error of a value that is something else.
func (f field) expected(what string) error {
	return f.errorf("found %s, expected %s", describe(f.node), what)
}

// each calls visit with each key of a mapping.
func (f field) each(visit func(field) error) error {
	if f.node.Kind != yaml.MappingNode || f.node.ShortTag() != "!!map" {
		return f.expected("keys with values, as in 'memory_mb: 512'")
	}
	seen := map[string]int{}
	for pair := range slices.Chunk(f.node.Content, 2) {
		key, value := pair[0], pair[1]
		one := field{key: key.Value, path: key.Value, line: key.Line, node: value}
		if f.path != "" {
			one.path = f.path + "." + key.Value
		}
		if key.Kind != yaml.ScalarNode {
			return field{path: f.path, line: key.Line, node: key}.expected("a name as the key")
		}
		if first, twice := seen[key.Value]; twice {
			return one.errorf("the key is there twice, first on line %d; remove one", first)
		}
		seen[key.Value] = key.Line
		if err := visit(one); err != nil {
			return err
		}
	}
	return nil
}

// child returns the value of one key of a mapping.
func (f field) child(key string) (field, bool) {
	if f.node.Kind == yaml.MappingNode {
		for pair := range slices.Chunk(f.node.Content, 2) {
			if pair[0].Value == key {
				return field{key: key, path: key, line: pair[0].Line, node: pair[1]}, true
			}
		}
	}
	return field{}, false
}

// scalar reports whether the value is a single one of one of the types.
func (f field) scalar(tags ...string) bool {
	return f.node.Kind == yaml.ScalarNode && slices.Contains(tags, f.node.ShortTag())
}

func (f field) text(what string) (string, error) {
	if !f.scalar("!!str") || f.node.Value == "" {
		return "", f.expected(what)
	}
	return f.node.Value, nil
}

func (f field) boolean() (bool, error) {
	var value bool
	if !f.scalar("!!bool") || f.node.Decode(&value) != nil {
		return false, f.expected("true or false")
	}
	return value, nil
}

func (f field) whole(least, most int64, unit string) (int64, error) {
	var n int64
	if !f.scalar("!!int") || f.node.Decode(&n) != nil || n < least || n > most {
		return 0, f.expected(fmt.Sprintf("a whole number of %s from %d to %d", unit, least, most))
	}
	return n, nil
}

// list takes a list of texts, each once.
func (f field) list(what string) ([]string, error) {
	if f.node.Kind != yaml.SequenceNode {
		return nil, f.expected("a list of " + what)
	}
	var list []string
	for _, node := range f.node.Content {
		text, err := field{path: f.path, line: node.Line, node: node}.text("one of " + what)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list, nil
}

// duration takes what time.ParseDuration understands. A number without a unit is refused: nobody knows
// whether who writes 10 means seconds.
func (f field) duration(least, most time.Duration) (time.Duration, error) {
	if f.scalar("!!int", "!!float") {
		return 0, f.errorf("%s has no unit: write %ss for seconds, %sms for milliseconds", f.node.Value, f.node.Value, f.node.Value)
	}
	d, err := time.ParseDuration(f.node.Value)
	if !f.scalar("!!str") || err != nil || d < least || d > most {
		return 0, f.expected(fmt.Sprintf("a duration such as 10s, 5m or 1h30m, from %s to %s", least, most))
	}
	return d, nil
}

// environment takes a mapping of names to single values, which become text as they are written.
func (f field) environment() (map[string]string, error) {
	if f.node.Kind != yaml.MappingNode {
		return nil, f.expected("names with values, one on a line")
	}
	env := map[string]string{}
	err := f.each(func(one field) error {
		if err := core.ValidVariable(one.key, one.node.Value); err != nil {
			return one.errorf("%w", err)
		}
		if !one.scalar("!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!null") {
			return one.expected("a single value")
		}
		env[one.key] = one.node.Value
		if one.scalar("!!null") {
			env[one.key] = ""
		}
		return nil
	})
	return env, err
}

// secrets takes a list of names of secrets. One alone is a variable of its name in capitals; with a value it
// is the variable, or the file, of that name.
func (f field) secrets() (uses []core.SecretUse, err error) {
	const what = "names of secrets, such as 'db-url', 'db-url: DATABASE_URL' for a variable or 'db-url: " + core.SecretsDir + "/url' for a file"
	if f.node.Kind != yaml.SequenceNode {
		return nil, f.expected("a list of " + what)
	}
	taken := map[string]bool{}
	for _, node := range f.node.Content {
		one := field{path: f.path, line: node.Line, node: node}
		use := core.SecretUse{Name: node.Value}
		use.Env = strings.ToUpper(strings.ReplaceAll(use.Name, "-", "_"))
		if node.Kind == yaml.MappingNode && len(node.Content) == 2 {
			if err := one.each(func(to field) error {
				place, err := to.text("a variable, or a file in " + core.SecretsDir)
				use = core.SecretUse{Name: to.key, Env: place}
				if file, is := strings.CutPrefix(place, core.SecretsDir+"/"); is || strings.HasPrefix(place, "/") {
					use.Env, use.File = "", file
				}
				return err
			}); err != nil {
				return nil, err
			}
		} else if !one.scalar("!!str") {
			return nil, one.expected("one of " + what)
		}
		if err := core.ValidSecretUse(use); err != nil {
			return nil, one.errorf("%w", err)
		}
		if taken[use.Env+"/"+use.File] {
			return nil, one.errorf("%s is there twice; name another variable or file, as in '%s: OTHER'", files.Quote(use.Env+use.File), use.Name)
		}
		taken[use.Env+"/"+use.File] = true
		uses = append(uses, use)
	}
	if len(uses) > core.MaxSecrets {
		return nil, f.errorf("a function has at most %d secrets, and this one %d; put several values into one", core.MaxSecrets, len(uses))
	}
	return uses, nil
}

// sizes are the units of sizes.
var sizes = map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

var ofSize = regexp.MustCompile(`^([1-9][0-9]{0,5})(MiB|GiB|TiB)$`)

// storage takes the keys of a storage.
func (f field) storage() (*core.Storage, error) {
	s := &core.Storage{}
	err := f.each(func(one field) (err error) {
		switch one.key {
		case "path":
			s.Path, err = one.text("an absolute path, such as /data")
		case "name":
			s.Name, err = one.text("a name, by which functions share the storage")
		case "size":
			found := ofSize.FindStringSubmatch(one.node.Value)
			if found == nil {
				return one.expected("a size with its unit, such as 512MiB or 1GiB")
			}
			n, _ := strconv.ParseInt(found[1], 10, 64) // it has six digits at most
			s.Size = n * sizes[found[2]]
		default:
			err = one.errorf("a storage has 'path', 'size' and 'name' only")
		}
		return err
	})
	if err == nil {
		err = core.ValidStorage(s)
	}
	if err != nil {
		return nil, f.errorf("%w", err)
	}
	return s, nil
}

// describe says what a value is, in words of people who do not know YAML's.
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (*" + node.Value + "), which is not supported here"
	}
	switch tag := node.ShortTag(); tag {
	case "!!null":
		return "nothing"
	case "!!str":
		return "the text " + files.Quote(node.Value)
	case "!!int", "!!float":
		return "the number " + files.Quote(node.Value)
	case "!!bool":
		return "the boolean " + files.Quote(node.Value)
	default:
		return files.Quote(node.Value) + " of type " + tag
	}
}
