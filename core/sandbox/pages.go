package sandbox

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Flags of a page in /proc/PID/pagemap.
const (
	pagePresent   = 1 << 63
	pageOfFile    = 1 << 61 // or of shared memory
	pageExclusive = 1 << 56 // mapped by this process alone
)

const (
	maxWritten = 4096           // pages that are told, 16 MiB
	maxMapping = 256 << 20      // bytes of one that is looked at: larger ones are reserved, and not used
	maxLooked  = 1 << 30        // bytes of all
	maxRun     = 1<<12 - 1      // pages of one range
	pagesAt    = ordersSize - 8 // where a packet of orders has how many bytes of ranges follow
	ordersSize = int(unsafe.Sizeof(orders{}))
)

// Written returns the pages of its zygote's memory that an instance has copied, because it has written to
// them. It takes about a millisecond. It returns nil where the kernel does not tell.
func (s *Sandbox) Written() core.Pages {
	s.host.mu.Lock()
	zygote := s.host.alive[s.config.Parent]
	s.host.mu.Unlock()
	if zygote == nil || s.pid == 0 {
		return nil
	}
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", zygote.pid))
	if err != nil {
		return nil
	}
	defer maps.Close()
	flags, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", s.pid))
	if err != nil {
		return nil
	}
	defer flags.Close()
	var written core.Pages
	count, left, size := 0, uint64(maxLooked), uint64(os.Getpagesize())
	for lines := bufio.NewScanner(maps); lines.Scan() && count < maxWritten; {
		var begin, end uint64
		var mode string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %4s", &begin, &end, &mode); n < 3 || mode[:2] != "rw" || mode[3] != 'p' {
			continue
		}
		if end-begin > min(maxMapping, left) {
			continue
		}
		left -= end - begin
		entries := make([]byte, (end-begin)/size*8)
		n, _ := flags.ReadAt(entries, int64(begin/size*8))
		for at := 0; at+8 <= n && count < maxWritten; at += 8 {
			entry := binary.NativeEndian.Uint64(entries[at:])
			if entry&(pagePresent|pageExclusive|pageOfFile) != pagePresent|pageExclusive {
				continue
			}
			written = grown(written, begin+uint64(at)/8*size, size)
			count++
		}
	}
	return written
}

// grown returns the pages with one more behind them.
func grown(pages core.Pages, page, size uint64) core.Pages {
	if last := len(pages) - 1; last >= 0 {
		if n := pages[last] & maxRun; n < maxRun && pages[last]&^maxRun+n*size == page {
			pages[last]++
			return pages
		}
	}
	return append(pages, page|1)
}

// withPages returns orders that have as many of the pages in them as there is room for.
func withPages(packet []byte, pages core.Pages) []byte {
	pages = pages[:min(len(pages), (maxOrders-len(packet))/8)]
	for _, run := range pages {
		packet = binary.NativeEndian.AppendUint64(packet, run)
	}
	binary.NativeEndian.PutUint32(packet[pagesAt:], uint32(8*len(pages)))
	return packet
}
