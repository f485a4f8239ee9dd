package consume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

var errBrokerUnknown = errors.New("unknown broker")

// fetchRequest asks one leader for several partitions. It writes and reads the wire format by itself
// (Fetch v4 to v11, https://kafka.apache.org/protocol.html#The_Messages_Fetch), over a connection of
// the library's Transport: the library's own decoder copies each record several times.
//
// It belongs to the connection's goroutine from RoundTrip until that returned without a context error;
// after a context error it must be left alone.
type fetchRequest struct {
	broker   int32
	clientID string
	version  int16

	maxWait  int32 // milliseconds
	minBytes int32
	maxBytes int32
	parts    []fetchPart // those of one topic stand together
	// maxSet bounds a record set in bytes; a larger one is an error.
	maxSet int
}

type fetchPart struct {
	p        *Partition
	offset   int64
	maxBytes int32
}

// fetchResponse is what the leader answered; partitions that it left out are missing.
type fetchResponse struct {
	errorCode int16
	parts     []partResponse
}

type partResponse struct {
	p                         *Partition
	offset                    int64 // that was asked for
	errorCode                 int16
	highWatermark, lastStable int64
	logStart                  int64 // -1: not told
	aborted                   []abortedTxn
	set                       *buffer // the record set, nil when empty
}

// abortedTxn says that the records of a producer from an offset on, up to its next control record,
// were aborted.
type abortedTxn struct{ producer, first int64 }

// ApiKey implements protocol.Message.
func (*fetchRequest) ApiKey() protocol.ApiKey { return protocol.Fetch }

