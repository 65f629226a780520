package sandbox

import (
	"slices"
	"sync"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// firstID is the first id on the host that worker hands out. systemd documents 0x70000000 and up as free of
// any use (systemd.io/UIDS-GIDS): above the container range, below the ids that break programs which take ids
// for signed.
const firstID = 0x70000000

// idRange is how many ids a launched process and all that is forked below it have. The first is root in all
// their user namespaces, which files belong to and no process is. The second owns the topmost one, and is the
// launcher's keeper.
const idRange = 1 << 20

// idRanges is how many ranges fit until ids would become negative for those programs.
const idRanges = (0x7fffffff - firstID) / idRange

// ownID is the user, and the group, that each process which runs code of functions finds itself to be. On the
// host each has an id of its own.
const ownID = core.UserID

// A zygote that is forked gets an eighth of the largest span that is free. Fewer than leastIDs are not
// divided.
const (
	share    = 8
	leastIDs = 32
)

// ids are those of a user namespace of a zygote, by their numbers in there: its own is ownID, the first
// quarter after that is for its instances, in turn, and the rest for the zygotes that are forked from it.
type ids struct {
	mu    sync.Mutex
	next  int
	ones  idSpan
	all   idSpan
	taken []idSpan // by first
}

// rootID is the first id of a range.
func rootID(slot int) int { return firstID + slot*idRange }

// idSpan is count ids from first on.
type idSpan struct{ first, count int }

// newIDs divides count ids, of which the first is ownID. The instances of a zygote that has no other have
// that one too.
func newIDs(count int) *ids {
	ones := idSpan{ownID + min(count-1, 1), max(count/4, 1)}
	rest := ones.first + ones.count
	return &ids{ones: ones, all: idSpan{rest, ownID + count - rest}}
}

// one returns the id of an instance. Two of a zygote have the same one only after all others were used, or if
// they are of one version and one has the place of the other.
func (i *ids) one() idSpan {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.next = (i.next + 1) % i.ones.count
	return idSpan{i.ones.first + i.next, 1}
}

// some returns ids for a zygote to be and what is forked from it. Nobody else has them, unless so many
// zygotes are above or beside it that there are none left: then they are those of instances, for what the
// kernel counts by user is worth less than a zygote. The caller gives them back.
func (i *ids) some() idSpan {
	i.mu.Lock()
	defer i.mu.Unlock()
	var widest idSpan
	at, from := 0, i.all.first
	for n, t := range append(slices.Clone(i.taken), idSpan{i.all.first + i.all.count, 0}) {
		if t.first-from > widest.count {
			at, widest = n, idSpan{from, t.first - from}
		}
		from = t.first + t.count
	}
	if widest.count < leastIDs {
		return i.ones
	}
	given := idSpan{widest.first, max(widest.count/share, leastIDs)}
	i.taken = slices.Insert(i.taken, at, given)
	return given
}

func (i *ids) giveBack(given idSpan) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.taken = slices.DeleteFunc(i.taken, func(t idSpan) bool { return t == given })
}
