package sandbox

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// ancillary is what came along with a packet.
type ancillary struct {
	pid         int // of the sender, as the kernel says; 0 when it does not
	uid         uint32
	pidfd       int   // of the sender, -1 where the kernel gives none
	descriptors []int // that the sender has sent
}

// parseAncillary never loses a descriptor: with an error it has closed them all.
func parseAncillary(oob []byte) (ancillary, error) {
	a := ancillary{pidfd: -1}
	messages, err := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		switch m := &messages[i]; m.Header.Type {
		case unix.SCM_CREDENTIALS:
			credentials, e := unix.ParseUnixCredentials(m)
			if err = errors.Join(err, e); e == nil {
				a.pid, a.uid = int(credentials.Pid), credentials.Uid
			}
		case unix.SCM_PIDFD:
			if len(m.Data) >= 4 {
				a.pidfd = int(int32(binary.NativeEndian.Uint32(m.Data)))
			}
		case unix.SCM_RIGHTS:
			descriptors, e := unix.ParseUnixRights(m)
			err = errors.Join(err, e)
			a.descriptors = append(a.descriptors, descriptors...)
		}
	}
	if err != nil {
		a.close()
	}
	return a, err
}

func (a ancillary) close() {
	closeFD(a.pidfd)
	for _, fd := range a.descriptors {
		unix.Close(fd)
	}
}
