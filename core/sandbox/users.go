package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// readyPlaces is how many places are made ahead for the forks of each zygote. Making one takes a millisecond,
// a quarter of a start, and waits for the kernel's network lock; joining one takes some microseconds.
const readyPlaces = 4

// placePause is how long a zygote's places are left when one could not be made ahead. Whoever needs one
// meanwhile sees why.
const placePause = time.Second

// users are the user namespaces of zygotes. Each zygote has one of its own, below that of the zygote which it
// was forked from: what the kernel keeps for a user namespace is nobody else's but its forks'.
type users struct {
	mu    sync.Mutex
	known map[core.NodeID]*user
}

// user is one of them, with places made ahead for the instances that are forked there.
type user struct {
	file   *os.File
	keeper *keeper
	number int // of its zygote in the pid namespace of that
	root   int // the id on the host that is root in it
	ids    *ids
	ready  chan place
	left   left
	free   func() // gives back what the zygote above has given
}

// keeper makes places in the user namespaces of a root zygote and of all below it, one at a time.
type keeper struct {
	mu   sync.Mutex
	conn *net.UnixConn
}

// follow knows the user namespace of a zygote from now on, and has places made in it, until ended is closed.
func (u *users) follow(zygote core.NodeID, added *user, ended <-chan struct{}) {
	added.ready = make(chan place, readyPlaces)
	u.mu.Lock()
	u.known[zygote] = added
	u.mu.Unlock()
	go func() {
		added.makeAhead(ended)
		u.mu.Lock()
		delete(u.known, zygote)
		u.mu.Unlock()
		added.close()
	}()
}

// of returns the user namespace of a zygote.
func (u *users) of(zygote core.NodeID) (*user, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	found := u.known[zygote]
	if found == nil {
		return nil, fmt.Errorf("there is no zygote %s to be forked from", zygote)
	}
	return found, nil
}

func userNamespace(pid int) string { return fmt.Sprintf("/proc/%d/ns/user", pid) }

func inodeOf(info os.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// makeAhead makes places until ended is closed.
func (u *user) makeAhead(ended <-chan struct{}) {
	for {
		p, err := u.make(u.ids.one())
		if err != nil {
			select {
			case <-ended:
				return
			case <-time.After(placePause):
			}
			continue
		}
		select {
		case u.ready <- p:
		case <-ended:
			p.close()
			return
		}
	}
}

// close closes what is there. Somebody who has found it before may still take a place: one of them, and each
// once.
func (u *user) close() {
	u.left.close()
	for {
		select {
		case p := <-u.ready:
			p.close()
		default:
			u.file.Close()
			u.free()
			return
		}
	}
}

// place returns a place for an instance that nobody has used, made now when none is ready. The caller closes
// it, or leaves it.
func (u *user) place() (place, error) {
	select {
	case p := <-u.ready:
		return p, nil
	default:
		return u.make(u.ids.one())
	}
}

// below returns the user namespace of a zygote that is to be forked from this one, and the place that it is
// in.
func (u *user) below() (*user, place, error) {
	given := u.ids.some()
	free := func() { u.ids.giveBack(given) }
	p, err := u.make(given)
	if err != nil {
		free()
		return nil, p, err
	}
	copied, err := unix.FcntlInt(uintptr(p.user), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		p.close()
		free()
		return nil, p, err
	}
	return &user{file: os.NewFile(uintptr(copied), "user"), keeper: u.keeper, number: u.number + 1, root: u.root, ids: newIDs(given.count), free: free}, p, nil
}

// make asks for a place with some ids. A keeper that does not answer is taken for broken, and ends with all
// that it keeps.
func (u *user) make(given idSpan) (place, error) {
	none := noPlace
	raw, err := u.file.SyscallConn()
	if err != nil {
		return none, err
	}
	k := u.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	var fail error
	request := note{Kind: kindUser, Err: ownID}
	copy(request.Step[:], fmt.Sprintf("0 0 1\n%d %d %d\n", ownID, given.first, given.count))
	if err := raw.Control(func(fd uintptr) {
		_, _, fail = k.conn.WriteMsgUnix(request.bytes(), unix.UnixRights(int(fd)), nil)
	}); err != nil || fail != nil {
		return none, errors.Join(err, fail)
	}
	packet, oob := make([]byte, 256), make([]byte, 256)
	_ = k.conn.SetReadDeadline(time.Now().Add(gateDeadline)) // it fails when the read does
	n, oobn, flags, _, err := k.conn.ReadMsgUnix(packet, oob)
	if err != nil {
		return none, errors.Join(err, k.conn.Close())
	}
	a, err := parseAncillary(oob[:oobn])
	if err != nil {
		return none, err
	}
	if len(a.descriptors) == 2 {
		closeFD(a.pidfd)
		return place{user: a.descriptors[0], network: a.descriptors[1], traces: noTraces}, nil
	}
	a.close()
	if flags&unix.MSG_CTRUNC != 0 {
		return none, fmt.Errorf("what the keeper has made: %w", unix.EMFILE)
	}
	answer, err := parseNote(packet[:n])
	return none, errors.Join(err, fmt.Errorf("%s: %w", answer.step(), unix.Errno(answer.Err)))
}
