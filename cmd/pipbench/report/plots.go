package report

import (
	"bytes"
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/compare"
	"github.com/pipsqueak-faas/pipsqueak/cmd/pipbench/results"
)

// The size of a figure: two fit beside each other on a screen, and one on a page.
const (
	width      = 160 * millimetre
	height     = 90 * millimetre
	millimetre = vg.Inch / 25.4
)

// shades are told apart by people who see few (Okabe and Ito), and dashes when printed in grey.
var (
	shades = []color.Color{color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255},
		color.RGBA{204, 121, 167, 255},
		color.RGBA{230, 159, 0, 255}, color.RGBA{86, 180, 233, 255}, color.RGBA{80, 80, 80, 255}, color.RGBA{240, 228, 66, 255}}
	dashes = [][]vg.Length{nil, {6, 2}, {2, 2}, {8, 2, 2, 2}}
)

// newPlot returns a plot with the legend at the top left.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.X.Tick.Marker, p.Y.Tick.Marker = steps(1), steps(1)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding = millimetre
	return p
}

// svg draws a plot.
func svg(p *plot.Plot) (string, error) {
	canvas := vgsvg.New(width, height)
	const margin = 2 * millimetre // text at an edge would be cut off
	p.Draw(draw.Crop(draw.New(canvas), margin, -margin, margin, -margin))
	var text bytes.Buffer
	_, err := canvas.WriteTo(&text)
	return text.String(), err
}

// line adds a curve to a plot.
func line(p *plot.Plot, i int, name string, points plotter.XYs) error {
	l, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	l.Color, l.Dashes, l.Width = shades[i%len(shades)], dashes[i%len(dashes)], vg.Points(1.5)
	p.Add(l)
	p.Legend.Add(name, l)
	return nil
}

// beyond are the times of the right answers of a run, sorted.
func beyond(r *results.Run) (times []float64) {
	for _, q := range r.Requests {
		if q.Error == "" {
			times = append(times, compare.Beyond(q))
		}
	}
	slices.Sort(times)
	return times
}

// cdf is the share of requests that are at most as slow as a time. With tail each nine of the share has the
// same room.
func cdf(names []string, runs []*results.Run, tail bool) (string, error) {
	p := newPlot("milliseconds", "share of the requests")
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	most := 0.0
	for i, r := range runs {
		times := beyond(r)
		if len(times) == 0 {
			continue
		}
		points := thinned(times)
		for j := range points {
			if tail {
				points[j].Y = nines(points[j].Y, len(times))
			}
			most = max(most, points[j].Y)
		}
		if err := line(p, i, names[i], points); err != nil {
			return "", err
		}
	}
	p.Y.Min, p.Y.Max = 0, 1
	p.Y.Tick.Marker = plot.ConstantTicks(shares(false, 1))
	if tail {
		p.Y.Max = max(1, most)
		p.Y.Tick.Marker = plot.ConstantTicks(shares(true, p.Y.Max))
	}
	if most == 0 {
		return "", nil
	}
	// A range of no width has no logarithm to draw.
	if p.X.Min >= p.X.Max {
		p.X.Min, p.X.Max = p.X.Min/2, p.X.Max*2
	}
	p.Add(plotter.NewGrid())
	return svg(p)
}

// Tails is a figure of the latencies of runs: each nine of the requests has as much room.
func Tails(names []string, runs []*results.Run) (string, error) { return cdf(names, runs, true) }

// Memory is a figure of what runs took over time; empty if none tells that.
func Memory(names []string, runs []*results.Run) (string, error) { return memory(names, runs) }

// thinned is the distribution of sorted times by 400 points at most, half of which are in the slowest tenth.
func thinned(times []float64) (points plotter.XYs) {
	n := len(times)
	last := -1
	add := func(share float64) {
		if i := min(n-1, int(share*float64(n))); i > last {
			last = i
			points = append(points, plotter.XY{X: times[i], Y: float64(i+1) / float64(n)})
		}
	}
	for i := range 200 {
		add(0.9 * float64(i) / 200)
	}
	for i := range 200 { // closer and closer to the slowest one
		add(1 - 0.1*math.Pow(10/float64(n), float64(i)/200))
	}
	for i := max(last+1, n-20); i < n; i++ {
		add(float64(i) / float64(n))
	}
	return points
}

