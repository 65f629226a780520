package bundle

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/files"
	"github.com/pipsqueak-faas/pipsqueak/core/nearest"
	"github.com/pipsqueak-faas/pipsqueak/core/routes"
)

// SettingsFile is the name of the optional file in which a function says what it is.
const SettingsFile = "pipsqueak.yaml"

// maxSettings is the size of the largest file of settings, in bytes.
const maxSettings = 64 << 10

// Settings are the function's description of itself, in its SettingsFile. A key that the file leaves out is
// empty; in Limits it has its default.
type Settings struct {
	Name    string
	Runtime core.RuntimeID // or a language, for any runtime of it
	Handler string         // "file.symbol"
	Debian  []string       // Debian packages, as "name" or "name=version"
	Allow   []string       // packages that may run code of their own when they are installed
	Env     map[string]string
	Secrets []core.SecretUse
	Storage *core.Storage
	Limits  core.Limits
	Public  bool         // anybody may invoke it
	Network core.Network // empty when it asks for none
	Egress  []string     // destinations, as core.ParseDestination reads them
	Routes  []string     // as core.Function has them
	CORS    *core.CORS
	// Functions are those of an application: several functions that one file lists, in its order. Then it
	// says nothing else but the Name, the application's.
	Functions []Part
}

// Part is one function of an application.
type Part struct {
	Name     string
	Dir      string // of its code, relative to the file's, with slashes
	Settings []byte // its settings in the application's file, as a file of its own
}

// ofModule is a handler as web servers name applications: package.module:symbol.
var ofModule = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$`)

// debianPackage matches names and versions as deb-control(5) and deb-version(7) allow them.
var debianPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}(=[0-9][0-9A-Za-z.+~:-]{0,127})?$`)

