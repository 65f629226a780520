package integration

import (
	"strings"
	"testing"
)

// Are the figures of the load generator read as it means them?

const wrkReport = `Running 2s test @ http://127.0.0.1:8080/run/f
  2 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.21ms    2.04ms  40.50ms   96.50%
    Req/Sec    10.05k     1.10k   12.99k    68.50%
  Latency Distribution
     50%  811.00us
     75%    1.02ms
     90%    1.50ms
     99%   11.90ms
  40123 requests in 2.00s, 7.11MB read
Requests/sec:  20051.26
Transfer/sec:      3.55MB
`

func TestLoadIsReadStrictly(t *testing.T) {
	if got, err := parseLoad(wrkReport); err != nil || got.String() != "20051 requests/s, n 40123, p50 0.81 ms, p99 11.90 ms" {
		t.Errorf("%v, %v", got, err)
	}
	for name, change := range map[string][2]string{
		"a figure is missing": {"     50%  811.00us\n", ""},
		"a figure is twice":   {"     99%   11.90ms\n", "     99%   11.90ms\n     99%   12.90ms\n"},
		"no unit":             {"811.00us", "811"},
		"no number":           {"20051.26", "-nan"},
		"answers of errors":   {"Requests/sec", "  Non-2xx or 3xx responses: 4\nRequests/sec"},
		"lost connections":    {"Requests/sec", "  Socket errors: connect 0, read 3, write 0, timeout 0\nRequests/sec"},
	} {
		if got, err := parseLoad(strings.Replace(wrkReport, change[0], change[1], 1)); err == nil {
			t.Errorf("%s: it is read as %v", name, got)
		}
	}
}
