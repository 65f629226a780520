package debian

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Unpacked is where Scan leaves the files of an archive, inside the sandbox.
const Unpacked = core.OutDir + "/.unpacked"

// Scan reads Debian packages, each at its PackageDir, or an archive when there is one, which it unpacks. It
// runs nothing of them.
func Scan(ctx context.Context, packages []core.Package, archive string) (core.Scanned, error) {
	scanned := core.Scanned{Suspicions: []core.Suspicion{}}
	if archive != "" {
		p, arch, err := unpackArchive(ctx, archive)
		if err != nil {
			return scanned, err
		}
		scanned.Packages = []core.Package{p}
		scanned.Suspicions, err = scanTree(Unpacked, p, arch)
		return scanned, err
	}
	for _, p := range packages {
		found, err := scanTree(core.PackageDir(p), p, "")
		if err != nil {
			return scanned, err
		}
		scanned.Packages, scanned.Suspicions = append(scanned.Packages, p), append(scanned.Suspicions, found...)
	}
	return scanned, nil
}

// unpackArchive unpacks an archive with its control files, in DEBIAN, and returns what it says of itself.
func unpackArchive(ctx context.Context, archive string) (p core.Package, arch string, err error) {
	refuse := func(said []byte, err error) error {
		return core.Errorf(core.KindInvalid, core.FaultHandler, "%s cannot be unpacked: %w: %s", filepath.Base(archive), err, lastLines(string(said)))
	}
	if said, err := exec.CommandContext(ctx, dpkgDeb, "--raw-extract", archive, Unpacked).CombinedOutput(); err != nil {
		return p, "", refuse(said, err)
	}
	// Nobody has a right to files that the scanner cannot read.
	if said, err := exec.CommandContext(ctx, "/bin/chmod", "-R", "u+rwX", Unpacked).CombinedOutput(); err != nil {
		return p, "", refuse(said, err)
	}
	out, err := exec.CommandContext(ctx, dpkgDeb, "--show", "--showformat=${Package}\n${Version}\n${Architecture}\n", archive).Output() // what is wrong with it comes on stderr
	fields := strings.Split(string(out), "\n")
	if err != nil {
		return p, "", refuse(out, err)
	}
	locked := newPackage(fields[0], fields[1])
	return core.Package{Name: locked.Name, Version: locked.Version}, fields[2], nil
}

// tree is what has been seen of one package.
type tree struct {
	dir, name string
	found     []core.Suspicion
	binaries  []string
}

func scanTree(dir string, p core.Package, arch string) ([]core.Suspicion, error) {
	t := tree{dir: dir, name: p.String(), found: []core.Suspicion{}}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		return t.file(path)
	})
	if len(t.binaries) > 0 {
		rule, how := "binary", "has compiled code; its source is in Debian's archive and not here"
		if arch == "all" {
			rule, how = "stray-binary", "says that it is for every machine (Architecture: all) and has compiled code"
		}
		which := strings.Join(t.binaries[:min(5, len(t.binaries))], ", ")
		if more := len(t.binaries) - 5; more > 0 {
			which += fmt.Sprintf(" and %d more", more)
		}
		t.add(rule, t.binaries[0], 0, how+": "+which)
	}
	return t.found, err
}

func (t *tree) add(rule, file string, line int, reason string) {
	t.found = append(t.found, core.Suspicion{Package: t.name, Rule: rule, File: strings.ToValidUTF8(file, "?"), Line: line, Reason: reason})
}

// maxScript is the size of the largest script that is read, in bytes.
const maxScript = 4 << 20

func (t *tree) file(path string) error {
	name, err := filepath.Rel(t.dir, path)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	head := make([]byte, 64)
	n, err := io.ReadFull(file, head)
	if err != nil && n == 0 {
		return nil // an empty file
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		t.binaries = append(t.binaries, name)
		t.resolvers(name, file)
	case shell.Match(head) || filepath.Dir(name) == "DEBIAN" && (bytes.HasPrefix(head, []byte("#!")) || slices.Contains(maintainers, filepath.Base(name))):
		rest, err := io.ReadAll(io.LimitReader(file, maxScript))
		if err != nil {
			return err
		}
		if len(rest) == maxScript {
			t.add("hidden-code", name, 0, fmt.Sprintf("is a script of more than %d MiB: what is behind that was not read", maxScript>>20))
		}
		t.script(name, append(head, rest...))
	}
	return nil
}

