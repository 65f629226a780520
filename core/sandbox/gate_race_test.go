package sandbox

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Of several that come for one sandbox at the same moment the gate takes one, and a sandbox that is killed
// meanwhile takes none.
func TestGateRaced(t *testing.T) {
	h := newRig(t)
	zygote := h.launch(t, h.config(core.RoleZygote))
	for round := range 40 {
		s := h.createBelow(t, zygote, h.config(core.RoleInstance))
		conns := make([]*net.UnixConn, 8)
		for i := range conns {
			var err error
			if conns[i], err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: h.gatePath(), Net: "unixpacket"}); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		var invited atomic.Int32
		for _, conn := range conns {
			all.Go(func() {
				_, _ = conn.Write([]byte(s.config.ID))
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				packet, oob := make([]byte, 256), make([]byte, 256)
				if n, oobn, _, _, err := conn.ReadMsgUnix(packet, oob); err == nil && n > 0 {
					invited.Add(1)
					if a, err := parseAncillary(oob[:oobn]); err == nil {
						a.close()
					}
				}
				conn.Close()
			})
		}
		if round%2 == 1 {
			all.Go(s.Kill)
		}
		all.Wait()
		s.Kill()
		gone(t, s)
		if n := invited.Load(); n > 1 || n == 0 && round%2 == 0 {
			t.Errorf("%d of 8 were invited to one sandbox", n)
		}
	}
	if zygote.ask(t, "cat /proc/self/comm") == "" {
		t.Error("the zygote does not live any more")
	}
}
