package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// Does 'pipsqueak plan' plan for what a worker has measured?

// TestPlanOfWorker deploys two functions that share a package which takes long to import, and one without it.
func TestPlanOfWorker(t *testing.T) {
	system(t)
	coretest.Requires(t, Runtime("node"))
	index := newNPMIndex(t)
	index.add("slow", "1.0.0", nil, files{"index.js": "const end = Date.now() + 60;\nwhile (Date.now() < end);\n"})
	index.add("quick", "1.0.0", nil, files{"index.js": "exports.quick = true;\n"})
	t.Setenv("NPM_CONFIG_REGISTRY", index.URL+"/")
	w := startWorker(t, t.TempDir(), "--events")
	requiring := func(packages, code string) files {
		return files{"package.json": `{"dependencies": {` + packages + `}}`, "pipsqueak.yaml": fresh, "handler.js": code + "exports.handler = async () => 1;\n"}
	}
	w.deploy(t, "planned-one", requiring(`"slow": "1.0.0"`, "require('slow');\n"))
	w.deploy(t, "planned-two", requiring(`"slow": "1.0.0", "quick": "1.0.0"`, "require('slow'); require('quick');\n"))
	w.deploy(t, "planned-not", requiring(`"quick": "1.0.0"`, "require('quick');\n"))
	for _, name := range []string{"planned-one", "planned-two", "planned-not"} {
		w.probed(t, name)
	}
	for _, name := range []string{"planned-one", "planned-one", "planned-two", "planned-two"} {
		w.run(t, name, `{}`)
	}
	answer, err := w.do(t.Context(), http.MethodGet, "/v1/demand", nil)
	coretest.Must(t, err)
	demand := decode[core.Demand](t, answer)
	took := map[string]time.Duration{}
	for _, p := range demand.Packages {
		if took[p.Name] = p.Took; p.Bytes <= 0 || p.Digest == "" {
			t.Errorf("%+v", p)
		}
	}
	use := map[string]float64{}
	for _, f := range demand.Functions {
		use[f.Name] = f.Use
	}
	if len(took) != 2 || took["slow"] < 60*time.Millisecond || demand.Budget <= 0 || use["planned-one"] < 1.5 || use["planned-not"] >= use["planned-one"] {
		t.Errorf("%+v", demand)
	}
	type made struct {
		Zygotes []struct {
			Set       core.Set
			Functions int
		}
		Functions []struct {
			Name  string
			Count float64
			From  int
		}
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	if out, errs, err := w.command(t, "", "plan", "--budget", "300M", "--out", file); err != nil || !strings.Contains(out, "slow") {
		t.Fatalf("%s%s%v", out, errs, err)
	}
	text, err := os.ReadFile(file)
	coretest.Must(t, err)
	var tree made
	coretest.Must(t, json.Unmarshal(text, &tree))
	for _, f := range tree.Functions {
		if f.Name == "planned-not" {
			continue
		}
		if f.From < 0 || !has(tree.Zygotes[f.From].Set, "slow") {
			t.Errorf("%s starts from no zygote with slow: %s", f.Name, text)
		}
	}
	if out, errs, err := w.command(t, "", "plan", "--why", "planned-two"); err != nil || !strings.HasPrefix(out, "planned-two starts from zygote ") || !strings.Contains(out, "slow==1.0.0 (") {
		t.Errorf("%s%s%v", out, errs, err)
	}
	// The log of its events is a trace: functions without a start are not in it.
	coretest.Must(t, os.WriteFile(file, []byte(w.logs.String()), 0o600))
	out, errs, err := w.command(t, "", "plan", "--trace", file, "-o", "json")
	tree = made{}
	if err != nil || json.Unmarshal([]byte(out), &tree) != nil || len(tree.Functions) != 2 || tree.Functions[0].Count != 2 || tree.Functions[1].Count != 2 {
		t.Errorf("%s%s%v", out, errs, err)
	}
}

func has(set core.Set, name string) bool {
	for _, p := range set {
		if p.Name == name {
			return true
		}
	}
	return false
}
