package worker

import (
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/insights"
	"eventworker/internal/join"
)

// message names one record: what travels with each Insights event until its outcome.
type message struct {
	batch *progress
	i     uint32
}

// part is a message, and which of its objects an event carries.
type part = join.Part[message]

// progress is how far the messages of one chunk have come. The task's goroutine fills it in before
// it hands events on; after that their outcomes come from the senders.
type progress struct {
	chunk *consume.Chunk
	first int64 // the offset of the chunk's first record
	run   *runner
	// left counts the events of each message that have no outcome yet; above kindShift is their type, and
	// above that are the bits of skip.go.
	left []atomic.Int32
	// waits counts the messages that wait in the join; the task's goroutine's own.
	waits int

	span trace.SpanContext // of the chunk; invalid without tracing

	failed atomic.Bool // failures has an entry
	mu     sync.Mutex
	// failures are what went wrong with a message so far, until it is settled.
	failures map[uint32]*failure
	// wide are the objects of events that carry one beyond the 64th.
	wide map[wideKey][]uint16
}

type wideKey struct {
	message uint32
	event   uint16
}

// failure gathers what is wrong with a message whose events were sent.
type failure struct {
	reason   event.Reason
	outcome  insights.Outcome
	parts    []deadletter.Part
	resolved []deadletter.Resolved
	total    int // events that failed
}

func newProgress(c *consume.Chunk, r *runner) *progress {
	n := len(c.Records)
	return &progress{chunk: c, run: r, first: c.Records[0].Offset, left: make([]atomic.Int32, n)}
}

func (p *progress) isClaimed(i uint32) bool { return p.left[i].Load()&claimedBit != 0 }

// number tells messages apart, also after they were settled.
func (m message) number() uint64 {
	return uint64(m.batch.chunk.Partition.ID)<<48 ^ uint64(m.batch.first+int64(m.i))
}

// record is the message's record; valid until it is settled.
func (m message) record() *consume.Record { return &m.batch.chunk.Records[m.i] }

// reasons translates the outcomes of delivery.
var reasons = map[insights.OutcomeKind]event.Reason{
	insights.Rejected: event.Rejected, insights.TooLarge: event.TooLarge,
	insights.Expired: event.Expired, insights.Ambiguous: event.Expired,
}

// fail notes that an event of the message was not delivered.
func (p *progress) fail(ref *part, o *insights.Outcome, resolved []deadletter.Resolved) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.failures[ref.Message.i]
	if f == nil {
		if p.failures == nil {
			p.failures = make(map[uint32]*failure)
		}
		f = &failure{reason: reasons[o.Kind], outcome: *o}
		p.failures[ref.Message.i] = f
		p.failed.Store(true)
	}
	reason := reasons[o.Kind]
	if reason < f.reason {
		f.reason, f.outcome = reason, *o
	}
	objects := p.objects(ref)
	for k, object := range objects {
		f.parts = append(f.parts, deadletter.Part{Index: object, Reason: reason})
		if k < len(resolved) {
			r := resolved[k]
			r.Index = object
			f.resolved = append(f.resolved, r)
		}
	}
	f.total++
}

// objects lists the objects of the message that an event carries; the lock is held.
func (p *progress) objects(ref *part) []int {
	if wide, ok := p.wide[wideKey{ref.Message.i, ref.Event}]; ok {
		list := make([]int, len(wide))
		for k, object := range wide {
			list[k] = int(object)
		}
		return list
	}
	var list []int
	for i, bits := 0, ref.Objects; bits != 0; i, bits = i+1, bits>>1 {
		if bits&1 != 0 {
			list = append(list, i)
		}
	}
	return list
}

// take gives the message's failure out, nil if nothing failed.
func (p *progress) take(i uint32) *failure {
	if !p.failed.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.failures[i]
	delete(p.failures, i)
	return f
}
