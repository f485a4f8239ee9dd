// Package deadletter is the format of dead letters, the writer that puts them into their topic, and
// the scan that reads them back. A dead letter is the original record, key, value and headers
// untouched, with headers under [Prefix] that say why, where and when (docs/contract.md, section 6).
package deadletter

import (
	"time"

	"eventworker/internal/consume"
	"eventworker/internal/event"
)

// Header is one header of a record.
type Header = consume.Header

// Letter is a message that cannot be delivered, with what is known about it.
type Letter struct {
	// Topic, Partition, Offset and Timestamp (milliseconds, -1 if it has none) are those of the
	// record that was read. Where it was a replayed one, its headers name the record of the first
	// life, and the dead letter carries those.
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64

	// Key, Value and Headers are the record, byte for byte; nil and empty are different things.
	Key, Value []byte
	Headers    []Header

	Refusal event.Refusal
	// Type and Application of the message, as far as they are known; they are part of the cause.
	Type, Application string
	// HTTPStatus is the API's last answer, 0 without one.
	HTTPStatus int
	// Attempts is the number of requests that carried the message, 0 if it was never sent.
	Attempts int
	// APIWords is what the API said, at most 1 KiB; it goes into the message and, with its values
	// replaced, into the cause.
	APIWords string
	// FirstFailed and Failed are the times of the first and the last failure. A zero Failed means
	// now, a zero FirstFailed means Failed.
	FirstFailed, Failed time.Time
	// Parts are the items or objects of the message that were not delivered. Empty: none was.
	Parts []Part
	// Resolved is what the join found for the message's objects. Empty: it was not asked, or not
	// finished.
	Resolved []Resolved
	// Traceparent is the W3C trace context of the refusal, empty without tracing.
	Traceparent string
}

// Part is an item or object that was not delivered.
type Part struct {
	Index  int
	Reason event.Reason
}

// Resolved is what the join found for one item or object.
type Resolved struct {
	Index int
	// QueryID is empty where the join found none, which a replay keeps to.
	QueryID string
	// IndexName is the name of the Algolia index.
	IndexName string
	// Position is 1 or more, or 0 where there is none.
	Position int32
}

// Message is an encoded dead letter. It shares no memory with its [Letter].
type Message struct {
	// Topic, Partition and Offset are the coordinates in the headers: those of the first life.
	Topic     string
	Partition int32
	Offset    int64

	Key, Value []byte
	Headers    []Header
}

// recordOverhead covers the lengths and deltas of a record on the wire besides its bytes; with it a
// size is never below the true one.
const recordOverhead = 32

// Size is an upper bound of the message's bytes in a record batch.
func (m *Message) Size() int {
	n := recordOverhead + len(m.Key) + len(m.Value)
	for i := range m.Headers {
		n += headerOverhead + len(m.Headers[i].Key) + len(m.Headers[i].Value)
	}
	return n
}

// headerOverhead covers the two lengths of a header.
const headerOverhead = 10
