package report

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
	"github.com/pipsqueak-faas/pipsqueak/core/coretest"
)

// runs are one of processes, and one that has everything that a page shows. A name is no HTML.
func runs() []*results.Run {
	a := &results.Run{Path: "command.jsonl", Head: results.Head{Target: "command", Mode: "open", Digest: "1", Events: 600}, Complete: true}
	b := &results.Run{Path: "<b>&.jsonl", Head: results.Head{Target: "pipsqueak", Mode: "open", Digest: "1", Events: 600}, Complete: true}
	for i := range 600 {
		due := float64(i) * 100
		q := results.Request{Event: i, Language: []string{"python", "node", "ruby", "native"}[i%4], Due: due, Sent: due, Latency: 100 + float64(i), Start: "process",
			Function: fmt.Sprintf("f%d", i%12), CPU: 90, Bytes: int64(i%12+1) << 20, Held: 1000}
		a.Requests = append(a.Requests, q)
		q.CPU, q.Bytes, q.Held = 0, 0, 0
		q.Start, q.Latency = []string{"warm", "warm", "warm", "fork", "fork", "cold", "warm"}[i%7], 0.3+float64(i%50)
		q.Phases = map[string]float64{"queue": 0.2, "fork": 1, "import": 3, "handler": 50, "total": 54.2}
		if i == 300 {
			q.Error, q.IsWrong = "wrong", true
		}
		b.Requests = append(b.Requests, q)
		if i%10 == 0 {
			b.Memory = append(b.Memory, results.Memory{At: due, Bytes: int64(i) << 20})
		}
	}
	for i := range 9 {
		b.Deploys = append(b.Deploys, results.Deploy{Function: fmt.Sprint(i), Language: "node", Took: float64(1000 * (i + 1))})
	}
	return []*results.Run{a, b}
}

func written(t *testing.T, all []*results.Run) string {
	t.Helper()
	var text strings.Builder
	coretest.Must(t, Write(&text, all))
	return text.String()
}

var svgs = regexp.MustCompile(`(?s)<svg.*?</svg>`)

// TestPage reads the page as text: it needs nothing else, has all figures and numbers, and escapes what is
// foreign.
func TestPage(t *testing.T) {
	text := written(t, runs())
	for _, title := range []string{"Distribution of latency", "Tails of latency", "Starts over time: command", "Starts over time: &lt;b&gt;&amp;", "Phases of starts: &lt;b&gt;&amp;", "Memory over time", "Cost per function"} {
		if !strings.Contains(text, "<figcaption><b>"+title+"</b>") {
			t.Errorf("no figure is %s", title)
		}
	}
	drawn := svgs.FindAllString(text, -1)
	if len(drawn) != 7 || strings.Contains(text, "Phases of starts: command") {
		t.Errorf("%d figures", len(drawn))
	}
	if n := strings.Count(text, `<tr><td class="text">command</td>`); n < 10+4 || strings.Contains(text, `<td class="text">f0</td><td>50</td><td>19.7</td>`) {
		t.Errorf("of the costs of the first run there are %d rows, and the cheapest function is among them", n)
	}
	if !strings.Contains(text, `<td class="text">f11</td><td>50</td><td>20.2</td><td>4.5</td><td>0.629</td>`) {
		t.Error("the dearest function, of 50 requests with 12 MiB for a second each, is not there")
	}
	for _, one := range drawn {
		decoder := xml.NewDecoder(strings.NewReader(one))
		for {
			_, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v: %s", err, one[:200])
			}
		}
		if len(one) > 200<<10 {
			t.Errorf("a figure has %d bytes", len(one))
		}
	}
	// Names of XML namespaces are no addresses that anybody visits.
	bare := regexp.MustCompile(`xmlns(:\w+)?="[^"]*"`).ReplaceAllString(text, "")
	for _, outside := range []string{"http:", "https:", "src=", "url(", "@import", "<script", "<link", "<b>&"} {
		if strings.Contains(bare, outside) {
			t.Errorf("the page has %s", outside)
		}
	}
	for _, want := range []string{`<td class="wrong">1</td>`, `<td class="text">node</td><td>9</td><td>5000</td><td>9000</td>`, `>399 <span class="range">[`} {
		if !strings.Contains(text, want) {
			t.Errorf("no cell is %s", want)
		}
	}
	if !strings.Contains(text, ">python cold</text>") || strings.Contains(text, ">python warm</text>") {
		t.Error("phases are of starts: of cold ones and forks, and not of warm ones")
	}
	for media, begins := range map[string]string{"text/csv": "run,language,start,", "application/json": "{\n \"rows\": ["} {
		_, rest, _ := strings.Cut(text, `href="data:`+media+`;base64,`)
		encoded, _, _ := strings.Cut(rest, `"`)
		content, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(encoded, "&#43;", "+"))
		if err != nil || !strings.HasPrefix(string(content), begins) {
			t.Errorf("%s: %v, %.80s", media, err, content)
		}
	}
}

