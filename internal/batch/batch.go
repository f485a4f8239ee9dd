// Package batch gathers encoded Insights events into request bodies, by count, by exact bytes and
// by linger. It is pure logic: no network and no Kafka. What an event belongs to is R, opaque here.
package batch

// Entry is one encoded event in a buffer.
type Entry[R any] struct {
	// Start and End delimit the event's JSON object in the buffer.
	Start, End uint32
	// Time is the timestamp of the event in milliseconds: the age limit counts from it.
	Time int64
	// Ref says which message the event belongs to.
	Ref R
}

// Run is a run of encoded events: what one chunk of messages gave for one application. The events'
// bytes stand in Buf in any layout that Entries describe; between them nothing is expected.
type Run[R any] struct {
	Buf     []byte
	Entries []Entry[R]
}

// Reset empties the run and keeps its capacity.
func (r *Run[R]) Reset() { r.Buf, r.Entries = r.Buf[:0], r.Entries[:0] }
