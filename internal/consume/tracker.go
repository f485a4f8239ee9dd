package consume

import (
	"sync"
	"sync/atomic"
	"time"
)

// tracker knows the frontier of one partition in one generation: the offset below which every message
// is settled. Contiguous means in the order of delivery, since offsets have gaps where the log was
// compacted and where transactions end.
//
// Settling does not touch it: it looks at the chunks when it is asked.
type tracker struct {
	frontier atomic.Int64

	mu    sync.Mutex
	open  []span    // in offset order; neighbours without an unsettled record are merged
	moved time.Time // when the frontier was last seen to move
}

// span is a stretch of the log that ends before next; chunk is nil where nothing of it is unsettled.
type span struct {
	chunk *Chunk
	next  int64
}

func (t *tracker) start(offset int64) { t.frontier.Store(offset) }

// add appends what a fetch covered up to next. A nil chunk says that it held no message.
func (t *tracker) add(c *Chunk, next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.open); c == nil && n > 0 && t.open[n-1].chunk == nil {
		t.open[n-1].next = next
		return
	}
	t.open = append(t.open, span{c, next})
}

// sweep looks for newly settled records and gives the frontier. It takes time in proportion to the
// chunks that are open, and merges those behind an unsettled one, so that one message that waits does
// not make the list grow without end.
func (t *tracker) sweep() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.open[:0]
	frontier, leading := t.frontier.Load(), true
	for _, s := range t.open {
		if s.chunk != nil && s.chunk.done() {
			s.chunk = nil
		}
		switch {
		case leading && s.chunk == nil:
			frontier = s.next
		case leading:
			frontier = max(frontier, s.chunk.firstUnsettled())
			leading = false
			kept = append(kept, s)
		case s.chunk == nil && kept[len(kept)-1].chunk == nil:
			kept[len(kept)-1].next = s.next
		default:
			kept = append(kept, s)
		}
	}
	clear(t.open[len(kept):])
	t.open = kept
	if frontier != t.frontier.Load() {
		t.moved = time.Now()
	}
	t.frontier.Store(frontier)
	return frontier
}

// unsettled is the number of records that are not settled.
func (t *tracker) unsettled() (n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.open {
		if s.chunk != nil {
			n += s.chunk.state.Load() >> 32
		}
	}
	return n
}