// The keys of the settings, each with what it does with its value. The order is that of the documentation.
var keys = []struct {
	name string
	set  func(*Settings, field) error
}{
	{"name", func(m *Settings, f field) (err error) {
		if m.Name, err = f.text("the function's name"); err != nil {
			return err
		}
		if err := core.ValidName(m.Name); err != nil {
			return f.errorf("%w", err)
		}
		return nil
	}},
	{"runtime", func(m *Settings, f field) error {
		text, err := f.text("the name of a runtime, in quotes when it looks like a number")
		m.Runtime = core.RuntimeID(text)
		return err
	}},
	{"handler", func(m *Settings, f field) (err error) {
		m.Handler, err = f.text("a handler as file.symbol")
		if module, symbol, found := strings.Cut(m.Handler, ":"); found && ofModule.MatchString(m.Handler) {
			m.Handler = strings.ReplaceAll(module, ".", "/") + "." + symbol
		}
		if strings.Contains(m.Handler, "\x00") { // a program may be given any other text, so Detect looks at the rest
			return f.errorf("the value has a NUL byte in it; leave it out")
		}
		return err
	}},
	{"debian", func(m *Settings, f field) (err error) {
		m.Debian, err = f.list("Debian packages, as name or name=version")
		if err != nil {
			return err
		}
		for _, p := range m.Debian {
			if !debianPackage.MatchString(p) {
				return f.errorf("%s is no name of a Debian package; such as libopencv-core406, or libopencv-core406=4.6.0+dfsg-12", files.Quote(p))
			}
		}
		return nil
	}},
	{"allow_scripts", func(m *Settings, f field) (err error) {
		m.Allow, err = f.list("names of packages")
		return err
	}},
	{"memory_mb", func(m *Settings, f field) error {
		n, err := f.whole(16, 1<<20, "megabytes")
		m.Limits.Memory = n << 20
		return err
	}},
	{"timeout_ms", func(m *Settings, f field) error {
		n, err := f.whole(1, core.MaxTimeout.Milliseconds(), "milliseconds")
		m.Limits.Timeout = time.Duration(n) * time.Millisecond
		return err
	}},
	{"env", func(m *Settings, f field) (err error) {
		m.Env, err = f.environment()
		return err
	}},
	{"secrets", func(m *Settings, f field) (err error) {
		m.Secrets, err = f.secrets()
		return err
	}},
	{"storage", func(m *Settings, f field) (err error) {
		m.Storage, err = f.storage()
		return err
	}},
	{"max_instances", func(m *Settings, f field) error {
		n, err := f.whole(1, 10_000, "instances")
		m.Limits.MaxInstances = int(n)
		return err
	}},
	{"concurrency", func(m *Settings, f field) error {
		n, err := f.whole(1, core.MaxConcurrency, "events at once in one instance")
		m.Limits.Concurrency = int(n)
		return cmp.Or(err, m.reuses(f))
	}},
	{"idle_timeout", func(m *Settings, f field) (err error) {
		m.Limits.IdleTimeout, err = f.duration(time.Millisecond, 24*time.Hour)
		return err
	}},
	{"access", func(m *Settings, f field) error {
		who, err := f.text("token or public")
		if err == nil && who != "token" && who != "public" {
			err = f.errorf("%s is neither token (who invokes the function needs a token) nor public (nobody does)", files.Quote(who))
		}
		m.Public = who == "public"
		return err
	}},
	{"routes", func(m *Settings, f field) error {
		list, err := f.list("routes, as METHOD /path")
		for i := 0; err == nil && i < len(list); i++ {
			var route string
			if route, err = routes.Parse(list[i]); err != nil {
				return f.errorf("%w", err)
			}
			m.Routes = append(m.Routes, route)
		}
		return err
	}},
	{"cors", func(m *Settings, f field) (err error) {
		m.CORS, err = f.cors()
		return err
	}},
	{"stream_mb", func(m *Settings, f field) error {
		n, err := f.whole(1, 1<<20, "megabytes")
		m.Limits.Stream = n << 20
		return err
	}},
	{"reuse", func(m *Settings, f field) (err error) {
		m.Limits.Reuse, err = f.boolean()
		return cmp.Or(err, m.reuses(f))
	}},
	{"network", func(m *Settings, f field) error {
		const known = "none, egress or host"
		text, err := f.text(known)
		if err != nil {
			return err
		}
		if m.Network = core.Network(text); !slices.Contains(core.Networks, m.Network) {
			return f.expected(known)
		}
		return m.narrows(f)
	}},
	{"egress", func(m *Settings, f field) (err error) {
		if m.Egress, err = f.list("destinations, such as api.example.com:443 or 10.2.0.0/16:5432"); err != nil {
			return err
		}
		if len(m.Egress) == 0 || len(m.Egress) > maxDestinations {
			return f.errorf("there are %d destinations; list 1 to %d, or leave the key out, or write 'network: none'", len(m.Egress), maxDestinations)
		}
		for _, one := range m.Egress {
			if _, err := core.ParseDestination(one); err != nil {
				return f.errorf("%w", err)
			}
		}
		return m.narrows(f)
	}},
}

// reuses refuses several events at once in an instance that is to have one event only.
func (m *Settings) reuses(f field) error {
	if m.Limits.Shared() && !m.Limits.Reuse {
		return f.errorf("with 'reuse: false' an instance has one event, and 'concurrency' gives it %d; remove one of the two", m.Limits.Concurrency)
	}
	return nil
}

// maxDestinations is how many destinations a function can list.
const maxDestinations = 64

// narrows refuses destinations beside a network that they do not narrow.
func (m *Settings) narrows(f field) error {
	if len(m.Egress) > 0 && m.Network != "" && m.Network != core.NetworkEgress {
		return f.errorf("'egress' narrows 'network: egress', and the network is %s; remove one of the two", m.Network)
	}
	return nil
}

