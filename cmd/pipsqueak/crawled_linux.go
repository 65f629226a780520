package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// crawled shows a waiting person the progress of a scan of many archives: on a terminal in one line that
// changes, elsewhere in a line now and then.
type crawled struct {
	out      io.Writer
	terminal bool
	now      func() time.Time
	began    time.Time
	total    int

	done, earlier, findings, failed int
	drawn                           time.Time
}

// How often it is told: a person reads along on a terminal, and later in a log.
const (
	drawEvery = 100 * time.Millisecond
	lineEvery = 10 * time.Second
)

// step counts an archive that is done.
func (c *crawled) step(earlier bool, findings int, failed bool) {
	c.done++
	c.findings += findings
	if earlier {
		c.earlier++
	}
	if failed {
		c.failed++
	}
	every := lineEvery
	if c.terminal {
		every = drawEvery
	}
	if now := c.now(); c.done == c.total || now.Sub(c.drawn) >= every {
		c.drawn = now
		c.draw()
	}
}

func (c *crawled) draw() {
	took := c.now().Sub(c.began)
	words := fmt.Sprintf("%d/%d", c.done, c.total)
	if fresh := c.done - c.earlier; fresh > 0 && took > 0 {
		rate := float64(fresh) / took.Minutes()
		left := time.Duration(float64(c.total-c.done) / rate * float64(time.Minute))
		words += fmt.Sprintf(", %.0f a minute, %s left", rate, humanAge(left))
	}
	words += ", " + core.Count(c.findings, "finding", "findings")
	if c.failed > 0 {
		words += fmt.Sprintf(", %d failed", c.failed)
	}
	if !c.terminal {
		fmt.Fprintln(c.out, "scan "+words)
		return
	}
	const width = 20
	filled := width * c.done / c.total
	fmt.Fprint(c.out, "\r\x1b[K"+oneLine("scan ["+strings.Repeat("#", filled)+strings.Repeat(".", width-filled)+"] "+words))
}

// clear takes the line away again.
func (c *crawled) clear() {
	if c.terminal {
		fmt.Fprint(c.out, "\r\x1b[K")
	}
}