// nines is the place of a share on an axis that has as much room for 90 to 99 % as for 99 to 99.9 %. The
// slowest of n has one too.
func nines(share float64, n int) float64 { return -math.Log10(max(1-share, 0.5/float64(n))) }

// shares are the marks of an axis of shares.
func shares(tail bool, most float64) (ticks []plot.Tick) {
	if !tail {
		for i := range 5 {
			ticks = append(ticks, plot.Tick{Value: float64(i) / 4, Label: fmt.Sprintf("%d %%", 25*i)})
		}
		return ticks
	}
	for _, percent := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999} {
		if at := -math.Log10(1 - percent/100); at <= most+0.01 {
			ticks = append(ticks, plot.Tick{Value: at, Label: fmt.Sprintf("%g %%", percent)})
		}
	}
	return ticks
}

// decades are the marks of an axis of times: with labels at 1, 10, 100 and so on, and at 2 and 5 of each if
// there are few.
func decades(least, most float64) (ticks []plot.Tick) {
	for e := math.Floor(math.Log10(least)); e <= math.Ceil(math.Log10(most)); e++ {
		for digit := 1.0; digit < 10; digit++ {
			t := plot.Tick{Value: digit * math.Pow(10, e)}
			if digit == 1 || most/least < 1000 && (digit == 2 || digit == 5) {
				t.Label = fmt.Sprintf("%g", t.Value)
			}
			if t.Value >= least && t.Value <= most {
				ticks = append(ticks, t)
			}
		}
	}
	return ticks
}

// startOrder is the order of starts, from cheap to dear; others come after them.
var startOrder = []string{"warm", "fork", "cold"}

