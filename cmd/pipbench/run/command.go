package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/functions"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/packages"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/registry"
)

// Command runs each function as a new process, with its packages as the language's own installer has left
// them: what every platform is to be compared with.
type Command struct {
	dir      string // of packages and functions
	work     string // of installed functions, each in a directory of its name
	registry *registry.Server
	catalogs []*packages.Catalog
}

// NewCommand returns the target for the functions of a directory, or without one for functions whose packages
// come from where the machine's own settings say. The caller closes it.
func NewCommand(dir string) (*Command, error) {
	if dir == "" {
		work, err := os.MkdirTemp("", "pipbench-")
		return &Command{work: work}, err
	}
	catalogs, err := packages.Open(dir)
	if err != nil {
		return nil, err
	}
	server, err := registry.Serve(dir)
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "pipbench-")
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return &Command{dir: dir, work: work, registry: server, catalogs: catalogs}, nil
}

// Close ends the registry, and removes what was installed.
func (c *Command) Close() error {
	err := os.RemoveAll(c.work)
	if c.registry != nil {
		err = errors.Join(err, c.registry.Close())
	}
	return err
}

// Name is command.
func (c *Command) Name() string { return "command" }

// Most is how many processes there are at once.
func (c *Command) Most() int { return 128 }

// Memory is not known.
func (c *Command) Memory(context.Context) (Memory, bool) { return Memory{}, false }

// Deploy installs a function with its packages.
func (c *Command) Deploy(ctx context.Context, f functions.Function, dir string, _ bool) (bool, error) {
	place := c.Place(f)
	if err := os.CopyFS(place, os.DirFS(dir)); err != nil {
		return false, err
	}
	for _, step := range c.installs(f) {
		command := c.Start(ctx, f, step...)
		if said, err := command.CombinedOutput(); err != nil {
			return true, fmt.Errorf("%s: %w: %s", strings.Join(step, " "), err, end(said))
		}
	}
	return true, nil
}

// Place is the directory in which a function is installed.
func (c *Command) Place(f functions.Function) string { return filepath.Join(c.work, f.Name) }

// installs are the commands that install a function, in its directory.
func (c *Command) installs(f functions.Function) [][]string {
	switch f.Language {
	case "python":
		return [][]string{{"python3", "-m", "venv", "venv"},
			{"venv/bin/python", "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "-r", "requirements.txt"}}
	case "node":
		return [][]string{{"npm", "install", "--no-audit", "--no-fund"}}
	case "ruby":
		return [][]string{{"bundle", "install"}}
	}
	root := "root/usr/lib/*-linux-gnu"
	compile := "cc -O2 main.c -o main -Iroot/usr/include"
	for _, p := range f.Packages {
		if p.Imported {
			compile += " -l:lib" + p.Name + ".so.1"
		}
	}
	script := "mkdir -p root; for deb; do dpkg-deb --extract \"$deb\" root; done; for lib in " + root + "; do " + compile +
		" -L$lib -Wl,--disable-new-dtags,-rpath,$PWD/$lib -Wl,-rpath-link,$lib; done"
	if len(f.Packages) == 0 {
		script = compile
	}
	return [][]string{append([]string{"sh", "-ec", script, "sh"}, c.debs(f)...)}
}

// debs are the archives of a function's libraries and of all that those require.
func (c *Command) debs(f functions.Function) (paths []string) {
	i := slices.IndexFunc(c.catalogs, func(one *packages.Catalog) bool { return one.Language == f.Language })
	if i < 0 {
		return nil
	}
	var names []string
	for _, p := range f.Packages {
		names = append(names, p.Name)
	}
	for n := 0; n < len(names); n++ {
		p, found := c.catalogs[i].Find(names[n])
		if !found {
			continue // and the compiler says so
		}
		for _, a := range p.Latest().Archives {
			paths = append(paths, filepath.Join(c.absolute(), f.Language, a.File))
		}
		for _, r := range p.Requires {
			if !slices.Contains(names, r.Package) {
				names = append(names, r.Package)
			}
		}
	}
	return paths
}

func (c *Command) absolute() string {
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return c.dir
	}
	return dir
}

// Start is a program in the directory of a function that was installed, with the variables of the installers.
func (c *Command) Start(ctx context.Context, f functions.Function, words ...string) *exec.Cmd {
	place := c.Place(f)
	name := words[0]
	if strings.Contains(name, "/") {
		name = filepath.Join(place, name)
	}
	command := exec.CommandContext(ctx, name, words[1:]...)
	command.Dir = place
	command.WaitDelay = time.Second
	command.Env = append(os.Environ(), "BUNDLE_PATH="+filepath.Join(place, "gems"), "BUNDLE_SILENCE_ROOT_WARNING=1")
	if c.registry != nil {
		at := c.registry.Address
		command.Env = append(command.Env, "PIP_INDEX_URL="+at+"/python/simple", "NPM_CONFIG_REGISTRY="+at+"/node/", "BUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG/="+at+"/ruby/")
	}
	return command
}

// mains are the commands that run a function, by its language.
var mains = map[string][]string{
	"python": {"venv/bin/python", "main.py"},
	"node":   {"node", "main.js"},
	"ruby":   {"ruby", "-rbundler/setup", "main.rb"},
	"native": {"./main"},
}

// Invoke starts a process of the function.
func (c *Command) Invoke(ctx context.Context, f functions.Function, event []byte) (Answer, error) {
	command := c.Start(ctx, f, mains[f.Language]...)
	var complaints bytes.Buffer
	command.Stdin, command.Stderr = bytes.NewReader(event), &complaints
	began := time.Now()
	result, err := command.Output()
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w: %s", strings.Join(mains[f.Language], " "), err, end(complaints.Bytes()))
	}
	state := command.ProcessState
	return Answer{Result: result, Start: "process", CPU: ms(state.UserTime() + state.SystemTime()), Bytes: mostMemory(state), Held: ms(time.Since(began))}, nil
}

// end is the end of what a program has said.
func end(said []byte) string {
	said = bytes.TrimSpace(said)
	if len(said) > 500 {
		said = append([]byte("…"), said[len(said)-500:]...)
	}
	return string(said)
}
