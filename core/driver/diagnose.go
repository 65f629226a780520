package driver

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// This file tells a person why a driver does not start. Every message names the file and says what to do.

// checkProgram refuses what must not be started: a driver runs with all of the worker's power.
func checkProgram(path string) *core.Error {
	info, err := os.Stat(path)
	switch target, _ := os.Readlink(path); {
	case errors.Is(err, os.ErrNotExist) && target != "":
		return core.Errorf(core.KindNotFound, core.FaultWorker, "the driver %s is a link to %s, which does not exist: install that, or remove the link", path, target)
	case errors.Is(err, os.ErrNotExist):
		return core.Errorf(core.KindNotFound, core.FaultWorker, "the driver %s does not exist: install it, or name another directory of drivers", path)
	case err != nil:
		return core.Errorf(core.KindInvalid, core.FaultWorker, "the driver cannot be examined: %w", err)
	case !info.Mode().IsRegular():
		return core.Errorf(core.KindInvalid, core.FaultWorker, "the driver %s is not a regular file (%s): put the program there", path, info.Mode())
	case info.Mode()&0o111 == 0:
		return core.Errorf(core.KindInvalid, core.FaultWorker, "the driver %s is not executable (mode %04o): chmod 755 it", path, info.Mode().Perm())
	case info.Mode()&0o002 != 0:
		return core.Errorf(core.KindInvalid, core.FaultWorker,
			"the driver %s may be written by everybody (mode %04o), so anybody could run a program as the worker: chmod 755 it", path, info.Mode().Perm())
	}
	stat := info.Sys().(*syscall.Stat_t)
	if group := int(stat.Gid); info.Mode()&0o020 != 0 && group != 0 && group != os.Getegid() {
		return core.Errorf(core.KindInvalid, core.FaultWorker,
			"the driver %s may be written by the group %d (mode %04o), so its members could run a program as the worker: chmod 755 it", path, group, info.Mode().Perm())
	}
	if owner := int(stat.Uid); owner != 0 && owner != os.Geteuid() {
		return core.Errorf(core.KindInvalid, core.FaultWorker,
			"the driver %s belongs to user %d, who could put another program in its place: chown it to root or to user %d", path, owner, os.Geteuid())
	}
	return nil
}

// checkHome returns who else could put another program in the place of the drivers in dir, and what to do
// about it; nothing when nobody could. It is no reason to refuse them: a checkout of one's own is such a
// place.
func checkHome(dir string) (who, fix string) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", ""
	}
	stat := info.Sys().(*syscall.Stat_t)
	switch owner, group := int(stat.Uid), int(stat.Gid); {
	case owner != 0 && owner != os.Geteuid():
		return fmt.Sprintf("the directory %s belongs to user %d", dir, owner), fmt.Sprintf("chown it to root or to user %d", os.Geteuid())
	case info.Mode()&0o002 != 0:
		return fmt.Sprintf("the directory %s may be written by everybody (mode %04o)", dir, info.Mode().Perm()), "chmod 755 it"
	case info.Mode()&0o020 != 0 && group != 0 && group != os.Getegid():
		return fmt.Sprintf("the directory %s may be written by the group %d (mode %04o)", dir, group, info.Mode().Perm()), "chmod 755 it"
	}
	return "", ""
}

// diagnoseStart says why p did not become a driver. cause is what go-plugin made of it.
func diagnoseStart(ctx context.Context, p *process, cause error) *core.Error {
	if p.startErr != nil {
		return diagnoseExec(p.path, p.startErr)
	}
	if line := p.stdout.line(); line != "" {
		if e := diagnoseHandshake(p.path, line); e != nil {
			return e
		}
	}
	select {
	case <-ctx.Done(): // it was killed for that, so how it ended tells nothing
		kind, fault := core.KindTimeout, core.FaultDriver
		if errors.Is(ctx.Err(), context.Canceled) {
			kind, fault = core.KindCanceled, core.FaultCaller
		}
		return core.Errorf(kind, fault, "the driver %s did not get ready in time (%w)%s", p.path, context.Cause(ctx), p.log.lastWords())
	default:
	}
	select {
	case <-p.done:
		if byUs := p.killed.Load() && p.exit == "signal: killed"; !byUs {
			if lacking := p.log.lacking(); lacking != "" {
				return core.Errorf(core.KindUnsupported, core.FaultWorker,
					"the driver %s cannot be loaded: %s: install the package that has it, or a driver that was built for this system", p.path, lacking)
			}
			return core.Errorf(core.KindUnavailable, core.FaultDriver, "the driver %s ended before it was ready (%s)%s", p.path, p.exit, p.log.lastWords())
		}
	default:
	}
	if p.stdout.line() == "" {
		return core.Errorf(core.KindUnavailable, core.FaultDriver, "the driver %s closed its standard output without a handshake%s", p.path, p.log.lastWords())
	}
	return core.Errorf(core.KindUnavailable, core.FaultDriver, "the driver %s did not start: %w%s", p.path, cause, p.log.lastWords())
}