// ApiKey implements protocol.Message.
func (*fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Broker implements protocol.BrokerMessage.
func (f *fetchRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return brokerOf(cluster, f.broker)
}

// Required implements protocol.RawExchanger.
func (f *fetchRequest) Required(versions map[protocol.ApiKey]int16) bool {
	f.version = versions[protocol.Fetch]
	return true
}

// RawExchange implements protocol.RawExchanger.
func (f *fetchRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if f.version < 4 || f.version > 11 {
		return nil, fmt.Errorf("the broker offers Fetch v%d, v4 to v11 are spoken here (Kafka 0.11 or newer): %w", f.version, kafka.UnsupportedVersion)
	}
	if _, err := rw.Write(f.encode(nil)); err != nil {
		return nil, err
	}
	res := &fetchResponse{parts: make([]partResponse, 0, len(f.parts))}
	if err := f.read(rw, res); err != nil {
		res.free()
		return nil, err
	}
	return res, nil
}

func (r *fetchResponse) free() {
	for i := range r.parts {
		putBuffer(r.parts[i].set)
		r.parts[i].set = nil
	}
}

const (
	readCommitted = 1
	// maxFraming bounds what a response holds besides record sets.
	maxFraming = 8 << 20
)

func (f *fetchRequest) encode(b []byte) []byte {
	be := binary.BigEndian
	b = append(b, 0, 0, 0, 0) // size, set below
	b = be.AppendUint16(b, uint16(protocol.Fetch))
	b = be.AppendUint16(b, uint16(f.version))
	b = be.AppendUint32(b, correlation)
	b = appendString(b, f.clientID)
	b = be.AppendUint32(b, ^uint32(0)) // replica id: -1, a consumer
	b = be.AppendUint32(b, uint32(f.maxWait))
	b = be.AppendUint32(b, uint32(f.minBytes))
	b = be.AppendUint32(b, uint32(f.maxBytes))
	b = append(b, readCommitted)
	if f.version >= 7 {
		b = be.AppendUint32(b, 0)          // no session
		b = be.AppendUint32(b, ^uint32(0)) // and none wanted
	}
	b = f.encodeTopics(b)
	if f.version >= 7 {
		b = be.AppendUint32(b, 0) // forgotten topics
	}
	if f.version >= 11 {
		b = appendString(b, "") // rack
	}
	be.PutUint32(b, uint32(len(b)-4))
	return b
}

func (f *fetchRequest) encodeTopics(b []byte) []byte {
	be := binary.BigEndian
	topicCount := len(b)
	b = be.AppendUint32(b, 0)
	for i := 0; i < len(f.parts); {
		topic := f.parts[i].p.Topic
		be.PutUint32(b[topicCount:], be.Uint32(b[topicCount:])+1)
		b = appendString(b, topic)
		partCount := len(b)
		b = be.AppendUint32(b, 0)
		n := uint32(0)
		for ; i < len(f.parts) && f.parts[i].p.Topic == topic; i++ {
			part := &f.parts[i]
			b = be.AppendUint32(b, uint32(part.p.ID))
			if f.version >= 9 {
				b = be.AppendUint32(b, ^uint32(0)) // leader epoch: not checked
			}
			b = be.AppendUint64(b, uint64(part.offset))
			if f.version >= 5 {
				b = be.AppendUint64(b, ^uint64(0)) // log start: a follower's
			}
			b = be.AppendUint32(b, uint32(part.maxBytes))
			n++
		}
		be.PutUint32(b[partCount:], n)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// wireReader reads big-endian values of a response of known size. After an error everything reads as 0.
type wireReader struct {
	r       io.Reader
	remain  int
	scratch [8]byte
	err     error
}

var errShortResponse = errors.New("the response ends in the middle of a field")

func (w *wireReader) full(b []byte) {
	if w.err == nil && len(b) > w.remain {
		w.err = errShortResponse
	}
	if w.err != nil {
		clear(b)
		return
	}
	w.remain -= len(b)
	if _, w.err = io.ReadFull(w.r, b); w.err != nil {
		clear(b)
	}
}

func (w *wireReader) int16() int16 {
	w.full(w.scratch[:2])
	return int16(binary.BigEndian.Uint16(w.scratch[:]))
}

func (w *wireReader) int32() int32 {
	w.full(w.scratch[:4])
	return int32(binary.BigEndian.Uint32(w.scratch[:]))
}

func (w *wireReader) int64() int64 {
	w.full(w.scratch[:8])
	return int64(binary.BigEndian.Uint64(w.scratch[:]))
}

// count reads the length of an array whose elements take at least size bytes.
func (w *wireReader) count(size int) int {
	n := int(w.int32())
	if w.err == nil && n > w.remain/size {
		w.err = errShortResponse
	}
	if w.err != nil || n < 0 {
		return 0
	}
	return n
}

func (w *wireReader) string() string {
	n := int(w.int16())
	if w.err == nil && n > w.remain {
		w.err = errShortResponse
	}
	if w.err != nil || n <= 0 {
		return ""
	}
	b := make([]byte, n)
	w.full(b)
	return string(b)
}

// read fills res. An error leaves the connection in the middle of the response: it must be closed,
// which the Transport does.
func (f *fetchRequest) read(r io.Reader, res *fetchResponse) error {
	w := &wireReader{r: r, remain: 4}
	size := int(w.int32())
	if w.err != nil {
		return w.err
	}
	if size < 4 {
		return errShortResponse
	}
	if size > f.maxSet+maxFraming {
		return fmt.Errorf("response of %d bytes, more than the bound of %d", size, f.maxSet+maxFraming)
	}
	w.remain = size
	if id := w.int32(); w.err == nil && id != correlation {
		return fmt.Errorf("the response answers request %d instead of %d", id, correlation)
	}
	w.int32() // throttle time: the broker holds the connection back by itself
	if f.version >= 7 {
		res.errorCode = w.int16()
		w.int32() // session
	}
	topics := w.count(6)
	for range topics {
		topic := w.string()
		parts := w.count(20)
		for range parts {
			if err := f.readPart(w, topic, res); err != nil {
				return err
			}
		}
	}
	if w.err == nil && w.remain > 0 {
		_, w.err = io.CopyN(io.Discard, w.r, int64(w.remain))
	}
	return w.err
}

func (f *fetchRequest) readPart(w *wireReader, topic string, res *fetchResponse) error {
	var part partResponse
	id := w.int32()
	part.errorCode = w.int16()
	part.highWatermark = w.int64()
	part.lastStable = w.int64()
	part.logStart = -1
	if f.version >= 5 {
		part.logStart = w.int64()
	}
	if n := w.count(16); n > 0 {
		part.aborted = make([]abortedTxn, 0, min(n, 64))
		for range n {
			part.aborted = append(part.aborted, abortedTxn{producer: w.int64(), first: w.int64()})
			if w.err != nil {
				return w.err
			}
		}
	}
	if f.version >= 11 {
		w.int32() // preferred read replica: we name no rack, so there is none
	}
	n := int(w.int32())
	if w.err != nil {
		return w.err
	}
	if n > w.remain {
		return errShortResponse
	}
	if n > f.maxSet {
		return fmt.Errorf("record set of %s/%d has %d bytes, more than the bound of %d", topic, id, n, f.maxSet)
	}
	asked := f.find(topic, id)
	if asked == nil {
		return fmt.Errorf("the response names %s/%d, which was not asked for", topic, id)
	}
	part.p, part.offset = asked.p, asked.offset
	if n > 0 {
		part.set = getBuffer(n)
		w.full(part.set.b)
	}
	res.parts = append(res.parts, part)
	return w.err
}

func (f *fetchRequest) find(topic string, id int32) *fetchPart {
	for i := range f.parts {
		if f.parts[i].p.ID == id && f.parts[i].p.Topic == topic {
			return &f.parts[i]
		}
	}
	return nil
}
