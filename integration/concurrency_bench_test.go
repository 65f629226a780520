package integration

import (
	"fmt"
	"strings"
	"testing"
)

// How many more events does one instance answer if it may have several at once?

// waiters wait 10 ms.
var waiters = map[string]files{
	"node":         {"index.js": "exports.handler = () => new Promise((resolve) => setTimeout(resolve, 10))\n"},
	"python":       handlerFile("import time\ndef handler(event, context):\n    time.sleep(0.01)\n"),
	"ruby":         {"handler.rb": "def handler(event:, context:) = sleep(0.01)\n"},
	"python async": handlerFile("import asyncio\nasync def handler(event, context):\n    await asyncio.sleep(0.01)\n"),
}

// BenchmarkConcurrency measures how many events a second one instance answers whose handler waits 10 ms, one
// at a time and 16 at once.
func BenchmarkConcurrency(b *testing.B) {
	system(b)
	for language, f := range waiters {
		b.Run(language, func(b *testing.B) {
			w := shared(b)
			var got [2]loaded
			for i, n := range []int{1, 16} {
				name := fmt.Sprintf("waits-%s-%d", strings.ReplaceAll(language, " ", "-"), n)
				w.deploy(b, name, f.with("pipsqueak.yaml", fmt.Sprintf("max_instances: 1\nconcurrency: %d\n", n)))
				load(b, w.url+"/run/"+name, 16, "1s")
				got[i] = load(b, w.url+"/run/"+name, 16, "5s")
			}
			times := got[1].perSecond / got[0].perSecond
			report(b, "events of 10 ms in one instance, concurrency 16, "+language, fmt.Sprintf("%s, %.1f×", got[1], times),
				"concurrency 1: "+got[0].String(), "≥ 10×", times >= 10)
		})
	}
}
