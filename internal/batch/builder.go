package batch

import (
	"math"
	"slices"
	"sync"
	"time"
)

// The limits of the API (docs/contract.md, section 3), used where Limits says nothing.
const (
	DefaultMaxEvents = 1000
	DefaultMaxBytes  = 1_900_000
)

// Limits says when a batch is sealed.
type Limits struct {
	// MaxEvents is the largest number of events in a batch, 1 to 1,000 for the API; 0: 1,000. More
	// than 16 million are cut to that.
	MaxEvents int
	// MaxBytes is the largest request body, envelope and commas counted; 0: 1,900,000. An event that
	// does not fit by itself makes a batch of its own beyond this limit. More than 1 GiB is cut to that.
	MaxBytes int
	// Linger is how long a batch may wait for more events, counted from its first. 0 or less: no
	// batch waits, each Add seals what it leaves.
	Linger time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.MaxEvents <= 0 {
		l.MaxEvents = DefaultMaxEvents
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = DefaultMaxBytes
	}
	l.MaxEvents = min(l.MaxEvents, 1<<indexBits)
	l.MaxBytes = min(l.MaxBytes, 1<<30)
	return l
}

// Builder gathers runs of events into batches. Its methods may be called from any goroutine.
//
// Memory: the open batch (at most MaxBytes and MaxEvents entries), the start of the next, a copy of it while it is brought
// into order, and up to 16 MiB kept for batches to come. Sealed batches belong to who got them.
type Builder[R any] struct {
	limits Limits
	emit   func(*Batch[R])
	same   func(a, b R) bool // nil: no two events belong together
	pool   pool[R]

	mu        sync.Mutex
	cur       *Batch[R] // nil: none is open
	unordered bool      // an entry of cur is older than one before it
	newest    int64     // the latest time in cur
	keys      []uint64
	// lastBytes and lastEvents are the size of the last batch: the next will be about as large, and
	// does not have to grow its memory in steps.
	lastBytes, lastEvents int
	timer                 *time.Timer // made at the first open batch
	due                   time.Time   // when cur has lingered long enough
	closed                bool
}

// NewBuilder returns a Builder that hands each sealed batch to emit, one after the other, in the
// order of sealing. emit is called under the builder's lock: it must not wait and not call the
// builder. Whoever gets a batch calls its Done.
func NewBuilder[R any](limits Limits, emit func(*Batch[R])) *Builder[R] {
	return &Builder[R]{limits: limits.withDefaults(), emit: emit}
}

// Together makes batches that hold all events of a message, where one batch can: whatever becomes of the
// batch then becomes of the whole message, and what was given up and is delivered again repeats nothing.
// same says whether two neighbours in a run are of one message. It is called before the first Add.
func (b *Builder[R]) Together(same func(a, b R) bool) { b.same = same }

// Add copies the run's events into batches and reports whether it did: a closed builder takes
// nothing. The run is the caller's again when Add returns.
func (b *Builder[R]) Add(run *Run[R]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	for i := range run.Entries {
		e := &run.Entries[i]
		b.add(run.Buf[e.Start:e.End], e)
		if t := b.full(); t != "" {
			var next *Entry[R]
			if i+1 < len(run.Entries) {
				next = &run.Entries[i+1]
			}
			b.sealBefore(next, t)
		}
	}
	if b.limits.Linger <= 0 {
		b.seal(ByLinger)
	}
	return true
}

// Flush seals the open batch, if there is one.
func (b *Builder[R]) Flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seal(ByDrain)
}

// Close seals the open batch and ends the builder: after it returned nothing is emitted any more.
// It may be called again.
func (b *Builder[R]) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seal(ByDrain)
	b.closed = true
}

func (b *Builder[R]) add(data []byte, e *Entry[R]) {
	for b.cur != nil && Envelope+len(b.cur.buf)+1+len(data) > b.limits.MaxBytes {
		b.sealBefore(e, ByBytes)
	}
	if b.cur == nil {
		b.open(b.pool.get())
	}
	b.order(e.Time)
	b.cur.add(data, e)
}

// order notes the time of the open batch's next event.
func (b *Builder[R]) order(at int64) {
	if at < b.newest {
		b.unordered = true
	} else {
		b.newest = at
	}
}

// full says what seals the open batch; empty if it has room.
func (b *Builder[R]) full() Trigger {
	switch {
	case len(b.cur.Entries) >= b.limits.MaxEvents:
		return ByCount
	case Envelope+len(b.cur.buf) >= b.limits.MaxBytes:
		return ByBytes
	}
	return ""
}

// sealBefore seals the open batch because of its size, next being the event that comes after it, if one is
// known. What is of one message with that goes into the next batch, too, unless it is all that there is.
func (b *Builder[R]) sealBefore(next *Entry[R], t Trigger) {
	full := b.cur
	n := len(full.Entries)
	if next != nil && b.same != nil {
		for n > 0 && b.same(full.Entries[n-1].Ref, next.Ref) {
			n--
		}
	}
	if n == 0 || n == len(full.Entries) {
		b.seal(t)
		return
	}
	carried := b.pool.get()
	for i := n; i < len(full.Entries); i++ {
		e := &full.Entries[i]
		carried.add(full.buf[e.Start:e.End], e)
	}
	clear(full.Entries[n:])
	full.Entries = full.Entries[:n]
	full.buf = full.buf[:full.Entries[n-1].End]
	b.seal(t)
	b.open(carried)
}

// open makes batch the open one, and starts its linger.
func (b *Builder[R]) open(batch *Batch[R]) {
	b.cur, b.unordered, b.newest = batch, false, math.MinInt64
	b.cur.buf = slices.Grow(b.cur.buf, b.lastBytes)
	b.cur.Entries = slices.Grow(b.cur.Entries, b.lastEvents)
	for i := range batch.Entries {
		b.order(batch.Entries[i].Time)
	}
	if b.limits.Linger <= 0 {
		return
	}
	b.due = time.Now().Add(b.limits.Linger)
	if b.timer == nil {
		b.timer = time.AfterFunc(b.limits.Linger, b.lingered)
	} else {
		b.timer.Reset(b.limits.Linger)
	}
}

// lingered seals the open batch if it is due. A timer that fired for a batch which was sealed
// meanwhile finds a younger one, whose own time is still to come.
func (b *Builder[R]) lingered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cur != nil && !time.Now().Before(b.due) {
		b.seal(ByLinger)
	}
}

func (b *Builder[R]) seal(t Trigger) {
	if b.cur == nil {
		return
	}
	if b.timer != nil {
		b.timer.Stop()
	}
	sealed := b.cur
	b.cur = nil
	b.lastBytes, b.lastEvents = len(sealed.buf), len(sealed.Entries)
	if b.unordered {
		scratch := b.pool.get()
		b.keys = sealed.arrange(scratch, b.keys)
		b.pool.put(scratch)
	}
	sealed.seal(t)
	b.emit(sealed)
}
