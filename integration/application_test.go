package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Is an application deployed whole or not at all?

// says is a handler that answers with a text.
func says(text string) string { return "def handler(event, context):\n    return '" + text + "'\n" }

// application makes a directory of an application: for each function the code of its handler.
func application(t testing.TB, name string, functions map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	manifest := "name: " + name + "\nfunctions:\n"
	for _, function := range slices.Sorted(maps.Keys(functions)) {
		manifest += "  " + function + ":\n"
		writeFile(t, filepath.Join(dir, function, "handler.py"), functions[function])
	}
	writeFile(t, filepath.Join(dir, "pipsqueak.yaml"), manifest)
	return dir
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ofApplication returns the versions of an application's functions.
func (w *worker) ofApplication(t testing.TB, name string) map[string]int {
	t.Helper()
	versions := map[string]int{}
	for _, f := range decode[[]core.Function](t, w.ask(t, http.MethodGet, "/v1/functions", nil)) {
		if f.Application == name {
			versions[f.Name] = f.Version
		}
	}
	return versions
}

// TestApplication deploys functions together or not at all.
func TestApplication(t *testing.T) {
	w := shared(t)
	deploy := func(dir string, args ...string) (out, errs string, ok bool) {
		out, errs, err := w.command(t, "", append([]string{"deploy", dir}, args...)...)
		return out, errs, err == nil
	}
	want := func(answers map[string]string, versions map[string]int) {
		t.Helper()
		if got := w.ofApplication(t, "shop"); fmt.Sprint(got) != fmt.Sprint(versions) {
			t.Errorf("the application has %v, want %v", got, versions)
		}
		for name, answer := range answers {
			if got := result[string](t, w, name, "{}"); got != answer {
				t.Errorf("%s answers %q, want %q", name, got, answer)
			}
		}
	}
	refused := func(words, dir string, args ...string) {
		t.Helper()
		_, errs, ok := deploy(dir, args...)
		for word := range strings.SplitSeq(words, "|") {
			if ok || !strings.Contains(errs, word) {
				t.Errorf("%s %v: %v, %q, want an error with %q", dir, args, ok, errs, word)
			}
		}
	}
	out, errs, ok := deploy(application(t, "shop", map[string]string{"shop-cart": says("1"), "shop-till": says("1")}))
	if !ok || !strings.Contains(out, "deployed the application shop: 2 functions") {
		t.Fatalf("%s%s", out, errs)
	}
	one := map[string]string{"shop-cart": "1", "shop-till": "1"}
	want(one, map[string]int{"shop-cart": 1, "shop-till": 1})

	// One that fails, wherever it does so, leaves all as they were.
	for words, broken := range map[string]files{
		"nothing of the application shop has changed|shop-till|no handler":         {"other.py": ""},
		"nothing of the application shop has changed|shop-till|no-such-package-at": {"handler.py": says("2"), "requirements.txt": "no-such-package-at-all-4711==1\n"},
		"nothing of the application shop has changed|shop-till|10 has no unit":     {"handler.py": says("2"), "pipsqueak.yaml": "idle_timeout: 10\n"},
	} {
		dir := application(t, "shop", map[string]string{"shop-cart": says("2"), "shop-till": says("2"), "shop-new": says("2")})
		if err := os.RemoveAll(filepath.Join(dir, "shop-till")); err != nil {
			t.Fatal(err)
		}
		for name, text := range broken {
			writeFile(t, filepath.Join(dir, "shop-till", name), text)
		}
		if own, has := broken["pipsqueak.yaml"]; has { // the part's manifest is in the application's
			if err := os.Remove(filepath.Join(dir, "shop-till", "pipsqueak.yaml")); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, "pipsqueak.yaml"), "functions:\n  shop-cart:\n  shop-till: {"+strings.TrimSpace(own)+"}\n")
			words = "shop-till|10 has no unit"
		}
		refused(words, dir)
		want(one, map[string]int{"shop-cart": 1, "shop-till": 1})
	}

	// Names.
	w.deploy(t, "shop-alone", handlerFile(says("alone")))
	refused("there is a function \"shop-alone\"", application(t, "shop-alone", map[string]string{"shop-x": says("x")}))
	refused("is the name of an application", application(t, "shop-same", map[string]string{"shop-same": says("x")}))
	refused("of the application shop", application(t, "market", map[string]string{"shop-cart": says("x")}))
	refused("with other functions (shop-cart, shop-till)", application(t, "shop", map[string]string{"shop-x": says("x")}))
	w.put(t, "shop", handlerFile(says("x"))).expectError(t, core.KindConflict, core.FaultCaller, http.StatusConflict)
	if got := decode[[]core.Function](t, w.ask(t, http.MethodGet, "/v1/functions", nil)); slices.ContainsFunc(got, func(f core.Function) bool { return f.Name == "shop-x" || f.Name == "shop-same" }) {
		t.Errorf("what was refused is deployed: %v", got)
	}

	// One alone stays in its application; one that is listed no more is removed; one that was alone is taken
	// in.
	w.deploy(t, "shop-till", handlerFile(says("2")))
	want(map[string]string{"shop-cart": "1", "shop-till": "2"}, map[string]int{"shop-cart": 1, "shop-till": 2})
	out, errs, ok = deploy(application(t, "shop", map[string]string{"shop-till": says("3"), "shop-alone": says("3")}))
	if !ok || !strings.Contains(out, "removed shop-cart of the application shop, not listed any more") {
		t.Errorf("%s%s", out, errs)
	}
	want(map[string]string{"shop-till": "3", "shop-alone": "3"}, map[string]int{"shop-till": 3, "shop-alone": 2})
	w.run(t, "shop-cart", "{}").expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)

	out, errs, err := w.command(t, "", "describe", "shop")
	if err != nil || !strings.Contains(out, "application  shop") || !strings.Contains(out, "shop-alone") {
		t.Errorf("%s%s", out, errs)
	}
	for _, name := range []string{"shop-till", "shop-alone"} {
		w.deploy(t, name, handlerFile("def handler(event, context):\n    print('I am', context.function_name)\n"))
		if a := w.run(t, name, "{}"); a.status != http.StatusOK {
			t.Fatal(a)
		}
	}
	eventually(t, patience, "both functions are in the application's log, in order", func() bool {
		out, errs, err = w.command(t, "", "logs", "shop")
		till, alone := strings.Index(out, " stdout I am shop-till\n"), strings.Index(out, " stdout I am shop-alone\n")
		return err == nil && till >= 0 && till < alone && strings.Contains(out, "Z shop-till ")
	})
	failure := w.run(t, "shop", "{}").expectError(t, core.KindNotFound, core.FaultCaller, http.StatusNotFound)
	if !strings.Contains(failure.Message, "its functions are shop-alone, shop-till") {
		t.Errorf("an application is invoked: %s", failure.Message)
	}
	if out, errs, err = w.command(t, "", "remove", "shop"); err != nil || out != "removed shop-alone, shop-till of the application shop\n" {
		t.Errorf("%s%s", out, errs)
	}
	want(nil, map[string]int{})
}

