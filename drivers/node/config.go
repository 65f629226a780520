package main

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/installer"
)

// defaultRegistry is npm's.
const defaultRegistry = "https://registry.npmjs.org/"

// config is the part of npm's configuration on this machine that says where packages come from, and how to
// reach them. A sandbox cannot show npm's own files: its user may not read them, and they hold more.
type config struct {
	env        []string // as npm's variables, npm_config_registry=…
	registries []string
	cafile     string // on the host; empty when there is none
}

// passed are the settings that an installer gets. A proxy is not one of them: the sandbox has its own.
var passed = regexp.MustCompile(`^(registry|@[^:]+:registry|//.+|ca|cert|key|strict-ssl|replace-registry-host|fetch-.+|maxsockets|before|min-release-age|legacy-peer-deps|strict-peer-deps|nodedir)$`)

// readConfig reads npm's files, of which later ones count more, and its variables in the environment, which
// count most. A missing file is no error. After another error it returns the settings that it could read.
func readConfig(environment []string, files ...string) (config, error) {
	settings, wrong := map[string]string{}, error(nil)
	variables := map[string]string{}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		variables[name] = value
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			wrong = errors.Join(wrong, err)
		}
		readFile(string(text), variables, settings)
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		key, is := strings.CutPrefix(strings.ToLower(name), "npm_config_")
		if !is || variables[name] == "" {
			continue
		}
		if !strings.HasPrefix(key, "//") {
			key = strings.ReplaceAll(key, "_", "-")
		} else {
			key = name[len("npm_config_"):]
		}
		settings[key] = variables[name]
	}
	return fromSettings(settings), wrong
}

// expression is a variable in a file of npm's: ${NAME}, or ${NAME?} when it may be missing.
var expression = regexp.MustCompile(`\$\{([^${}?]+)(\?)?\}`)

// readFile adds the settings of a file of npm's (in the form of ini, of which it has no sections) to the
// others.
func readFile(text string, variables, settings map[string]string) {
	lists := map[string][]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key == "" || key[0] == ';' || key[0] == '#' || key[0] == '[' {
			continue
		}
		if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = strings.ReplaceAll(value[1:n-1], `\n`, "\n") // certificates are written so
		}
		value = expression.ReplaceAllStringFunc(value, func(found string) string {
			parts := expression.FindStringSubmatch(found)
			if set, ok := variables[parts[1]]; ok || parts[2] != "" {
				return set
			}
			return found
		})
		if list, is := strings.CutSuffix(key, "[]"); is {
			lists[list] = append(lists[list], value)
			key, value = list, strings.Join(lists[list], "\n\n") // as npm divides the value of a variable
		}
		settings[key] = value
	}
}

func fromSettings(settings map[string]string) config {
	c := config{cafile: settings["cafile"], registries: []string{defaultRegistry}}
	if registry := settings["registry"]; registry != "" {
		c.registries[0] = installer.Registry(registry)
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if !passed.MatchString(key) {
			continue
		}
		c.env = append(c.env, "npm_config_"+key+"="+settings[key])
		if strings.HasSuffix(key, ":registry") {
			c.registries = append(c.registries, installer.Registry(settings[key]))
		}
	}
	if c.cafile != "" {
		c.env = append(c.env, "npm_config_cafile="+toolsDir+"/ca.pem")
	}
	return c
}

// has reports whether there is a setting.
func (c config) has(key string) bool {
	return slices.ContainsFunc(c.env, func(variable string) bool { return strings.HasPrefix(variable, "npm_config_"+key+"=") })
}
