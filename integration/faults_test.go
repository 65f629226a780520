package integration

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// How many pages does an instance touch before its handler answers?

// TestForkTouchesLittle has handlers report the page faults of their process. Each is a microsecond or two,
// and a page that was written is copied and freed besides: together they are most of what a fork costs its
// language. Unlike times, the number is the same on a busy machine. The zygotes are as old as most are: the
// memory reducer of V8 had each child of one that was older than eight seconds collect garbage.
func TestForkTouchesLittle(t *testing.T) {
	system(t)
	cases := []struct {
		name   string
		needs  []coretest.Need
		files  files
		faults int // measured, and a tenth more
	}{
		{"python", nil, handlerFile("def handler(event, context):\n    return int(open('/proc/self/stat').read().rpartition(') ')[2].split()[7])\n"), 535},
		{"node", []coretest.Need{Runtime("node")}, files{"index.js": "const { readFileSync } = require('fs');\n" +
			"exports.handler = async () => Number(readFileSync('/proc/self/stat', 'latin1').split(') ')[1].split(' ')[7]);\n"}, 565},
		{"ruby", []coretest.Need{Runtime("ruby")}, files{"handler.rb": "def handler(event:, context:) = File.read('/proc/self/stat').split(') ')[1].split(' ')[7].to_i\n"}, 198},
		{"native", []coretest.Need{Runtime("c++")}, files{"handler.c": `#include <pipsqueak.h>
#include <stdio.h>
#include <sys/resource.h>

PS_EXPORT void handler(ps_context *context, const char *event, size_t size)
{
    struct rusage usage;
    char text[32];
    (void)event, (void)size;
    getrusage(RUSAGE_SELF, &usage);
    ps_result(context, text, (size_t)snprintf(text, sizeof text, "%ld", usage.ru_minflt));
}
`}, 82},
	}
	w := shared(t)
	for _, c := range cases {
		coretest.Requires(t, c.needs...)
		w.deploy(t, "faults-"+c.name, c.files.with("pipsqueak.yaml", "reuse: false\n"))
		forkStart(t, w, "faults-"+c.name, `{}`)
	}
	time.Sleep(10 * time.Second)
	for _, c := range cases {
		fewest := 0
		for range 30 { // one that waits for its event touches what it may need
			var faults int
			a := w.run(t, "faults-"+c.name, `{}`)
			if err := json.Unmarshal(a.body, &faults); a.status != http.StatusOK || err != nil {
				t.Fatal(a, err)
			}
			if a.header.Get("Pipsqueak-Start") == "fork" && (fewest == 0 || faults < fewest) {
				fewest = faults
			}
		}
		t.Logf("%s: %d page faults", c.name, fewest)
		if fewest == 0 || fewest > c.faults {
			t.Errorf("%s: an instance has %d page faults before it answers, want at most %d", c.name, fewest, c.faults)
		}
	}
}
