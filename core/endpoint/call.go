package endpoint

import (
	"encoding/binary"
	"encoding/json"
	"net"

	"github.com/pipsqueak-faas/pipsqueak/core"
)

// Call is the invocation of another function by a handler.
type Call struct {
	Number   uint64 // chosen by the instance; the answer has it too
	Function string
	Event    []byte // part of the frame's body
}

// IsCall reports whether a frame that Receive returned is a call.
func IsCall(kind byte) bool { return kind == kindInvoke }

// ReadCall reads the body of a call. IsBroken holds for its errors.
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

// SendAnswer answers a call, with an error or a result. An exception is shortened as for a log. Another
// goroutine may read from the connection meanwhile. If only a part of the frame could be sent, the connection
// is useless.
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
