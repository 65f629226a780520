package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Is an instance ended that leaves processes behind?

// leavers start so many processes as their event says and do not wait for them, which end or stay. They
// answer with the number.
var leavers = map[string]files{
	"python": handlerFile(`
import os, time
def handler(event, context):
    for _ in range(event["count"]):
        if os.fork() == 0:
            if event["do"] == "stay":
                time.sleep(3600)
            os._exit(0)
    return event["count"]
`),
	"ruby": {"pipsqueak.yaml": "timeout_ms: 2000\n", "handler.rb": `
def handler(event:, context:)
  event["count"].times do
    fork do
      sleep if event["do"] == "stay"
      exit!
    end
  end
end
`},
	"node": {"index.js": `
const { spawn } = require('child_process');
exports.handler = async (event) => {
  for (let i = 0; i < event.count; i++) {
    const child = spawn('sleep', ['3600'], { stdio: 'ignore' }).on('error', () => {});
    if (!child.pid) throw new Error('refused');
    child.unref();
  }
  return event.count;
};
`},
	"native": {"handler.c": `#include <pipsqueak.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
PS_EXPORT void handler(ps_context *context, const char *event, size_t size) {
    int count = atoi(strstr(event, "\"count\":") + 8), stay = strstr(event, "stay") != NULL;
    char text[16];
    (void)size;
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child < 0) { ps_error(context, "EAGAIN", "refused"); return; }
        if (child == 0) {
            if (stay) sleep(3600);
            _exit(0);
        }
    }
    ps_result(context, text, (size_t)snprintf(text, sizeof text, "%d", count));
}
`},
}

// TestLeftBehind: processes that a handler leaves behind do not harm events that come later. Those that have
// ended and that it has not waited for harm none; those that stay harm the event that would have had too
// many, and the next one begins again.
func TestLeftBehind(t *testing.T) {
	system(t)
	w := shared(t)
	for language, function := range leavers {
		t.Run(language, func(t *testing.T) {
			name := "left-" + language
			w.deploy(t, name, function)
			ask := func(do string, count int) answer {
				return w.run(t, name, fmt.Sprintf(`{"do":%q,"count":%d}`, do, count))
			}
			says := func(what string, times int) {
				t.Helper()
				eventually(t, patience, fmt.Sprintf("the log says %d times %q", times, what), func() bool {
					return strings.Count(string(w.ask(t, http.MethodGet, "/v1/functions/"+name+"/logs", nil).body), what) == times
				})
			}
			if language != "node" { // which waits for all that it starts
				for i := range 5 {
					if a := ask("end", 120); string(a.body) != "120" {
						t.Errorf("event %d is answered with %v", i, a)
					}
				}
				says("the instance was ended after this event: ", 5) // of children that are still ending another reason is told
			}
			for round := range 2 {
				refused := http.StatusInternalServerError
				if language == "ruby" { // which tries again without end
					refused = http.StatusGatewayTimeout
				}
				for i, want := range []int{http.StatusOK, http.StatusOK, refused} {
					if a := ask("stay", 100); a.status != want {
						t.Errorf("round %d, event %d is answered with %v", round, i, a)
					}
				}
			}
			if language != "ruby" {
				says("of 256 that there may be, and was refused one more", 2)
			}
			if a := ask("stay", 0); string(a.body) != "0" {
				t.Errorf("an event after that is answered with %v", a)
			}
		})
	}
}
