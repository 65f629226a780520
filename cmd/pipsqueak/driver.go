package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// newDriverFiles is the driver that `driver new` begins with: what is of the language, and a directory for
// each SDK. A file that ends in .txt is a template, of newDriver; the others are copied.
//
//go:embed all:newdriver
var newDriverFiles embed.FS

//go:generate sh generate.sh

// The SDKs: the languages that a driver itself can be written in.
const (
	sdkGo     = "go"
	sdkPython = "python"
)

var sdks = []string{sdkGo, sdkPython}

// newDriver has the values of the templates.
type newDriver struct {
	Language string
	SDK      string
	Go       string // version of the language Go that its module needs
	Version  string // of Pipsqueak's module that it is built with
	Source   string // directory that stands in for that module; may be empty
	Programs string // directory of this program
}

const modulePath = "github.com/pipsqueak-faas/pipsqueak"

var languageName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

func (p *program) driver() *cobra.Command {
	cmd := &cobra.Command{Use: "driver", Short: "Write a driver for one more language", GroupID: groupServer}
	cmd.AddCommand(p.driverNew())
	return cmd
}

func (p *program) driverNew() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new LANGUAGE [DIR]",
		Short: "Make a directory with a driver that works",
		Long: `Make a directory with a driver for a language that builds and passes the conformance kit as it is:
under the language's name it runs Python until you have replaced its parts. docs/drivers.md leads
through that.

The driver itself is written in Go, or with --sdk python in Python. In Go it is built with
Pipsqueak's module, from the checkout that contains this program or that --source names, or else at
the version of this program. In Python it has a copy of the SDK. DIR must not exist; by default it
is pipsqueak-driver-LANGUAGE here.`,
		Example: "  pipsqueak driver new perl\n  cd pipsqueak-driver-perl && sudo make check\n  pipsqueak driver new tcl --sdk python",
		Args:    cobra.RangeArgs(1, 2),
	}
	sdk := cmd.Flags().String("sdk", sdkGo, "`LANGUAGE` that the driver itself is written in: "+strings.Join(sdks, " or "))
	source := cmd.Flags().String("source", "", "`DIR` of a checkout of Pipsqueak to build a driver in Go with")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		dir := "pipsqueak-driver-" + args[0]
		if len(args) == 2 {
			dir = args[1]
		}
		with, err := newDriverFor(args[0], *sdk, *source)
		if err != nil {
			return err
		}
		if err := with.write(dir); err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "%s is a driver for %s, whose processes run Python until you replace its parts; `make build` in it builds it, and its README.md says how to go on\n", dir, args[0])
		return err
	}
	return cmd
}

// newDriverFor decides what a driver is built with.
func newDriverFor(language, sdk, source string) (newDriver, error) {
	if !languageName.MatchString(language) {
		return newDriver{}, core.Errorf(core.KindInvalid, core.FaultCaller,
			"%q is no name for a language: it has small letters and digits, and begins with a letter, as it becomes part of file names", language)
	}
	if !slices.Contains(sdks, sdk) {
		return newDriver{}, core.Errorf(core.KindInvalid, core.FaultCaller, "there is no SDK in %q for a driver, only in %s: name one of them with --sdk", sdk, strings.Join(sdks, " and "))
	}
	self, err := os.Executable()
	if err != nil {
		return newDriver{}, core.Errorf(core.KindInternal, core.FaultWorker, "where is this program: %w", err)
	}
	with := newDriver{Language: language, SDK: sdk, Go: goVersion(), Version: "v0.0.0", Programs: filepath.Dir(self)}
	if sdk != sdkGo {
		if source != "" {
			return newDriver{}, core.Errorf(core.KindInvalid, core.FaultCaller, "--source is for drivers in Go: the SDK in %s comes with this program", sdk)
		}
		return with, nil
	}
	if beside := filepath.Join(with.Programs, ".."); source == "" && isCheckout(beside) {
		source = beside
	}
	if source != "" {
		if with.Source, err = filepath.Abs(source); err != nil || !isCheckout(with.Source) {
			return newDriver{}, core.Errorf(core.KindInvalid, core.FaultCaller, "%s is no checkout of Pipsqueak: its go.mod is not that of %s", source, modulePath)
		}
		return with, nil
	}
	info, _ := debug.ReadBuildInfo()
	if info == nil || !strings.HasPrefix(info.Main.Version, "v") || strings.Contains(info.Main.Version, "+dirty") {
		return newDriver{}, core.Errorf(core.KindInvalid, core.FaultCaller,
			"this program has no version that a driver could be built with: name a checkout of Pipsqueak with --source")
	}
	with.Version = info.Main.Version
	return with, nil
}

// goVersion returns the release of Go that built this program, as go.mod has it: without a patch release.
func goVersion() string {
	parts := strings.SplitN(strings.TrimPrefix(runtime.Version(), "go"), ".", 3)
	if len(parts) < 2 {
		return "1.26.0" // built by an unreleased Go
	}
	return parts[0] + "." + parts[1] + ".0"
}

func isCheckout(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && strings.HasPrefix(string(text), "module "+modulePath+"\n")
}

// write makes the directory, whole or not at all.
func (d newDriver) write(dir string) error {
	fail := func(err error) error {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the driver cannot be made in %s: %w", dir, err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fail(errors.Join(errors.New("it exists; name another directory"), err))
	}
	making, err := os.MkdirTemp(filepath.Dir(dir), ".pipsqueak-driver-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(making)
	if err := errors.Join(os.Chmod(making, 0o755), d.writeFiles(making)); err != nil {
		return fail(err)
	}
	if err := os.Rename(making, dir); err != nil {
		return fail(err)
	}
	return nil
}

// writeFiles writes what is of the language, and what is of the SDK.
func (d newDriver) writeFiles(dir string) error {
	for _, part := range []string{"language", d.SDK} {
		files, err := fs.Sub(newDriverFiles, "newdriver/"+part)
		if err != nil {
			return err
		}
		if err := d.copyFiles(dir, files); err != nil {
			return err
		}
	}
	return nil
}

func (d newDriver) copyFiles(dir string, files fs.FS) error {
	return fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.Name() == "__pycache__" { // left by whoever has run the SDK in a checkout
			return fs.SkipDir
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(dir, name), 0o755)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		target, isTemplate := strings.CutSuffix(name, ".txt")
		if isTemplate {
			if text, err = fill(string(text), d); err != nil {
				return err
			}
		}
		return os.WriteFile(filepath.Join(dir, target), text, 0o644)
	})
}

// fill fills a template. Its delimiters are [[ and ]], which Go's code has no use for.
func fill(text string, with any) ([]byte, error) {
	parsed, err := template.New("").Delims("[[", "]]").Parse(text)
	if err != nil {
		return nil, err
	}
	var filled bytes.Buffer
	err = parsed.Execute(&filled, with)
	return filled.Bytes(), err
}