// TestApplicationsAtOnce deploys one application several times at once, while events see it: those that are
// deployed take turns or are refused, and from the first answer of new code on there is none of old code.
func TestApplicationsAtOnce(t *testing.T) {
	w := shared(t)
	functions := func(text string) map[string]string {
		return map[string]string{"rivals-a": says(text), "rivals-b": says(text), "rivals-c": says(text)}
	}
	if _, errs, err := w.command(t, "", "deploy", application(t, "rivals", functions("0"))); err != nil {
		t.Fatal(errs)
	}
	var deploys sync.WaitGroup
	ctx, ended := context.WithCancel(t.Context())
	defer ended()
	deployed := make(chan bool, 8)
	for i := range cap(deployed) {
		dir := application(t, "rivals", functions(fmt.Sprint(1+i%2)))
		deploys.Go(func() {
			_, errs, err := w.command(t, "", "deploy", dir)
			if err != nil && !strings.Contains(errs, "is under way; try again") {
				t.Errorf("a deploy beside another: %s", errs)
			}
			deployed <- err == nil
		})
	}
	go func() { deploys.Wait(); ended() }()
	mixed := 0
	for ctx.Err() == nil {
		before := w.ofApplication(t, "rivals")
		if before["rivals-a"] != before["rivals-b"] || before["rivals-b"] != before["rivals-c"] {
			mixed++
		}
	}
	if mixed > 0 {
		t.Errorf("%d lists had functions of different deploys", mixed)
	}
	good := 0
	for range cap(deployed) {
		if <-deployed {
			good++
		}
	}
	versions := w.ofApplication(t, "rivals")
	if good == 0 || versions["rivals-a"] != 1+good || versions["rivals-c"] != 1+good {
		t.Errorf("%d deploys went well, and the versions are %v", good, versions)
	}
	a := result[string](t, w, "rivals-a", "{}")
	if b, c := result[string](t, w, "rivals-b", "{}"), result[string](t, w, "rivals-c", "{}"); b != a || c != a {
		t.Errorf("the functions are of different deploys: %s, %s, %s", a, b, c)
	}
}

// TestKilledInASwitch kills a worker as soon as the first function of an application has its new file. After
// the next start all functions are of one deploy.
func TestKilledInASwitch(t *testing.T) {
	data := t.TempDir()
	functions := func(text string) map[string]string {
		all := map[string]string{}
		for i := range 12 {
			all[fmt.Sprintf("f%d", i)] = says(text)
		}
		return all
	}
	w, err := start(programs(t), data)
	if err != nil {
		t.Fatal(err)
	}
	if _, errs, err := w.command(t, "", "deploy", application(t, "whole", functions("old"))); err != nil {
		w.kill()
		t.Fatal(errs)
	}
	first := filepath.Join(data, "functions", "f0@2.json")
	killed := make(chan bool)
	go func() {
		defer close(killed)
		for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); {
			if _, err := os.Stat(first); err == nil {
				break
			}
		}
		w.kill()
	}()
	_, _, err = w.command(t, "", "deploy", application(t, "whole", functions("new")))
	<-killed
	n := 0
	for name := range functions("") {
		var f core.Function
		if text, err := os.ReadFile(filepath.Join(data, "functions", name+"@2.json")); err == nil && json.Unmarshal(text, &f) == nil && f.Version == 2 {
			n++
		}
	}
	t.Logf("killed with %d of 12 files written; the deploy ended with %v", n, err)
	if n == 0 || n == 12 {
		t.Errorf("it was not killed in between")
	}
	w = startWorker(t, data)
	answers := map[string]int{}
	for name := range functions("") {
		answers[result[string](t, w, name, "{}")]++
	}
	if answers["new"] != 12 {
		t.Errorf("after the switch had begun and a restart the functions answer %v", answers)
	}
}
