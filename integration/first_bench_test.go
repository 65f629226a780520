package integration

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// How long does the first event take, after a deploy and after a restart?

// heavyFirsts are functions with packages that take their time, as a first evening has them.
var heavyFirsts = []struct {
	name  string
	needs []coretest.Need
	files func(b *testing.B) files
}{
	{"pandas", nil, func(*testing.B) files { return pandas }},
	{"scikit-learn", nil, func(*testing.B) files {
		return handlerFile("from sklearn.linear_model import LinearRegression\n\ndef handler(event, context):\n    return round(float(LinearRegression().fit([[0], [1]], [0, 1]).predict([[6]])[0]))\n").
			with("requirements.txt", "scikit-learn==1.7.2\n")
	}},
	{"express and axios", []coretest.Need{Runtime("node")}, func(*testing.B) files {
		return files{"package.json": `{"dependencies": {"express": "4.21.2", "axios": "1.7.9"}}`,
			"index.js": "const express = require('express'), axios = require('axios');\nexports.handler = async () => typeof express() + typeof axios.get;\n"}
	}},
	{"nokogiri", []coretest.Need{Runtime("ruby")}, func(*testing.B) files {
		return files{"handler.rb": "require \"nokogiri\"\ndef handler(event:, context:) = Nokogiri::XML(\"<a><b>6</b></a>\").at(\"b\").text\n", "pipsqueak.yaml": "debian: [ruby-nokogiri]\n"}
	}},
	{"OpenCV", []coretest.Need{Runtime("c++")}, func(b *testing.B) files { return directory(b, "integration/testdata/bench/native-heavy") }},
}

// BenchmarkFirst measures the first event after a deploy, after a deploy of a new version, and ten seconds
// after a restart, against starts for which there is no zygote at all.
func BenchmarkFirst(b *testing.B) {
	for _, h := range heavyFirsts {
		b.Run(h.name, func(b *testing.B) {
			system(b)
			coretest.Requires(b, h.needs...)
			f, data := h.files(b), b.TempDir()
			w, err := start(programs(b), data)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = w.stop() }()
			other := 0
			event := func(want string) (took time.Duration) {
				began := time.Now()
				a := w.run(b, "first", `{}`)
				if took = time.Since(began); a.status != http.StatusOK || a.header.Get("Pipsqueak-Start") != want {
					other++
					b.Logf("a %s instead of a %s: %v", a.header.Get("Pipsqueak-Start"), want, a)
				}
				return took
			}
			var deployed, restarted, cold samples
			var spent, spentCold time.Duration
			for i := range 20 {
				w.ready(b, "first", f.with("more", fmt.Sprint(i)))
				before := processorTime()
				deployed = append(deployed, event("fork"))
				spent += processorTime() - before
			}
			for range 3 {
				if err := w.stop(); err != nil {
					b.Fatal(err)
				}
				if w, err = start(programs(b), data); err != nil {
					b.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				restarted = append(restarted, event("fork"))
			}
			for i := range 5 {
				w.force(b, "first", f.with("more", fmt.Sprint("cold", i)))
				w.fell(b)
				before := processorTime()
				cold = append(cold, event("cold"))
				spentCold += processorTime() - before
			}
			times := float64(cold.at(0.5)) / float64(deployed.at(0.5))
			baseline := fmt.Sprintf("cold: %v, %.0f ms of processor each", cold, ms(spentCold)/float64(len(cold)))
			report(b, "first event after a deploy, "+h.name, fmt.Sprintf("%v, %.0f ms of processor each, %.0f× faster, %d of another kind", deployed, ms(spent)/float64(len(deployed)), times, other),
				baseline, "a fork, ≥ 5×", other == 0 && times >= 5)
			report(b, "first event 10 s after a restart, "+h.name, restarted.String(), baseline, "a fork", other == 0)
		})
	}
}

// processorTime returns how long the processors of the machine have been busy, all together.
func processorTime() (busy time.Duration) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line)[1:] {
		if ticks, err := strconv.ParseInt(field, 10, 64); err == nil && i != 3 && i != 4 && i < 8 { // but for idle, and waiting for a disk
			busy += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return busy
}

// BenchmarkFirstOfMany deploys a hundred functions with memory for the zygotes of a third of them.
func BenchmarkFirstOfMany(b *testing.B) {
	system(b)
	ready := readyWithinMemory(b, 100, 33)
	report(b, "100 functions with memory for 33 zygotes", fmt.Sprintf("%d ready after the deploys, %d after a restart, with the most valuable among them", ready[0], ready[1]), "–",
		"each deploy gets its zygote, ≥ 30 are ready then and after a restart", !b.Failed() && min(ready[0], ready[1]) >= 30)
}