// LoadSettings reads the settings in a directory that Unpack made. Without a file, the settings leave
// everything out.
func LoadSettings(dir string) (Settings, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Settings{}, files.DiskError(dir, err)
	}
	defer root.Close()
	if info, err := root.Stat(SettingsFile); errors.Is(err, fs.ErrNotExist) {
		if _, err := root.Stat("pipsqueak.yml"); err == nil {
			return Settings{}, files.Refusef("the settings are in pipsqueak.yml, which is not read; rename it to %s", SettingsFile)
		}
		return ParseSettings(nil)
	} else if err == nil && !info.Mode().IsRegular() {
		return Settings{}, files.Refusef("%s is a %s; make it a file", SettingsFile, files.TypeName(info.Mode()))
	}
	file, err := root.Open(SettingsFile)
	if err != nil {
		return Settings{}, files.DiskError(SettingsFile, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSettings+1))
	if err != nil {
		return Settings{}, files.DiskError(SettingsFile, err)
	}
	return ParseSettings(data)
}

// ParseSettings reads settings. Data without a key are settings that leave everything out. The caller is at
// fault for an error, which names the key and its line.
func ParseSettings(data []byte) (Settings, error) {
	settings := Settings{Limits: core.DefaultLimits()}
	if len(data) > maxSettings {
		return Settings{}, files.TooLargef("%s has more than %d KiB; it is for a few settings only", SettingsFile, maxSettings>>10)
	}
	// With all documents, none is no error. A Node has the lines, and its aliases are not followed.
	var documents []yaml.Node
	if err := yaml.Load(decoded(data), &documents, yaml.WithAllDocuments()); err != nil {
		return Settings{}, files.Refusef("%s is no YAML that can be read: %w", SettingsFile, err)
	}
	if len(documents) > 1 {
		return Settings{}, files.Refusef("%s has %d documents; leave one, without '---' lines", SettingsFile, len(documents))
	}
	if len(documents) == 0 || len(documents[0].Content) == 0 {
		return settings, nil
	}
	top := field{line: documents[0].Content[0].Line, node: documents[0].Content[0]}
	if top.node.Kind == yaml.ScalarNode && top.node.ShortTag() == "!!null" {
		return settings, nil
	}
	several, found := top.child("functions")
	if !found {
		return settings, top.each(settings.set)
	}
	if err := top.each(func(f field) error {
		switch f.key {
		case several.key:
			return nil
		case "name":
			return settings.set(f)
		}
		return f.errorf("beside 'functions' there can be 'name' only; put the key below the functions that it is for")
	}); err != nil {
		return Settings{}, err
	}
	err := several.each(func(f field) error {
		part, err := f.part()
		settings.Functions = append(settings.Functions, part)
		return err
	})
	if err == nil && len(settings.Functions) == 0 {
		err = several.expected("the names of functions, each with its keys below")
	}
	return settings, err
}

// set takes over one key.
func (m *Settings) set(f field) error {
	for _, key := range keys {
		if key.name == f.key {
			return key.set(m, f)
		}
	}
	return f.unknown()
}

// part reads one function of an application.
func (f field) part() (Part, error) {
	part := Part{Name: f.key, Dir: f.key}
	if err := core.ValidName(f.key); err != nil {
		return part, f.errorf("%w", err)
	}
	written := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{text("name"), text(f.key)}}
	if !f.scalar("!!null") {
		settings := Settings{Limits: core.DefaultLimits()}
		err := f.each(func(one field) (err error) {
			switch one.key {
			case "name":
				return one.errorf("the function's name is %s, the key above", files.Quote(f.key))
			case "dir":
				if part.Dir, err = one.text("a directory beside the settings"); err == nil && !fs.ValidPath(part.Dir) {
					return one.errorf("%s does not lead to a directory beside or below the settings; write it relative, without '..'", files.Quote(part.Dir))
				}
				return err
			}
			written.Content = append(written.Content, text(one.key), one.node)
			return settings.set(one)
		})
		if err != nil {
			return part, err
		}
	}
	var err error
	part.Settings, err = yaml.Marshal(written)
	return part, err
}

func text(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
}

// unknown is the error of a key that there is not.
func (f field) unknown() error {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = key.name
	}
	return files.Refusef("%s line %d: there is no key %s%s (the keys are %s)",
		SettingsFile, f.line, files.Quote(f.key), nearest.Question(f.key, names), strings.Join(names, ", "))
}
