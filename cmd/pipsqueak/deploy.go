package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/core/signing"
)

func (p *program) deploy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deploy [DIR|ARCHIVE]",
		Short: "Deploy a function or an application, or replace it",
		Long: `Deploy a function from a directory, the current one by default, or from a tar.gz or zip archive of
one. Its packages are installed before it replaces the previous version. If something fails, the
previous version stays.

The name is --name, or the one in pipsqueak.yaml, or else that of the directory or archive.

These files are left out: .git, .venv, __pycache__, node_modules beside a package.json and the like,
files of desktops and editors, .env, and files that .pipsqueakignore names (in the syntax of
.gitignore; !.env takes a file back). A symbolic link to another directory of the same git
repository is followed.

A directory whose pipsqueak.yaml lists several functions is an application. Its functions replace
the previous ones all at once, when every one of them is resolved, installed and built. If one
fails, nothing has changed. A function that the file no longer lists is removed.

The handler is imported once, in a sandbox, before the function replaces the previous version. A
handler that cannot be imported is not deployed. --force deploys without that.

It ends when the first event can be answered by a fork: its packages have been probed, and a zygote
has imported them. --wait deployed does not wait for that.

The same manifests give the same packages as last time, without asking a registry, until --anew asks
for newer ones. 'pipsqueak lock' writes them into the directory, for a repository.`,
		Example: "  pipsqueak deploy hello\n  pipsqueak deploy examples/echo --name hello\n  pipsqueak deploy hello.tar.gz -o json",
		GroupID: groupFunctions,
		Args:    cobra.MaximumNArgs(1),
	}
	name := cmd.Flags().String("name", "", "`NAME` of the function or application")
	keys := cmd.Flags().StringArray("sign", nil, "sign with the private `KEY` in this file, as 'pipsqueak keygen' makes it; may be repeated for several keys")
	again := cmd.Flags().Bool("anew", false, "resolve the packages again, and build again, even if nothing has changed")
	force := cmd.Flags().Bool("force", false, "deploy without importing the handler first")
	wait := cmd.Flags().String("wait", "ready", "wait until the function is `ready` to fork, or only deployed")
	as := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := "."
		if len(args) > 0 {
			path = args[0]
		}
		application, parts, err := partsOf(cmd.Context(), path, *name)
		if err != nil {
			return err
		}
		signers, err := loadKeys(*keys)
		if err != nil {
			return err
		}
		options := url.Values{"wait": {*wait}}
		for name, given := range map[string]bool{"anew": *again, "force": *force} {
			if given {
				options.Set(name, "true")
			}
		}
		if application != "" {
			return p.deployApplication(cmd, application, parts, signers, options, as.json())
		}
		f, err := p.deployPart(cmd, parts[0], signers, options, !as.json())
		if err != nil || !as.json() {
			return err
		}
		return p.printJSON(f)
	}
	return cmd
}

// reportUnready prints why the first start of a function will be no fork, when the deploy has waited for one.
func (p *program) reportUnready(f core.Function, options url.Values) {
	if f.Unready != "" && options.Get("wait") == "ready" {
		fmt.Fprintf(p.err, "the first start of %s is not going to be a fork: %s\n", f.Name, f.Unready)
	}
}

// deployPart deploys one function, and reports the result if tell is true.
func (p *program) deployPart(cmd *cobra.Command, part bundle.Part, keys []*signing.Key, options url.Values, tell bool) (core.Function, error) {
	began := p.now()
	server := p.client()
	if len(keys) > 0 {
		var err error
		if server.Header, err = sign(cmd.Context(), part, keys); err != nil {
			return core.Function{}, err
		}
	}
	archive, err := openArchive(part)
	if err != nil {
		return core.Function{}, err
	}
	defer archive.Close()
	if tell {
		p.reportLeftOut(part.Dir)
	}
	show := p.progress()
	f, err := server.Deploy(cmd.Context(), part.Name, options, show.upload(archive), show.step)
	show.clear()
	if err != nil || !tell {
		return f, err
	}
	p.reportUnready(f, options)
	_, err = fmt.Fprintf(p.out, "deployed %s version %d: %s, %s, in %s\n",
		f.Name, f.Version, f.Runtime, core.Count(len(f.Packages), "package", "packages"), p.now().Sub(began).Round(10*time.Millisecond))
	return f, err
}

