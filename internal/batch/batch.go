// Package batch gathers encoded Insights events into request bodies, by count, by exact bytes and
// by linger. It is pure logic: no network and no Kafka. What an event belongs to is R, opaque here.
//
// Events arrive in Runs, are copied once into the buffer of a Batch, and stay there, byte for byte,
// until each of them has its outcome. Every contiguous part of a batch is a request body of its own
// without copying: the API's envelope stands outside the buffer.
package batch

import "sync/atomic"

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

// Trigger says what sealed a batch.
type Trigger string

// The triggers, as metrics write them.
const (
	ByCount  Trigger = "count"  // it held Limits.MaxEvents events
	ByBytes  Trigger = "bytes"  // the next event would not have fitted into Limits.MaxBytes
	ByLinger Trigger = "linger" // Limits.Linger had passed since its first event
	ByDrain  Trigger = "drain"  // Flush or Close
)

// The API's envelope around the events (insights-api.md, section 1).
const (
	prefix = `{"events":[`
	suffix = `]}`
	// Envelope is how many bytes a request body has beside its events and the commas between them.
	Envelope = len(prefix) + len(suffix)
)

// Batch is a sealed batch: at least one event, in time order. It is read only; any number of
// goroutines may use disjoint or equal parts of it at a time.
type Batch[R any] struct {
	// Entries are the events, in time order. They may be read until Done was called for all of them.
	Entries []Entry[R]
	// Trigger says what sealed the batch.
	Trigger Trigger

	buf  []byte // the events, joined by commas
	refs atomic.Int64
	pool *pool[R]
}

// Bytes is the size in bytes of the request body that holds events i to j, j excluded.
func (b *Batch[R]) Bytes(i, j int) int {
	return Envelope + int(b.Entries[j-1].End-b.Entries[i].Start)
}

// Event is the JSON object of event i. It may be read until Done was called for it.
func (b *Batch[R]) Event(i int) []byte { return b.buf[b.Entries[i].Start:b.Entries[i].End] }

// Part is the request body of events i to j, j excluded; i < j.
func (b *Batch[R]) Part(i, j int) Part {
	return Part{
		events: b.buf[b.Entries[i].Start:b.Entries[j-1].End],
		n:      j - i,
		hold:   b.hold,
	}
}

// Select copies those of events i to j that keep wants into a new batch, with their bytes as they
// are and their order, or returns nil if keep wants none. The batch itself stays as it is: who goes
// on with the copy calls Done for the events that were copied.
func (b *Batch[R]) Select(i, j int, keep func(*Entry[R]) bool) *Batch[R] {
	var s *Batch[R]
	for k := i; k < j; k++ {
		e := &b.Entries[k]
		if !keep(e) {
			continue
		}
		if s == nil {
			s = b.pool.get()
		}
		s.add(b.buf[e.Start:e.End], e)
	}
	if s != nil {
		s.seal(b.Trigger)
	}
	return s
}

// Done says that n more events have their outcome and that the caller will not touch them again.
// When all have, and no request reads the body any more, the memory is used for another batch.
func (b *Batch[R]) Done(n int) { b.hold(-n) }

func (b *Batch[R]) hold(n int) {
	if b.refs.Add(int64(n)) == 0 {
		b.pool.put(b)
	}
}

// add appends one event; the batch is not yet sealed.
func (b *Batch[R]) add(data []byte, e *Entry[R]) {
	if len(b.Entries) > 0 {
		b.buf = append(b.buf, ',')
	}
	start := len(b.buf)
	b.buf = append(b.buf, data...)
	b.Entries = append(b.Entries, Entry[R]{Start: uint32(start), End: uint32(len(b.buf)), Time: e.Time, Ref: e.Ref})
}

func (b *Batch[R]) seal(t Trigger) {
	b.Trigger = t
	b.refs.Store(int64(len(b.Entries)))
}