// ordered are the names in an order, and then the others.
func ordered(names map[string]bool, order []string) (all []string) {
	for _, name := range order {
		if names[name] {
			all = append(all, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !slices.Contains(order, name) {
			all = append(all, name)
		}
	}
	return all
}

// bars stacks values, of one name each, over places.
func bars(p *plot.Plot, names []string, values map[string]plotter.Values, wide vg.Length) error {
	var below *plotter.BarChart
	for i, name := range names {
		b, err := plotter.NewBarChart(values[name], wide)
		if err != nil {
			return err
		}
		b.Color, b.LineStyle.Width = shades[i%len(shades)], 0
		if below != nil {
			b.StackOn(below)
		}
		below = b
		p.Add(b)
		p.Legend.Add(name, b)
	}
	return nil
}

// Points is a figure with a curve for each name, over the same places: what is not known is NaN. The axis of
// values is logarithmic. It is empty if nothing is known.
func Points(names, places []string, values [][]float64, unit string) (string, error) {
	p := newPlot("", unit)
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	has := false
	for i, name := range names {
		var points plotter.XYs
		for x, y := range values[i] {
			if !math.IsNaN(y) {
				points = append(points, plotter.XY{X: float64(x), Y: y})
			}
		}
		if len(points) == 0 {
			continue
		}
		if err := line(p, i, name, points); err != nil {
			return "", err
		}
		has = true
		marks, err := plotter.NewScatter(points)
		if err != nil {
			return "", err
		}
		marks.Color, marks.Shape, marks.Radius = shades[i%len(shades)], draw.CircleGlyph{}, vg.Points(2.5)
		p.Add(marks)
	}
	if !has {
		return "", nil
	}
	p.NominalX(places...)
	p.X.Min, p.X.Max = -0.5, float64(len(places))-0.5
	p.Y.Min, p.Y.Max = p.Y.Min/1.5, p.Y.Max*math.Pow(1.6, float64(len(names))) // for the legend
	p.Add(plotter.NewGrid())
	return svg(p)
}

// periods is into how many a run is divided.
const periods = 60

// starts is how many requests had which start, over time.
func starts(r *results.Run) (string, error) {
	kinds, end := map[string]bool{}, 0.0
	for _, q := range r.Requests {
		if q.Start != "" {
			kinds[q.Start] = true
		}
		end = max(end, q.Due)
	}
	if len(kinds) == 0 || end == 0 {
		return "", nil
	}
	values := map[string]plotter.Values{}
	for kind := range kinds {
		values[kind] = make(plotter.Values, periods)
	}
	for _, q := range r.Requests {
		if q.Start != "" {
			values[q.Start][min(periods-1, int(q.Due/end*periods))]++
		}
	}
	p := newPlot("seconds, when due", fmt.Sprintf("requests in %.3g s", end/1000/periods))
	p.X.Tick.Marker = steps(end / 1000 / periods)
	if err := bars(p, ordered(kinds, startOrder), values, width*0.85/periods); err != nil {
		return "", err
	}
	p.Y.Max *= 1.1 + 0.06*float64(len(kinds)) // for the legend
	return svg(p)
}

// steps are the marks of an axis on which 1 is that much.
func steps(one float64) plot.TickerFunc {
	return func(least, most float64) []plot.Tick {
		ticks := plot.DefaultTicks{}.Ticks(least*one, most*one)
		for i, t := range ticks {
			if ticks[i].Value /= one; t.Label != "" {
				ticks[i].Label = strconv.FormatFloat(t.Value, 'g', 6, 64)
			}
		}
		return ticks
	}
}

// phaseOrder is the order in which phases happen; others come after them.
var phaseOrder = []string{"queue", "preload", "sandbox", "fork", "enter", "import"}

// phases are where the time of starts went, on average, by language and start: warm ones have none.
func phases(r *results.Run) (string, error) {
	sums, counts, names := map[string]map[string]float64{}, map[string]float64{}, map[string]bool{}
	for _, q := range r.Requests {
		if q.Error != "" || q.Start == "warm" || q.Start == "" || len(q.Phases) == 0 {
			continue
		}
		place := q.Language + " " + q.Start
		if counts[place]++; sums[place] == nil {
			sums[place] = map[string]float64{}
		}
		for name, ms := range q.Phases {
			if name != "total" && name != "handler" { // the handler does what the event asks for
				sums[place][name] += ms
				names[name] = true
			}
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	places := slices.Sorted(maps.Keys(counts))
	values := map[string]plotter.Values{}
	for name := range names {
		for _, place := range places {
			values[name] = append(values[name], sums[place][name]/counts[place])
		}
	}
	p := newPlot("", "milliseconds, on average")
	if err := bars(p, ordered(names, phaseOrder), values, width*0.6/vg.Length(len(places))); err != nil {
		return "", err
	}
	p.NominalX(places...)
	p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = math.Pi/7, draw.XRight, draw.YTop
	p.Y.Max *= 1.1 + 0.1*float64(len(names))
	return svg(p)
}

// memory is what the targets took, over time.
func memory(names []string, runs []*results.Run) (string, error) {
	p := newPlot("seconds", "MiB")
	has := false
	for i, r := range runs {
		var points plotter.XYs
		for _, m := range r.Memory {
			points = append(points, plotter.XY{X: m.At / 1000, Y: float64(m.Bytes) / (1 << 20)})
		}
		if len(points) == 0 {
			continue
		}
		has = true
		if err := line(p, i, names[i], points); err != nil {
			return "", err
		}
	}
	if !has {
		return "", nil
	}
	p.Y.Min = 0
	p.Y.Max = max(1, p.Y.Max*1.2)
	p.Add(plotter.NewGrid())
	return svg(p)
}

// costs are memory times time for a request of each function, the dearest first.
func costs(names []string, all []compare.Cost) (string, error) {
	p := newPlot("functions", "MB·s for a request")
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	has := false
	for i, name := range names {
		var each []float64
		for _, c := range all {
			if c.Run == name && c.Function != compare.All && c.Function != compare.Common && c.Memory > 0 {
				each = append(each, float64(c.Memory)*1e3/float64(c.Requests))
			}
		}
		if len(each) == 0 {
			continue
		}
		has = true
		slices.Sort(each)
		slices.Reverse(each)
		points := make(plotter.XYs, len(each))
		for j, y := range each {
			points[j] = plotter.XY{X: float64(j + 1), Y: y}
		}
		if err := line(p, i, name, points); err != nil {
			return "", err
		}
	}
	if !has {
		return "", nil
	}
	p.X.Min, p.X.Max = 0, max(2, p.X.Max)
	p.Y.Min, p.Y.Max = p.Y.Min/2, p.Y.Max*10
	p.Add(plotter.NewGrid())
	return svg(p)
}