// TestLittle makes pages of runs with next to nothing in them.
func TestLittle(t *testing.T) {
	for figures, change := range map[int]func(*results.Run){
		0: func(r *results.Run) { r.Requests = nil },
		1: func(r *results.Run) { r.Requests = r.Requests[:1]; r.Requests[0].Error = "failed" },
		4: func(r *results.Run) { r.Requests = r.Requests[:2] },
	} {
		r := runs()[0]
		change(r)
		if figures == 1 {
			r.Memory = []results.Memory{{At: 0, Bytes: 0}}
		}
		if n := len(svgs.FindAllString(written(t, []*results.Run{r}), -1)); n != figures {
			t.Errorf("%d requests have %d figures, want %d", len(r.Requests), n, figures)
		}
	}
}

// TestThinned checks that a curve of few points is the distribution still, and has the slowest ones.
func TestThinned(t *testing.T) {
	for _, n := range []int{1, 2, 10, 1000, 100000} {
		times := make([]float64, n)
		for i := range times {
			times[i] = float64(i + 1)
		}
		points := thinned(times)
		if len(points) > 430 || points[0].X != 1 || points[len(points)-1].X != float64(n) {
			t.Errorf("%d times have %d points, from %v to %v", n, len(points), points[0], points[len(points)-1])
		}
		for i, p := range points {
			if math.Abs(p.Y-p.X/float64(n)) > 1e-9 || i > 0 && p.X <= points[i-1].X {
				t.Fatalf("%d times have the point %v after %v", n, p, points[max(0, i-1)])
			}
			if i > 0 && p.Y < 1 && (1-points[i-1].Y)/(1-p.Y) > 2.2 && p.X < float64(n)-20 {
				t.Errorf("%d times: nothing is between %v and %v", n, points[i-1], p)
			}
		}
	}
}

// looks is run in the page: it writes what it sees into an attribute of the root.
const looks = `<script>
addEventListener('load', () => {
  const seen = { figures: 0, cut: [], small: 0, pale: 0 };
  for (const svg of document.querySelectorAll('figure svg')) {
    seen.figures++;
    const box = svg.getBoundingClientRect();
    if (box.width < 250 || box.height < 120) seen.small++;
    for (const text of svg.querySelectorAll('text')) {
      const it = text.getBoundingClientRect();
      if (it.left < box.left - 1 || it.right > box.right + 1 || it.top < box.top - 1 || it.bottom > box.bottom + 1) seen.cut.push(text.textContent);
      if (parseFloat(getComputedStyle(text).fontSize) < 6) seen.pale++;
    }
  }
  const root = document.documentElement;
  const said = 'FIGURES=' + seen.figures + ' SMALL=' + seen.small + ' PALE=' + seen.pale + ' CUT=[' + seen.cut.join(';') + '] WIDER=' +
    (root.scrollWidth - root.clientWidth) + ' ROWS=' + document.querySelectorAll('#latency tr').length;
  document.body.innerHTML = '<pre></pre>';
  document.querySelector('pre').textContent = said;
});
</script></head>`

// TestChromium has a browser lay the page out, on a wide and on a narrow screen, and print it: no text of a
// figure is cut off, and nothing is wider than the screen.
func TestChromium(t *testing.T) {
	browser, err := exec.LookPath("chromium-headless-shell")
	coretest.Requires(t, coretest.Found("chromium-headless-shell", err == nil))
	dir := t.TempDir()
	open := func(flags ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), browser, append([]string{"--no-sandbox", "--disable-gpu", "--user-data-dir=" + filepath.Join(dir, "profile")}, flags...)...)
		out, err := command.Output()
		if err != nil {
			t.Fatalf("%v: %v", command, err)
		}
		return string(out)
	}
	text := written(t, runs())
	looked, plain := filepath.Join(dir, "looked.html"), filepath.Join(dir, "plain.html")
	coretest.Must(t, os.WriteFile(plain, []byte(text), 0o644))
	coretest.Must(t, os.WriteFile(looked, []byte(strings.Replace(text, "</head>", looks, 1)), 0o644))
	for _, size := range []string{"1400,900", "600,900"} {
		dom := open("--window-size="+size, "--dump-dom", "file://"+looked)
		seen := dom[strings.LastIndex(dom, "<pre>")+len("<pre>"):] // the script has one too
		seen, _, _ = strings.Cut(seen, "</pre>")
		if seen != "FIGURES=7 SMALL=0 PALE=0 CUT=[] WIDER=0 ROWS=26" {
			t.Errorf("at %s the browser sees %s", size, seen)
		}
	}
	printed := filepath.Join(dir, "page.pdf")
	open("--print-to-pdf="+printed, "file://"+plain)
	pdf, err := os.ReadFile(printed)
	coretest.Must(t, err)
	if pages := regexp.MustCompile(`/Type /Page\b`).FindAll(pdf, -1); len(pages) < 2 || len(pages) > 6 {
		t.Errorf("it is printed on %d pages", len(pages))
	}
}
