package main

import (
	"crypto/sha256"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/profile"
)

func ran(t *testing.T, args ...string) (status int, out, complaints string) {
	t.Helper()
	var o, e strings.Builder
	status = execute(t.Context(), args, &o, &e)
	return status, o.String(), e.String()
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"paint"}, {"packages"}, {"packages", "x", "--out", dir}, {"packages", "--out", dir, "--count", "0"}, {"packages", "--out", dir, "--scale", "-1"},
		{"functions"}, {"functions", dir, "--count", "0"}, {"trace", dir}, {"trace", dir, "--out", "x", "--model", "file"}, {"trace", dir, "--out", "x", "--speed", "0"},
		{"trace", dir, "--out", "x", "--busy", "2"}, {"trace", dir, "--out", "x", "--burst", "0.5"},
		{"run", dir, "--out", "x"}, {"run", dir, "--trace", "x"}, {"run", dir, "--trace", "x", "--out", "y", "--closed", "-1"}, {"run", dir, "--trace", "x", "--out", "y", "--timeout", "0s"},
		{"compare"}, {"compare", "x", "--format", "xml"}, {"report", "x"}, {"report", "--out", "x"},
		{"check"}, {"check", "x", "--measure", "-1"}, {"profile", "x"}, {"profile", "--out", "x"},
		{"coldstart"}, {"coldstart", "x", "--out", "y"}, {"coldstart", "--out", "x", "--starts", "1"},
		{"study"}, {"study", "--work", "x"}, {"study", "--out", "x"}, {"study", "x", "--work", "y", "--out", "z"},
		{"image"}, {"image", "x", "--out", "y"}, {"image", "--out", "x", "--scale", "-1"}} {
		if status, _, complaints := ran(t, args...); status != exitUsage || !strings.Contains(complaints, "pipbench --help") {
			t.Errorf("%q: %d, %q", args, status, complaints)
		}
	}
	strange := filepath.Join(dir, "strange.yaml")
	if err := os.WriteFile(strange, []byte("name: x\nlanguage: python\nversions:\n  quantiles: {0: 1, 0.5: 7, 1: 6}\n  source: nobody\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		`no profile for "perl"`:                      {"packages", "--out", dir, "--language", "perl"},
		"strange.yaml: ":                             {"packages", "--out", dir, "--profile", strange},
		"line 4: quantiles: 1: 6 is below":           {"packages", "--out", dir, "--profile", strange},
		"a profile for python, and not for node":     {"packages", "--out", dir, "--language", "node", "--profile", "profile/python-pypi-2023.yaml"},
		"has no packages: `pipbench packages":        {"functions", dir},
		"has no functions: `pipbench functions":      {"trace", dir, "--out", filepath.Join(dir, "trace.jsonl")},
		`--target: "pipsqeak/{function}" is neither`: {"run", dir, "--trace", "x", "--out", "y", "--target", "pipsqeak"},
		"no such file or directory":                  {"packages", "--out", dir, "--profile", filepath.Join(dir, "none.yaml")},
	} {
		if status, _, complaints := ran(t, args...); status != exitFailed || !strings.Contains(complaints, want) {
			t.Errorf("%q: %d, %q, want %q", args, status, complaints, want)
		}
	}
}