// diagnoseHandshake reads the line again that go-plugin could not use: core version | our version | network |
// address | protocol. It returns nil when the line is good.
func diagnoseHandshake(path, line string) *core.Error {
	parts := strings.Split(line, "|")
	if _, err := strconv.Atoi(parts[0]); err != nil || len(parts) < 4 {
		return core.Errorf(core.KindUnavailable, core.FaultDriver,
			"the driver %s wrote %q to its standard output, which is reserved for the handshake: it must log to standard error", path, clip(line, maxLastLine))
	}
	if parts[0] != "1" {
		return core.Errorf(core.KindUnsupported, core.FaultDriver, "the driver %s speaks version %s of go-plugin's handshake instead of 1: rebuild it", path, parts[0])
	}
	if version, err := strconv.Atoi(parts[1]); err != nil || version < previousVersion || version > currentVersion {
		fix := "build the driver again, with this release"
		if version > currentVersion {
			fix = "install a newer Pipsqueak, or an older driver"
		}
		return core.Errorf(core.KindUnsupported, core.FaultDriver, "the driver %s speaks version %s of the driver protocol and this host versions %d and %d: %s",
			path, clip(parts[1], 20), previousVersion, currentVersion, fix)
	}
	if len(parts) < 5 || parts[4] != "grpc" {
		return core.Errorf(core.KindUnsupported, core.FaultDriver, "the driver %s does not speak gRPC: its handshake is %q", path, clip(line, maxLastLine))
	}
	return nil
}

// machines are the architectures that Pipsqueak is built for, as ELF has them.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// diagnoseExec explains an error of execve, which says the same of a missing program and of a missing
// interpreter for it.
func diagnoseExec(path string, err error) *core.Error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		if f, elfErr := elf.Open(path); elfErr == nil {
			defer f.Close()
			if f.Machine == machines[runtime.GOARCH] {
				return core.Errorf(core.KindInvalid, core.FaultWorker, "the driver %s is no program but another kind of ELF file (%s): link it, or install it again", path, f.Type)
			}
			return core.Errorf(core.KindUnsupported, core.FaultWorker,
				"the driver %s is a program for another machine (%s, this one is %s): install the one for this machine", path, f.Machine, runtime.GOARCH)
		}
		return core.Errorf(core.KindInvalid, core.FaultWorker, "the driver %s is neither a program of this system nor a script that begins with #!: install it again", path)
	case errors.Is(err, os.ErrNotExist):
		interpreter := interpreterOf(path)
		if strings.HasSuffix(interpreter, "\r") {
			return core.Errorf(core.KindInvalid, core.FaultWorker, "the first line of the driver %s ends with a carriage return, which the kernel takes for a part of the name %q: save it with line ends of Unix", path, interpreter)
		}
		if interpreter != "" {
			return core.Errorf(core.KindUnsupported, core.FaultWorker, "the driver %s needs %s to run, which does not exist on this machine: install it", path, interpreter)
		}
	case errors.Is(err, os.ErrPermission):
		return core.Errorf(core.KindInvalid, core.FaultWorker,
			"the driver %s may not be executed here (%w): its file system may be mounted noexec, or a directory above it is closed to us", path, err)
	}
	return core.Errorf(core.KindUnavailable, core.FaultWorker, "the driver %s cannot be started: %w", path, err)
}

// interpreterOf returns the loader that an ELF file names or the interpreter of a script, or nothing.
func interpreterOf(path string) string {
	if f, err := elf.Open(path); err == nil {
		defer f.Close()
		for _, segment := range f.Progs {
			if segment.Type == elf.PT_INTERP {
				name, _ := io.ReadAll(io.LimitReader(segment.Open(), 4096))
				return strings.TrimRight(string(name), "\x00")
			}
		}
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, _ := bufio.NewReader(io.LimitReader(f, 256)).ReadString('\n')
	if script, found := strings.CutPrefix(line, "#!"); found {
		interpreter, _, _ := strings.Cut(strings.TrimLeft(strings.TrimSuffix(script, "\n"), " \t"), " ")
		return interpreter
	}
	return ""
}
