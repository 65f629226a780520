package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
)

// newFunctionFiles are the functions that `init` writes: a directory for each language, and what they have in
// common. A file that ends in .txt is a template, of newFunction; the others are copied.
//
//go:embed all:newfunction
var newFunctionFiles embed.FS

// newFunction has the values of the templates.
type newFunction struct {
	Include string // directory of the headers for compiled functions
}

// commonFiles is the directory of what every new function has.
const commonFiles = "common"

// starts are the commands that run the tests of a new function, by language.
var starts = map[string]string{
	"python": "python3 -m unittest discover tests", "node": "node --test tests/", "ruby": "ruby tests/test_handler.rb", "c": "make -C tests", "c++": "make -C tests",
}

func (p *program) init() *cobra.Command {
	languages := []string{"python", "node", "ruby", "c", "c++"}
	cmd := &cobra.Command{
		Use:   "init LANGUAGE [DIR]",
		Short: "Write a function with its test",
		Long: `Write a function with its test and an event. The language is ` + strings.Join(languages, ", ") + `. DIR is made, or has
none of the files yet; by default it is the current directory. The tests are not deployed.`,
		Example:   "  pipsqueak init python greeter\n  pipsqueak dev greeter",
		GroupID:   groupFunctions,
		Args:      cobra.RangeArgs(1, 2),
		ValidArgs: languages,
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		dir := "."
		if len(args) == 2 {
			dir = args[1]
		}
		if !slices.Contains(languages, args[0]) {
			return core.Errorf(core.KindInvalid, core.FaultCaller, "there is no function to begin with in %.50q, only in %s", args[0], strings.Join(languages, ", "))
		}
		whole, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		if err := core.ValidName(filepath.Base(whole)); err != nil {
			return fmt.Errorf("a function has the name of its directory: %w", err)
		}
		if err := writeFunction(args[0], dir); err != nil {
			return core.Errorf(core.KindInvalid, core.FaultCaller, "the function cannot be made in %s: %w", dir, err)
		}
		_, err = fmt.Fprintf(p.out, "made a function in %s\ntest it with '%s' in there, run it with 'pipsqueak dev %s'\n", dir, starts[args[0]], dir)
		return err
	}
	return cmd
}

// writeFunction writes the files of a new function into a directory that has none of them. If that fails, it
// leaves nothing.
func writeFunction(language, dir string) (err error) {
	all, err := filesOfNew(language)
	if err != nil {
		return err
	}
	for name := range all {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(fmt.Errorf("%s exists; name another directory", filepath.Join(dir, name)), err)
		}
	}
	var made []string
	defer func() {
		if err != nil {
			for _, path := range slices.Backward(made) {
				_ = os.Remove(path) // a directory only if it is empty
			}
		}
	}()
	for _, sub := range []string{dir, filepath.Join(dir, "tests")} {
		if _, err := os.Stat(sub); errors.Is(err, fs.ErrNotExist) {
			made = append(made, sub)
		}
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
	}
	for name, text := range all {
		path := filepath.Join(dir, name)
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		made = append(made, path)
		_, err = file.Write(text)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// filesOfNew returns the files of a new function by their paths.
func filesOfNew(language string) (map[string][]byte, error) {
	with := newFunction{Include: "/usr/local/include"}
	if self, err := os.Executable(); err == nil {
		with.Include = filepath.Join(filepath.Dir(self), "libexec", "native", "include")
	}
	all := map[string][]byte{}
	for _, part := range []string{commonFiles, language} {
		from, err := fs.Sub(newFunctionFiles, "newfunction/"+part)
		if err != nil {
			return nil, err
		}
		err = fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := fs.ReadFile(from, name)
			if target, isTemplate := strings.CutSuffix(name, ".txt"); err == nil && isTemplate {
				name = target
				text, err = fill(string(text), with)
			}
			if name == "ignore" {
				name = bundle.IgnoreFile
			}
			all[name] = text
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
