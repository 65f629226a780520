package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/debian"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/kit/interpreter"
)

const (
	defaultHandler = "handler.handler"
	debianRoot     = core.ScratchDir + "/debian" // the packages as if they were installed
	cmakeDir       = core.ScratchDir + "/build"
	maxSaid        = 60 << 10 // bytes of what a compiler said that a user gets: the first, for the first error causes others
)

// sources are the extensions of a handler that is compiled.
var sources = []string{".c", ".cc", ".cpp"}

// handlerFiles returns the possible names of a handler's shared object, without the extension, each with the
// symbol in it. File and symbol may have dots. In a handler without slashes, dots of the file may stand for
// slashes.
func handlerFiles(handler string) (files, symbols []string) {
	for i := strings.LastIndexByte(handler, '/') + 1; i < len(handler)-1; i++ {
		if handler[i] != '.' || i == 0 {
			continue
		}
		files, symbols = append(files, handler[:i]), append(symbols, handler[i+1:])
		if dotted := handler[:i]; strings.Contains(dotted, ".") && !strings.Contains(dotted, "/") {
			files, symbols = append(files, strings.ReplaceAll(dotted, ".", "/")), append(symbols, handler[i+1:])
		}
	}
	return files, symbols
}

// build makes the shared object of the handler, unless there is one, or a program. It returns the shared
// libraries of packages that the object needs.
func build(ctx context.Context, handler string, packages []core.Package, progress func(core.Progress)) ([]string, error) {
	if err := compile(ctx, handler, packages, progress); err != nil {
		return nil, err
	}
	files, symbols := handlerFiles(handler)
	for i, file := range files {
		object := filepath.Join(core.CodeDir, file+".so")
		if info, err := os.Stat(object); err == nil {
			if !info.Mode().IsRegular() { // of others the contents may never come
				return nil, refuse("the shared object of the handler, %s.so, is no file", file)
			}
			if err := takeAlong(object, packages); err != nil {
				return nil, err
			}
			imports, err := checkObject(object, symbols[i], packages)
			if err == nil {
				err = bind(ctx, object, packages)
			}
			return imports, err
		}
	}
	program := filepath.Join(core.CodeDir, bootstrap)
	info, err := os.Stat(program)
	if err != nil {
		return nil, refuse("there is no shared object for the handler %s: the build has to make %s.so", handler, strings.Join(files, ".so or "))
	}
	if info.Mode()&0o111 == 0 {
		return nil, refuse("the program bootstrap has no permission to be executed: run chmod +x on it and deploy again; files that are packed on Windows " +
			"have no such permission: pack them in WSL, or a program in Go with aws-lambda-go's build-lambda-zip")
	}
	return nil, nil
}

func refuse(format string, arguments ...any) error {
	return core.Errorf(core.KindBuild, core.FaultHandler, format, arguments...)
}

// compile runs the build that the function's files ask for: CMake's, make's, or the compiler on the one
// source of the handler.
func compile(ctx context.Context, handler string, packages []core.Package, progress func(core.Progress)) error {
	cmake, makefile := interpreter.Exists(core.CodeDir+"/CMakeLists.txt"), interpreter.Exists(core.CodeDir+"/Makefile")
	file, source := sourceOf(handler)
	if source == "" && (!cmake && !makefile || interpreter.Exists(filepath.Join(core.CodeDir, bootstrap))) {
		return nil // a program that is there already; a Makefile beside it is how its author made it
	}
	if err := mergePackages(packages); err != nil {
		return err
	}
	b := builder{ctx: ctx, env: buildEnv(), progress: progress}
	jobs := strconv.Itoa(runtime.NumCPU())
	if cmake || makefile {
		if err := removeOld(handler); err != nil {
			return err
		}
	}
	switch {
	case cmake:
		elsewhere, only := fetches(core.CodeDir)
		configure := []string{"-S", core.CodeDir, "-B", cmakeDir, "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_POSITION_INDEPENDENT_CODE=ON", "-DCMAKE_BUILD_RPATH=$ORIGIN"}
		if only {
			configure = append(configure, "-DFETCHCONTENT_FULLY_DISCONNECTED=ON") // or it tries for minutes
		}
		err := b.run("cmake", configure...)
		if err == nil {
			err = b.run("cmake", "--build", cmakeDir, "--parallel", jobs)
		}
		if err != nil && len(elsewhere) > 0 {
			return refuse("%w"+noNetwork, err, strings.Join(elsewhere, ", "))
		}
		if err != nil {
			return err
		}
		return collect(handler)
	case makefile:
		return b.run("make", "-C", core.CodeDir, "-j", jobs)
	}
	compiler := "c++"
	if strings.HasSuffix(source, ".c") {
		compiler = "cc"
	}
	arguments := append(strings.Fields(flags), "-shared", "-Wl,-z,now", "-o", file+".so", source, "-Wl,--as-needed")
	return b.run(compiler, append(append(arguments, libraries()...), "-lm")...)
}

// sourceOf returns the one source file of the handler, and the name of its object without the extension, if
// there is such a file.
func sourceOf(handler string) (file, source string) {
	files, _ := handlerFiles(handler)
	for _, name := range files {
		for _, extension := range sources {
			if path := filepath.Join(core.CodeDir, name); interpreter.Exists(path + extension) {
				return path, path + extension
			}
		}
	}
	return "", ""
}

