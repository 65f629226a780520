package endpoint

import (
	"encoding/binary"
	"encoding/json"
	"net"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Call is what a handler asks of another function.
type Call struct {
	Number   uint64 // the instance's own, for the answer
	Function string
	Event    []byte // a part of the frame's body
}

// IsCall reports whether a frame that Receive returned is a call.
func IsCall(kind byte) bool { return kind == kindInvoke }

// ReadCall reads the body of a call. Its errors are IsBroken.
func ReadCall(body []byte) (Call, error) {
	var meta struct {
		Call     uint64 `json:"call"`
		Function string `json:"function"`
	}
	if len(body) >= lengthSize {
		if end := uint64(binary.BigEndian.Uint32(body)) + lengthSize; end <= uint64(len(body)) &&
			json.Unmarshal(body[lengthSize:end], &meta) == nil && meta.Call > 0 {
			return Call{Number: meta.Call, Function: meta.Function, Event: body[end:]}, nil
		}
	}
	return Call{}, broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance invoked a function in a way that cannot be read: %.100q", body)}
}

// SendAnswer answers a call, with an error or a result. What a function raised is cut as for a log. It may be used while the connection is read from; a frame of which only
// a part was sent makes the connection useless.
func SendAnswer(conn *Conn, number uint64, result []byte, failed error) error {
	told := core.AsError(failed)
	if told != nil && told.Exception != nil {
		short := *told
		short.Exception = told.Exception.Short()
		told = &short
	}
	meta, err := json.Marshal(struct {
		Call  uint64      `json:"call"`
		Error *core.Error `json:"error,omitempty"`
	}{number, told})
	if err != nil {
		return err
	}
	if failed != nil {
		result = nil
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(1+lengthSize+len(meta)+len(result)))
	head = binary.BigEndian.AppendUint32(append(head, kindAnswer), uint32(len(meta)))
	frame := net.Buffers{append(head, meta...), result}
	_, err = frame.WriteTo(conn.Conn)
	return err
}
