package egress

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

// The kernel keeps the connections of the router and, with them, those of the machine itself in tables of one
// size. Instances that have all of theirs would fill both, and the machine could connect to nothing any more.
// When they have half, each may open a few more, so that those that have few go on.
const (
	crowdedFlows = 64
	crowdedEach  = 250 * time.Millisecond // is looked
)

// relieve keeps the instances from filling the kernel's tables.
func (r *Router) relieve(ctx context.Context) error {
	most, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
	if err != nil {
		return err
	}
	r.room.Store(number(most) / 2)
	var count *os.File
	if err := r.do(func() (err error) { // it shows the network that it was opened in
		count, err = os.Open("/proc/sys/net/netfilter/nf_conntrack_count")
		return err
	}); err != nil {
		return err
	}
	r.running.Go(func() {
		defer count.Close()
		tick := time.NewTicker(crowdedEach)
		defer tick.Stop()
		for crowded := false; ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			text := make([]byte, 20)
			n, _ := count.ReadAt(text, 0) // it ends before
			has, room := number(text[:n]), r.room.Load()
			if !crowded && has <= room || crowded && has > room*3/4 {
				continue
			}
			if err := r.crowd(ctx, !crowded); err == nil {
				crowded = !crowded
				r.config.Log.Warn("egress", "connections", has, "crowded", crowded)
			} else if ctx.Err() == nil {
				r.config.Log.Warn("egress", "connections", has, "err", err)
			}
		}
	})
	return nil
}

// crowd begins or ends that instances open few connections only.
func (r *Router) crowd(ctx context.Context, begin bool) error {
	r.rules.Lock()
	defer r.rules.Unlock()
	text := "flush chain inet egress crowded\n"
	if begin {
		text += fmt.Sprintf("add rule inet egress crowded add @few { iif ct count over %d } goto crowd\n", crowdedFlows)
	}
	return r.change(ctx, text)
}

// number reads the number in a file of /proc, 0 if there is none.
func number(text []byte) int64 {
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	return n
}