// removeOld removes shared objects that came with the sources, because they were made on another machine.
// make would take them for new, and they would hide objects that CMake fails to make.
func removeOld(handler string) error {
	files, _ := handlerFiles(handler)
	for _, file := range files {
		if err := os.Remove(filepath.Join(core.CodeDir, file+".so")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// collect copies the handler that CMake has made to the place where it is looked for. CMake calls the library
// "libhandler.so" unless the function's files name it.
func collect(handler string) error {
	files, _ := handlerFiles(handler)
	wanted := map[string]string{bootstrap: filepath.Join(core.CodeDir, bootstrap)}
	for _, file := range files {
		to := filepath.Join(core.CodeDir, file+".so")
		wanted[filepath.Base(to)], wanted["lib"+filepath.Base(to)] = to, to
	}
	return filepath.WalkDir(cmakeDir, func(path string, entry fs.DirEntry, err error) error {
		to, is := wanted[filepath.Base(path)]
		if err != nil || !is || !entry.Type().IsRegular() {
			return err
		}
		return copyFile(path, to)
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// flags are those of compilers, in a build of any kind.
const flags = "-O2 -g1 -fPIC -fno-omit-frame-pointer"

// buildEnv is the environment of a build: compilers, linkers, pkg-config and CMake find the packages, and
// pipsqueak.h.
func buildEnv() []string {
	usr, triplet := debianRoot+"/usr", debian.Triplet()
	includes := strings.Join([]string{includeDir, usr + "/include", usr + "/include/" + triplet}, ":")
	lib := strings.Join([]string{usr + "/lib/" + triplet, debianRoot + "/lib/" + triplet, usr + "/lib"}, ":")
	return []string{
		"PATH=/usr/local/bin:/usr/bin:/bin:" + usr + "/bin", "LANG=C.UTF-8", "HOME=" + core.ScratchDir, "TMPDIR=" + core.ScratchDir,
		"CC=cc", "CXX=c++", "CFLAGS=" + flags, "CXXFLAGS=" + flags, "LDFLAGS=-Wl,-z,now -Wl,-rpath-link," + usr + "/lib/" + triplet,
		"CPATH=" + includes, "LIBRARY_PATH=" + lib, "LD_LIBRARY_PATH=" + lib,
		"PKG_CONFIG_PATH=" + usr + "/lib/" + triplet + "/pkgconfig:" + usr + "/share/pkgconfig", "PKG_CONFIG_SYSROOT_DIR=" + debianRoot,
		"CMAKE_PREFIX_PATH=" + usr, "CMAKE_INCLUDE_PATH=" + includes, "PIPSQUEAK_DEBIAN=" + debianRoot,
	}
}

// libraries returns the arguments that link against every library that the packages are meant to be linked
// with. The linker keeps those that are needed.
func libraries() []string {
	arguments := []string{"-Wl,-rpath-link," + debianRoot + "/usr/lib/" + debian.Triplet()}
	found, _ := filepath.Glob(debianRoot + "/usr/lib/" + debian.Triplet() + "/lib*.so")
	for _, library := range found {
		if !interpreter.Exists(library) {
			continue // a link to what another package has, which the function does not name
		}
		arguments = append(arguments, "-l"+strings.TrimSuffix(strings.TrimPrefix(filepath.Base(library), "lib"), ".so"))
	}
	return arguments
}

// mergePackages shows the packages in one tree of links, as if they were installed. So links from one package
// into another lead to a file, and one directory of headers is enough.
func mergePackages(packages []core.Package) error {
	for _, p := range packages {
		from := core.PackageDir(p)
		err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			to := filepath.Join(debianRoot, relative)
			if entry.IsDir() {
				if relative == "usr/share/doc" || relative == "usr/share/man" || relative == "usr/share/locale" {
					return fs.SkipDir
				}
				return os.MkdirAll(to, 0o755)
			}
			target := path
			if entry.Type() == fs.ModeSymlink {
				if target, err = os.Readlink(path); err != nil {
					return err
				}
			}
			if err := os.Symlink(target, to); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// builder runs the programs of a build.
type builder struct {
	ctx      context.Context
	env      []string
	progress func(core.Progress)
}

func (b builder) run(name string, arguments ...string) error {
	program, err := exec.LookPath(name)
	if err != nil {
		return core.Errorf(core.KindUnsupported, core.FaultWorker, "this worker has no %s: install it, or deploy the function compiled", name)
	}
	b.progress(core.Progress{Verb: "deploy", Item: name, Detail: "building"})
	cmd := exec.CommandContext(b.ctx, program, arguments...)
	cmd.Env = b.env
	cmd.Dir = core.CodeDir
	var said beginning
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(strings.ToValidUTF8(string(said.text), ""))
		if said.more > 0 {
			text = fmt.Sprintf("%s\n… and %d bytes more", text, said.more)
		}
		return refuse("%s failed (%v):\n%s", name, err, text)
	}
	return nil
}

// beginning keeps the first maxSaid bytes that are written to it, and counts the rest: the output of a build
// may be larger than the memory.
type beginning struct {
	text []byte
	more int
}

func (b *beginning) Write(text []byte) (int, error) {
	n := min(len(text), maxSaid-len(b.text))
	b.text = append(b.text, text[:n]...)
	b.more += len(text) - n
	return len(text), nil
}
