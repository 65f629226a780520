package driver_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/driver"
)

func TestExamine(t *testing.T) {
	var tried []core.RuntimeID
	examine := func(dir string) []core.Finding {
		t.Helper()
		tried = nil
		found := driver.Examine(t.Context(), dir, driver.Options{Dir: shortDir(t), Log: slog.New(slog.DiscardHandler)},
			func(ctx context.Context, d driver.Running, r core.Runtime) core.Finding {
				if _, err := d.Describe(ctx); err != nil {
					t.Errorf("the driver of %s does not run: %v", r.ID, err)
				}
				tried = append(tried, r.ID)
				return core.Finding{Name: string(r.ID), Status: core.StatusOK, Detail: "tried"}
			})
		for _, f := range found {
			if (f.Fix == "") != (f.Status == core.StatusOK) {
				t.Errorf("%+v", f)
			}
		}
		return found
	}
	one := func(dir, says string) {
		t.Helper()
		if found := examine(dir); len(found) != 1 || found[0].Status != core.StatusFail || !strings.Contains(found[0].Detail, says) {
			t.Errorf("%+v", found)
		}
	}
	one(filepath.Join(t.TempDir(), "none"), "cannot be read")
	one(t.TempDir(), "no program called "+driver.Prefix)

	dir := t.TempDir()
	install(t, dir, "undescribed")
	one(dir, "no interpreter is installed")

	install(t, dir, "plain")
	install(t, dir, "fake")
	install(t, dir, "versions")
	if err := os.WriteFile(filepath.Join(dir, driver.Prefix+"closed"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	found := examine(dir)
	has := func(name string, status core.Status, says string) {
		t.Helper()
		if !slices.ContainsFunc(found, func(f core.Finding) bool {
			return f.Name == name && f.Status == status && strings.Contains(f.Detail, says)
		}) {
			t.Errorf("no %s %s %q in %+v", status, name, says, found)
		}
	}
	has("new1 versions", core.StatusWarn, "thing 2.0, tool of no known version (tested: 7): not tested with tool")
	has("old1 versions", core.StatusOK, "thing 1.9: all tested")
	has("driver-closed", core.StatusFail, "not executable")
	has("driver-undescribed", core.StatusFail, "no interpreter is installed")
	has("driver-plain", core.StatusOK, "started in")
	has("driver-plain", core.StatusWarn, "no runtime")
	has("plain packages", core.StatusWarn, "does not install")
	has("fake packages", core.StatusOK, "")
	has("fake1", core.StatusOK, "tried")
	if !slices.Equal(tried, []core.RuntimeID{"fake1", "new1", "old1"}) {
		t.Errorf("%v were tried: %+v", tried, found)
	}
}
