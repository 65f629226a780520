package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// What a function is made of, and who says so.

// TestRequireSigned: a worker that asks for signatures deploys what one of its keys has signed, under the name and with the code that were signed, and nothing else.
func TestRequireSigned(t *testing.T) {
	system(t)
	dir := t.TempDir()
	keys := func(name string) (private string) {
		private = filepath.Join(dir, name)
		if _, stderr, err := (&worker{}).command(t, "", "keygen", private); err != nil {
			t.Fatal(stderr)
		}
		return private
	}
	ours, theirs := keys("ours"), keys("theirs")
	w := startWorker(t, filepath.Join(dir, "data"), "--require-signed", ours+".pub")
	code := filepath.Join(dir, "signed")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(code, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(code, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("handler.py", echo)

	a := w.put(t, "signed", handlerFile(echo))
	if f := a.expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest); !strings.Contains(f.Message, "signed is not signed") {
		t.Errorf("unsigned: %s", f.Message)
	}
	if _, stderr, err := w.command(t, "", "deploy", code, "--sign", theirs); err == nil || !strings.Contains(stderr, "none of the keys") {
		t.Errorf("another key: %v %s", err, stderr)
	}
	if left, err := os.ReadDir(filepath.Join(w.data, "staging")); err != nil || len(left) > 0 {
		t.Errorf("left of what was refused: %v %v", left, err)
	}
	if _, stderr, err := w.command(t, "", "deploy", code, "--sign", theirs, "--sign", ours); err != nil {
		t.Fatalf("signed: %s", stderr)
	}
	if got := result[string](t, w, "signed", `"x"`); got != "x" {
		t.Errorf("the signed function answers %q", got)
	}
	signed := decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/signed", nil))
	if len(signed.Signers) != 1 {
		t.Errorf("signers: %q, want the one that the worker knows", signed.Signers)
	}
	// An unsigned replacement changes nothing, nor does a restart.
	w.put(t, "signed", handlerFile("def handler(event, context):\n    return 'not signed'\n")).expectError(t, core.KindInvalid, core.FaultCaller, http.StatusBadRequest)
	if got := result[string](t, w, "signed", `"x"`); got != "x" {
		t.Errorf("after a refused deploy it answers %q", got)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, w.data)
	if again := decode[core.Function](t, w.ask(t, http.MethodGet, "/v1/functions/signed", nil)); len(again.Signers) != 1 || again.Signers[0] != signed.Signers[0] {
		t.Errorf("after a restart it was signed by %q", again.Signers)
	}
	// A worker without keys says that it did not look.
	if _, stderr, err := w.command(t, "", "deploy", code, "--sign", theirs); err != nil || !strings.Contains(stderr, "its signature is not checked") {
		t.Errorf("without keys: %v %s", err, stderr)
	}
}

// TestBill: the bill of materials of a function is there, and is the same after a restart.
func TestBill(t *testing.T) {
	system(t)
	data := t.TempDir()
	w := startWorker(t, data)
	w.deploy(t, "billed", handlerFile(echo))
	bill, stderr, err := w.command(t, "", "sbom", "billed")
	if err != nil || !strings.Contains(bill, `"bomFormat": "CycloneDX"`) || !strings.Contains(bill, `"name": "billed"`) {
		t.Fatalf("%v %s %s", err, stderr, bill)
	}
	if xml, stderr, err := w.command(t, "", "sbom", "billed", "--format", "cyclonedx-xml"); err != nil || !strings.Contains(xml, `<bom xmlns="http://cyclonedx.org/schema/bom/1.6"`) {
		t.Errorf("%v %s %s", err, stderr, xml)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if again, stderr, err := startWorker(t, data).command(t, "", "sbom", "billed"); err != nil || again != bill {
		t.Errorf("after a restart: %v %s %s", err, stderr, again)
	}
}

// TestVulnerabilities: a deploy warns of a known vulnerability, and is refused when the operator wants that; what is deployed stays.
func TestVulnerabilities(t *testing.T) {
	system(t)
	requires(t, Node)
	dir := t.TempDir()
	database := filepath.Join(dir, "one.json")
	if err := os.WriteFile(database, []byte(`{"id":"GHSA-test","aliases":["CVE-2099-1"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"affected":[{"package":{"ecosystem":"npm","name":"isarray"},"ranges":[{"type":"SEMVER","events":[{"introduced":"2.0.0"},{"fixed":"2.0.5"}]}]}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	w := startWorker(t, filepath.Join(dir, "data"), "--vulnerabilities", database)
	f := files{"index.js": nodeEcho, "package.json": `{"dependencies":{"isarray":"2.0.4"}}`}
	w.deploy(t, "vulnerable", f)
	fixed := files{"index.js": nodeEcho, "package.json": `{"dependencies":{"isarray":"2.0.5"}}`}
	w.deploy(t, "mended", fixed)
	const want = "isarray==2.0.4: CVE-2099-1 (GHSA-test), critical 9.8, fixed in 2.0.5"
	if out, stderr, err := w.command(t, "", "describe", "vulnerable"); err != nil || !strings.Contains(out, want) {
		t.Errorf("describe: %v %s %s", err, stderr, out)
	}
	all := decode[[]core.Function](t, w.ask(t, http.MethodGet, "/v1/functions", nil))
	if len(all) != 2 || all[0].Vulnerable != "" || all[1].Vulnerable != core.SeverityCritical {
		t.Errorf("the list: %+v", all)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w = startWorker(t, w.data, "--vulnerabilities", database, "--vulnerability-policy", "refuse")
	refused := w.put(t, "vulnerable", f).expectError(t, core.KindInstall, core.FaultCaller, http.StatusUnprocessableEntity)
	if !strings.Contains(refused.Message, "isarray==2.0.4 has CVE-2099-1 (GHSA-test), critical 9.8, fixed in 2.0.5") {
		t.Errorf("refused: %s", refused.Message)
	}
	if got := result[string](t, w, "vulnerable", `"x"`); got != "x" {
		t.Errorf("what was deployed before answers %q", got)
	}
	w.deploy(t, "vulnerable", fixed)
}