// reportLeftOut prints the files with secrets that are not deployed, and the directories that the deploy
// makes itself.
func (p *program) reportLeftOut(dir string) {
	if secrets := secretsLeftOut(dir); len(secrets) > 0 {
		fmt.Fprintf(p.err, "left out %s: variables of the function belong under env in %s; '!%s' in %s deploys the file\n",
			strings.Join(secrets, ", "), bundle.SettingsFile, secrets[0], bundle.IgnoreFile)
	}
	if ignore, err := bundle.LoadIgnore(os.DirFS(dir)); err == nil { // else pack says so
		for _, told := range ignore.LeftOut() {
			fmt.Fprintln(p.err, told)
		}
	}
}

// partsOf returns the functions to deploy from a path, each with its place on this machine, and the name of
// the application if they are one's. The name of a function is empty when the server is to find it in the
// archive.
func partsOf(ctx context.Context, path, name string) (application string, parts []bundle.Part, err error) {
	one := []bundle.Part{{Name: name, Dir: path}}
	if !isDir(path) {
		if name == "" {
			one[0].Name = nameOfArchive(ctx, path)
		}
		return "", one, nil // openArchive reports an error
	}
	called := path
	if whole, err := filepath.Abs(path); err == nil {
		called = filepath.Base(whole)
	}
	if content, err := os.ReadFile(filepath.Join(path, bundle.SettingsFile)); err == nil {
		settings, err := bundle.ParseSettings(content)
		switch {
		case err != nil:
			return "", one, nil //nolint:nilerr // the server's to say
		case len(settings.Functions) > 0:
			application = cmp.Or(name, settings.Name, called)
			parts, err := placed(path, settings.Functions)
			for i := range parts {
				parts[i].Name = core.FullName(parts[i].Name, core.Namespace(application))
			}
			return application, parts, err
		case settings.Name != "":
			return "", one, nil
		}
	}
	one[0].Name = cmp.Or(name, called)
	return "", one, nil
}

// nameOfArchive returns the name of an archive's file. It returns nothing when the archive itself has a name,
// or cannot be read: the server reports that.
func nameOfArchive(ctx context.Context, path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	code, err := bundle.Read(ctx, file)
	if err != nil || code.Name != "" {
		return ""
	}
	return archiveName.ReplaceAllString(filepath.Base(path), "")
}

// archiveName is the end of the name of an archive.
var archiveName = regexp.MustCompile(`(?i)\.(zip|tgz|tar\.gz|gz)$`)

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// placed puts the functions of an application below its directory, and makes sure that each is there before
// any is deployed.
func placed(dir string, parts []bundle.Part) ([]bundle.Part, error) {
	for i, part := range parts {
		parts[i].Dir = filepath.Join(dir, filepath.FromSlash(part.Dir))
		info, err := os.Stat(parts[i].Dir)
		if err == nil && !info.IsDir() {
			err = errors.New("it is not a directory")
		}
		if err != nil {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "the directory of %s: %w; make it, or name another one with 'dir'", part.Name, err)
		}
		own := filepath.Join(parts[i].Dir, bundle.SettingsFile)
		if _, err := os.Stat(own); err == nil && part.Dir != "." {
			return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "%s would not be read: move what it says below %s in %s", own, part.Name, filepath.Join(dir, bundle.SettingsFile))
		}
	}
	return parts, nil
}

// openArchive opens an archive. A directory is packed while it is read. The caller closes the archive.
func openArchive(part bundle.Part) (io.ReadCloser, error) {
	wrong := func(err error) error {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "cannot deploy %s: %w", part.Dir, err)
	}
	info, err := os.Stat(part.Dir)
	if err != nil {
		return nil, wrong(err)
	}
	switch {
	case info.IsDir():
		reader, writer := io.Pipe()
		go func() {
			if err := pack(writer, part.Dir, part.Settings); err != nil {
				writer.CloseWithError(wrong(err))
				return
			}
			writer.Close()
		}()
		return reader, nil
	case info.Mode().IsRegular():
		file, err := os.Open(part.Dir)
		if err != nil {
			return nil, wrong(err)
		}
		return file, nil
	default:
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot deploy %s: it is neither a directory nor a file", part.Dir)
	}
}
