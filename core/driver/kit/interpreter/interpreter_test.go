package interpreter

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// program makes an executable script.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFound(t *testing.T) {
	var found Found[string]
	if _, err := found.Get("x1"); !core.IsKind(err, core.KindUnsupported) || !strings.Contains(err.Error(), "x1") {
		t.Errorf("before anything was found: %v", err)
	}
	found.Set(map[core.RuntimeID]string{"x1": "/one", "x2": "/two"})
	if got, err := found.Get("x2"); got != "/two" || err != nil {
		t.Errorf("x2 is %q, %v", got, err)
	}
	found.Set(map[core.RuntimeID]string{"x1": "/one"})
	if _, err := found.Get("x2"); !core.IsKind(err, core.KindUnsupported) {
		t.Errorf("x2 was not found the second time: %v", err)
	}
}

func TestAsk(t *testing.T) {
	t.Setenv("SECRET", "of the driver")
	var got struct{ A, Env string }
	if err := Ask(t.Context(), &got, program(t, `printf '{"a":"%s","env":"%s"}' "$1" "$SECRET$HOME"`), "one"); err != nil || got.A != "one" || got.Env != "/nonexistent" {
		t.Errorf("%+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"echo no >&2; exit 1": "no", "exit 3": "exit status 3", "echo x": "it does not answer in JSON: invalid character",
	} {
		if err := Ask(t.Context(), &got, program(t, text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if err := Ask(t.Context(), &got, program(t, "echo 1")); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("a number is no answer: %v", err)
	}
	if err := Ask(t.Context(), &got, "/nonexistent/program"); err == nil || errors.Is(err, ErrNoAnswer) {
		t.Error("a program that is not there answered")
	}
}

func TestVersion(t *testing.T) {
	for text, want := range map[string]string{
		"echo uv 0.13.9 '(x86_64)'": "0.13.9", "echo glibc 2.36": "2.36", "echo none": "", "echo 1.2; exit 1": "",
	} {
		if got := Version(t.Context(), program(t, text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestGlob(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x1", "x2", "y"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	below, err := filepath.Rel(Home(), dir)
	if err != nil {
		t.Fatal(err)
	}
	got := Glob([]string{dir + "/y", dir + "/z"}, []string{below + "/x*"})
	if want := []string{dir + "/y", dir + "/x2", dir + "/x1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMounts(t *testing.T) {
	got, err := Mounts("/usr", "/usr/lib/x", "/opt/x", "/usrlocal")
	want := []core.Mount{{Source: "/opt/x", Target: "/opt/x"}, {Source: "/usrlocal", Target: "/usrlocal"}}
	if !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, dir := range []string{"/tmp", "/tmp/x", "/proc/self", "/dev/shm/x"} {
		if _, err := Mounts(dir); err == nil || !strings.Contains(err.Error(), "move them") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := Mounts("/tmpx"); err != nil {
		t.Error(err)
	}
}