// digests are those of all files below a directory.
func digests(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	found := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found[strings.TrimPrefix(path, dir)] = sha256.Sum256(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestSameBytes checks that a seed decides every byte, and that another one changes every archive.
func TestSameBytes(t *testing.T) {
	for _, language := range profile.Languages {
		var made []map[string][32]byte
		for _, seed := range []string{"3", "3", "4"} {
			dir := t.TempDir()
			if status, _, complaints := ran(t, "packages", "--language", language, "--count", "5", "--seed", seed, "--scale", "0.01", "--out", dir); status != exitOK {
				t.Fatal(complaints)
			}
			made = append(made, digests(t, dir))
		}
		if len(made[0]) < 6 || !maps.Equal(made[0], made[1]) {
			t.Errorf("%s: the same seed has made other bytes, or not enough: %d files", language, len(made[0]))
		}
		seen := map[[32]byte]string{}
		for _, files := range made[1:] {
			for name, digest := range files {
				if seen[digest] != "" {
					t.Errorf("%s: %s and %s are the same", language, name, seen[digest])
				}
				seen[digest] = name
			}
		}
	}
}

// TestOut checks that packages are not mixed with others.
func TestOut(t *testing.T) {
	dir := t.TempDir()
	args := []string{"packages", "--count", "2", "--scale", "0", "--out", filepath.Join(dir, "a/b")}
	if status, out, complaints := ran(t, args...); status != exitOK || !strings.HasPrefix(out, "2 packages in ") {
		t.Fatalf("%d, %q, %q", status, out, complaints)
	}
	before := digests(t, dir)
	if status, _, complaints := ran(t, args...); status != exitFailed || !strings.Contains(complaints, "file exists") || !maps.Equal(before, digests(t, dir)) {
		t.Errorf("%d, %q", status, complaints)
	}
}

// TestCheck checks packages as they were made, and with another profile, and after one was changed.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	if status, _, complaints := ran(t, "packages", "--count", "30", "--scale", "0", "--out", dir); status != exitOK {
		t.Fatal(complaints)
	}
	status, out, complaints := ran(t, "check", dir, "--measure", "0")
	if status != exitOK || !strings.Contains(out, "python    size with files") || strings.Contains(out, "differs") {
		t.Errorf("%d, %q, %q", status, out, complaints)
	}
	other := filepath.Join(dir, "other.yaml")
	text, err := os.ReadFile("profile/python-pypi-2023.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte(strings.Replace(string(text), "name: pypi-2023", "name: other", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, _, complaints := ran(t, "check", dir, "--profile", other); status != exitFailed || !strings.Contains(complaints, "--profile: the packages for python are of the profile pypi-2023") {
		t.Errorf("%d, %q", status, complaints)
	}
	catalog := filepath.Join(dir, "python", "packages.json")
	if text, err = os.ReadFile(catalog); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(catalog, []byte(strings.ReplaceAll(string(text), `"popularity": 0.`, `"popularity": 0.0`)), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, out, complaints := ran(t, "check", dir, "--measure", "0"); status != exitFailed || !strings.Contains(complaints, "these differ from the profile: python popularity") || !strings.Contains(out, "differs") {
		t.Errorf("%d, %q, %q", status, out, complaints)
	}
}

// TestTrace makes functions and a trace for them, and says what there is.
func TestTrace(t *testing.T) {
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace.jsonl")
	for want, args := range map[string][]string{
		"4 functions in " + filepath.Join(dir, "functions") + "\n": {"functions", dir, "--count", "4"},
		`there are no packages for "ruby"`:                         {"functions", dir, "--language", "ruby"},
	} {
		if _, err := os.Stat(filepath.Join(dir, "python")); err != nil {
			if status, _, complaints := ran(t, "packages", "--count", "5", "--scale", "0", "--out", dir); status != exitOK {
				t.Fatal(complaints)
			}
		}
		if _, out, complaints := ran(t, args...); !strings.Contains(out+complaints, want) {
			t.Errorf("%q: %q, %q, want %q", args, out, complaints, want)
		}
	}
	status, out, complaints := ran(t, "trace", dir, "--model", "poisson", "--rate", "100", "--duration", "10s", "--out", trace)
	if status != exitOK || !strings.Contains(out, " events in 10s, of 4 functions, 0 of which are not called; ") {
		t.Errorf("%d, %q, %q", status, out, complaints)
	}
	if status, _, complaints := ran(t, "trace", dir, "--model", "chance", "--out", trace+"2"); status != exitFailed || !strings.Contains(complaints, "--model: ") {
		t.Errorf("%d, %q", status, complaints)
	}
}
