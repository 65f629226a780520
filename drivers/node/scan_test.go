package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
	"github.com/pipsqueak-faas/pipsqueak/core/driver/drivertest"
)

// ask has node run a program in which module is one of runtime, and decodes what it says.
func ask(t *testing.T, module, program string, result any, argv ...string) {
	t.Helper()
	found, problems := find(t.Context())
	coretest.Requires(t, coretest.Found("Node.js: "+strings.Join(problems, "; "), len(found) > 0))
	script := fmt.Sprintf("const module = await import(%q);\n%s", filepath.Join(drivertest.Libexec(t), "node", module), program)
	cmd := exec.CommandContext(t.Context(), found[0].Executable, append([]string{"--input-type=module", "-e", script, "--"}, argv...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, result); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestScanReads has code written in ways that Node.js reads as any other, or that are not to keep the scanner
// busy for ever.
func TestScanReads(t *testing.T) {
	returns := ""
	for i := range 9 {
		returns += fmt.Sprintf("function f%d() { %s }\n", i, strings.Repeat(fmt.Sprintf("return f%d(); ", i+1), 30))
	}
	for text, want := range map[string]string{
		`\u0065val(Buffer.from('eA==', 'base64').toString())`:                 "hidden-code 1",
		`\u{65}val(atob('eA=='))`:                                             "hidden-code 1",
		`require('child\x5fprocess').exec('id')`:                              "process 1",
		`require('child\_process').exec('id')`:                                "process 1",
		`require('\143hild_process').exec('id')`:                              "process 1",
		"1;\nrequire('child_\\\nprocess').exec('id')":                         "process 2",
		`const x = '\\d\u{ffffffff}\u{zz';`:                                   "",
		`const x = '\u0064ns', y = /\x41\101/;`:                               "",
		"eval(" + strings.Repeat("(", 6000) + "1" + strings.Repeat(")", 6001): "hidden-code 0",
		returns + "eval(f0())":                                                "hidden-code 0",
	} {
		var got []string
		ask(t, "scan/suspicions.mjs", "console.log(JSON.stringify(module.suspicions(process.argv[1]).map(([rule, line]) => `${rule} ${line}`)))", &got, text)
		if strings.Join(got, ", ") != want {
			t.Errorf("%.60q: %v, want %q", text, got, want)
		}
	}
}
