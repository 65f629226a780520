package endpoint

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/value"
)

// Call is the invocation of another function by a handler.
type Call struct {
	Number   uint64 // chosen by the instance; the answer has it too
	Function string
	Event    []byte // part of the frame's body
}

// IsCall reports whether a frame that Receive returned is a call.
func IsCall(kind byte) bool { return kind == kindInvoke }

// Part is a part of a response.
type Part struct {
	Number uint64 // chosen by the instance; the answer has it too
	Head   []byte // of the response, a JSON object; nil but in the first part
	Bytes  []byte // part of the frame's body
}

// IsPart reports whether a frame that Receive returned is a part of the response.
func IsPart(kind byte) bool { return kind == kindPart }

// isLast reports whether a frame is an answer, after which no other one comes.
func isLast(kind byte) bool { return kind != kindInvoke && kind != kindPart && kind != kindOutput }

// ReadPart reads the body of a part. IsBroken holds for its errors.
func ReadPart(body []byte) (Part, error) {
	var meta struct {
		Call uint64          `json:"call"`
		Head json.RawMessage `json:"head"`
	}
	if rest, err := readMeta(body, &meta); err == nil && meta.Call > 0 && len(rest) <= core.MaxPart && (meta.Head == nil || value.Check(meta.Head) == nil) {
		return Part{Number: meta.Call, Head: meta.Head, Bytes: rest}, nil
	}
	return Part{}, broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance sent a part of a response that cannot be read: %.100q", body)}
}

// ReadCall reads the body of a call. IsBroken holds for its errors.
func ReadCall(body []byte) (Call, error) {
	var meta struct {
		Call     uint64 `json:"call"`
		Function string `json:"function"`
	}
	if rest, err := readMeta(body, &meta); err == nil && meta.Call > 0 {
		return Call{Number: meta.Call, Function: meta.Function, Event: rest}, nil
	}
	return Call{}, broken{core.Errorf(core.KindInternal, core.FaultDriver, "the instance invoked a function in a way that cannot be read: %.100q", body)}
}

// readMeta reads the meta that a body begins with, and returns the rest.
func readMeta(body []byte, meta any) ([]byte, error) {
	if len(body) < lengthSize {
		return nil, io.ErrUnexpectedEOF
	}
	end := uint64(binary.BigEndian.Uint32(body)) + lengthSize
	if end > uint64(len(body)) {
		return nil, io.ErrUnexpectedEOF
	}
	return body[end:], json.Unmarshal(body[lengthSize:end], meta)
}

// SendAnswer answers a call or a part, with an error or a result. An exception is shortened as for a log.
// Another goroutine may read from the connection meanwhile. If only a part of the frame could be sent, the
// connection is useless.
func SendAnswer(conn *Conn, number uint64, result []byte, failed error) error {
	frame, err := answerFrame(number, result, failed)
	if err == nil {
		_, err = frame.WriteTo(conn.Conn)
	}
	return err
}

func answerFrame(number uint64, result []byte, failed error) (net.Buffers, error) {
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
	if failed != nil {
		result = nil
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(1+lengthSize+len(meta)+len(result)))
	head = binary.BigEndian.AppendUint32(append(head, kindAnswer), uint32(len(meta)))
	return net.Buffers{append(head, meta...), result}, err
}

// SendGone tells the instance that the caller of the event with that token has gone. Its errors are those of
// SendAnswer, and so is the rest.
func SendGone(conn *Conn, token string) error {
	_, err := conn.Write(goneFrame(token))
	return err
}

func goneFrame(token string) []byte {
	head := binary.BigEndian.AppendUint32(nil, uint32(1+len(token)))
	return append(append(head, kindGone), token...)
}
