package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/driver/conform"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// TestConforms has the conformance kit examine the driver that make build has built, with each version.
func TestConforms(t *testing.T) {
	eachVersion(t, nil, func(t *testing.T, h *drivertest.House) {
		kit, err := conform.Open(conform.Options{Program: filepath.Join(drivertest.Libexec(t), "../pipsqueak-driver-node"), Handlers: "testdata/handlers",
			Runtime: h.Runtime.ID, Env: []string{binariesVariable + "=" + os.Getenv(binariesVariable)}})
		if err != nil {
			t.Fatal(err)
		}
		defer kit.Close()
		ok := 0
		for _, c := range conform.Cases() {
			switch outcome := kit.Run(t.Context(), c); outcome.Status {
			case conform.Passed:
				ok++
			case conform.Failed:
				t.Errorf("%s %v: %q", c.Name, c.Clauses, outcome.Seen)
			}
		}
		if ok < 100 {
			t.Errorf("only %d cases were examined", ok)
		}
	})
}