// maintainers are the maintainer scripts. One that does not say what it is in is run by a shell.
var maintainers = []string{"preinst", "postinst", "prerm", "postrm", "config"}

// shell is how a script of the shell begins.
var shell = regexp.MustCompile(`^#![ \t]*/\S*?(/env[ \t]+(-S[ \t]*)?([/\w]*/)?|/busybox[ \t]+|/)(ba|da|z|k)?sh\b`)

// What is decoded or fetched, and then run by a shell.
var (
	decoded = `(base64 +(-d|-D|--decode)|xxd +-r|openssl +enc .*-d|(xz|gzip|bzip2|zstd|lzma) +(-\w*d|--decompress)|unxz|gunzip|xzcat|zcat|bunzip2|\brev\b)`
	fetched = `\b(curl|wget) `
	runs    = `\| *(sudo +)?([/\w]*/)?((ba|da|z|k)?sh|eval|source)\b`
	hidden  = regexp.MustCompile(decoded + `.*` + runs + `|\beval\b.*` + decoded)
	remote  = regexp.MustCompile(fetched + `.*` + runs + `|\b(eval|source)\b.*` + fetched)
	reaches = regexp.MustCompile(`(^|[\s;&|(])(curl|wget|nc|ncat) +[-\w"'$]`)
)

// Debhelper puts what every package needs between two comments.
const (
	addedBegin = "# Automatically added by dh"
	addedEnd   = "# End automatically added section"
)

// idle are lines of a maintainer script that do nothing.
var idle = regexp.MustCompile(`^(#.*|set [-+]\w+|exit 0|:|case .* in|[\w|*"' -]+\)|;;|esac|fi|then|else|true|` +
	`if (! )?\[ (&&|\|\||` + harmless + `)*\]; then|echo (` + harmless + `)*(>&2)?)?$`)

// harmless is a part of a text with which the shell runs and writes nothing.
const harmless = "\\$\\w|\\$\\{|[^$;&|<>`]"

// script reads a script of the shell, and of maintainer scripts what their authors wrote themselves.
func (t *tree) script(name string, content []byte) {
	maintainer, added, told := filepath.Dir(name) == "DEBIAN", false, false
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			added = strings.HasPrefix(line, addedBegin) || added && line != addedEnd
			continue
		}
		switch {
		case hidden.MatchString(line):
			t.add("hidden-code", name, number, "a shell runs text that is decoded in the same line")
		case remote.MatchString(line):
			t.add("hidden-code", name, number, "a shell runs text that is fetched in the same line")
		case maintainer && reaches.MatchString(line):
			t.add("network", name, number, "reaches for the network when Debian's tools install it")
		}
		if maintainer && !added && !told && !idle.MatchString(line) {
			told = true
			t.add("install-hook", name, number, "Debian's tools run it as root when they install the package; here it never runs")
		}
	}
}

// indirect are the relocations that the loader resolves by calling code of the library.
var indirect = map[elf.Machine]uint32{elf.EM_X86_64: uint32(elf.R_X86_64_IRELATIVE), elf.EM_AARCH64: uint32(elf.R_AARCH64_IRELATIVE)}

// resolvers reports a shared library that has the loader call code of its own before anything else runs.
func (t *tree) resolvers(name string, file io.ReaderAt) {
	object, err := elf.NewFile(file)
	if err != nil || object.Type != elf.ET_DYN || object.Class != elf.ELFCLASS64 {
		return
	}
	wanted, known := indirect[object.Machine]
	count := 0
	for _, section := range object.Sections {
		if !known || section.Type != elf.SHT_RELA { //nolint:misspell // as ELF has it
			continue
		}
		data, err := section.Data()
		for ; err == nil && len(data) >= 24; data = data[24:] {
			if binary.LittleEndian.Uint32(data[8:]) == wanted {
				count++
			}
		}
	}
	symbols, _ := object.DynamicSymbols()
	for _, symbol := range symbols {
		if elf.ST_TYPE(symbol.Info) == elf.STT_GNU_IFUNC && symbol.Section != elf.SHN_UNDEF {
			count++
		}
	}
	if count > 0 {
		t.add("binary", name, 0, fmt.Sprintf("has the loader call code of its own to choose %d functions, before anything else runs (IFUNC)", count))
	}
}
