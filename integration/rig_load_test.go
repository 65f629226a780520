package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// loaded is what wrk reports of a run.
type loaded struct {
	requests  int
	perSecond float64
	p50, p99  time.Duration
}

func (l loaded) String() string {
	return fmt.Sprintf("%.0f requests/s, n %d, p50 %.2f ms, p99 %.2f ms", l.perSecond, l.requests, ms(l.p50), ms(l.p99))
}

// load runs wrk with so many connections, which post a small event.
func load(b *testing.B, url string, connections int, seconds string) loaded {
	b.Helper()
	script := filepath.Join(b.TempDir(), "post.lua")
	if err := os.WriteFile(script, []byte("wrk.method = 'POST'\nwrk.body = '{\"a\": 1}'\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	out, err := exec.Command("wrk", "-t2", "-c"+strconv.Itoa(connections), "-d"+seconds, "--latency", "-s", script, url).CombinedOutput()
	if err != nil {
		b.Fatalf("wrk: %v: %s", err, out)
	}
	l, err := parseLoad(string(out))
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return l
}

// parseLoad reads the report of wrk --latency. Each figure is alone on its line, but for the number of
// requests.
func parseLoad(out string) (l loaded, err error) {
	find := func(pattern string) string {
		m := regexp.MustCompile(`(?m)^\s*`+pattern).FindAllStringSubmatch(out, -1)
		if len(m) != 1 {
			err = fmt.Errorf("the report of wrk has %d lines like %s", len(m), pattern)
			return ""
		}
		return m[0][1]
	}
	requests, perSecond := find(`(\d+) requests in `), find(`Requests/sec:\s+([\d.]+)$`)
	p50, p99 := find(`50%\s+([\d.]+(?:us|ms|s|m))$`), find(`99%\s+([\d.]+(?:us|ms|s|m))$`)
	if strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
		err = fmt.Errorf("some requests of wrk failed")
	}
	if err != nil {
		return l, err
	}
	if l.requests, err = strconv.Atoi(requests); err != nil {
		return l, err
	}
	if l.perSecond, err = strconv.ParseFloat(perSecond, 64); err != nil {
		return l, err
	}
	if l.p50, err = time.ParseDuration(p50); err != nil {
		return l, err
	}
	l.p99, err = time.ParseDuration(p99)
	return l, err
}

// flooded has wrk post a small event with 32 connections, to paths that an expression in Lua makes of the
// number i of the event, until stop is called. It has a third of one processor.
func flooded(b *testing.B, url, path string) (stop func()) {
	b.Helper()
	script := filepath.Join(b.TempDir(), "flood.lua")
	text := "wrk.method, wrk.body = 'POST', '{\"a\": 1}'\nlocal i = 0\nfunction request()\n\ti = i + 1\n\treturn wrk.format(nil, " + path + ")\nend\n"
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cgroup, file, quota := fmt.Sprintf("/sys/fs/cgroup/cpu/pipsqueak-flood-%d", os.Getpid()), "cpu.cfs_quota_us", "33000"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		cgroup, file, quota = fmt.Sprintf("/sys/fs/cgroup/pipsqueak-flood-%d", os.Getpid()), "cpu.max", "33000 100000"
	}
	if err := errors.Join(os.Mkdir(cgroup, 0o755), os.WriteFile(filepath.Join(cgroup, file), []byte(quota), 0)); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `echo $$ > "$0/cgroup.procs" && exec wrk -t1 -c32 -d600 -s "$1" "$2"`, cgroup, script, url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err := os.Remove(cgroup); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(stop)
	time.Sleep(time.Second)
	return stop
}

// unhindered has this process get a processor before all others until the benchmark ends, as if it were on
// another machine.
func unhindered(b *testing.B) {
	b.Helper()
	priority := func(nice int) {
		threads, err := filepath.Glob("/proc/self/task/*")
		for _, thread := range threads { // those to come have what the thread has that makes them
			id, _ := strconv.Atoi(filepath.Base(thread))
			err = errors.Join(err, syscall.Setpriority(syscall.PRIO_PROCESS, id, nice))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	priority(-20)
	b.Cleanup(func() { priority(0) })
}
