package learn

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// tomlPackage is a package in a lock of uv or Poetry.
type tomlPackage struct {
	Name    string
	Version string
	Source  struct{ Virtual, Editable, Directory string } // of uv: the project itself, and others on the disk
	// Requires is a list of uv's, without constraints, or a table of Poetry's by name.
	Requires any `toml:"dependencies"`
}

// readTOML reads the packages of a lock, and what they require as it is written there.
func readTOML(text []byte, requires func(tomlPackage) ([]named, error)) (sample, error) {
	s := sample{language: "python"}
	var lock struct{ Package []tomlPackage }
	if err := toml.Unmarshal(text, &lock); err != nil {
		return s, err
	}
	var wanted [][]named
	for i, p := range lock.Package {
		if p.Source.Virtual != "" || p.Source.Editable != "" || p.Source.Directory != "" {
			continue
		}
		if p.Name == "" || p.Version == "" {
			return s, fmt.Errorf("package[%d]: name, version: a package has both", i)
		}
		all, err := requires(p)
		if err != nil {
			return s, fmt.Errorf("package[%d]: dependencies: %w", i, err)
		}
		s.all, wanted = append(s.all, found{name: pythonName(p.Name), version: p.Version}), append(wanted, all)
	}
	s.numbered(wanted, true)
	return s, nil
}

// tables are the tables of a list, which may be written in two ways, or may not be there.
func tables(value any) (all []map[string]any, are bool) {
	switch list := value.(type) {
	case nil:
		return nil, true
	case []map[string]any:
		return list, true
	case []any:
		for _, one := range list {
			table, is := one.(map[string]any)
			if !is {
				return nil, false
			}
			all = append(all, table)
		}
		return all, true
	}
	return nil, false
}

// readUVLock reads a lock of uv. It does not say which versions packages allow.
func readUVLock(text []byte) (sample, error) {
	return readTOML(text, func(p tomlPackage) (all []named, err error) {
		list, are := tables(p.Requires)
		if !are {
			return nil, fmt.Errorf("%v is no list of tables", p.Requires)
		}
		for _, one := range list {
			name, _ := one["name"].(string)
			if name == "" {
				return nil, fmt.Errorf("%v has no name", one)
			}
			all = append(all, named{pythonName(name), unknown})
		}
		return all, nil
	})
}

// readPoetryLock reads a lock of Poetry. What belongs to an extra is left out.
func readPoetryLock(text []byte) (sample, error) {
	return readTOML(text, func(p tomlPackage) (all []named, err error) {
		if p.Requires == nil {
			return nil, nil
		}
		table, is := p.Requires.(map[string]any)
		if !is {
			return nil, fmt.Errorf("%v is no table", p.Requires)
		}
		for _, name := range slices.Sorted(maps.Keys(table)) {
			conditions, wanted := poetryConditions(table[name])
			if wanted {
				all = append(all, named{pythonName(name), poetryKind(conditions)})
			}
		}
		return all, nil
	})
}

// poetryConditions are those of a requirement: a text, a table, or one of several tables.
func poetryConditions(value any) (conditions string, wanted bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case map[string]any:
		conditions, _ = v["version"].(string)
		markers, _ := v["markers"].(string)
		optional, _ := v["optional"].(bool)
		return conditions, !optional && !strings.Contains(markers, "extra ==")
	}
	if list, are := tables(value); are && len(list) > 0 {
		return poetryConditions(list[0])
	}
	return "", false
}

// poetryKind is the kind of conditions such as ^1.2, >=1.2 or 1.2.*.
func poetryKind(conditions string) string {
	switch c := strings.TrimSpace(conditions); {
	case c == "" || c == "*":
		return anyVersion
	case strings.ContainsAny(c, "^~*"):
		return compatible
	case c[0] >= '0' && c[0] <= '9':
		return exact
	default:
		return pythonKind(c)
	}
}
