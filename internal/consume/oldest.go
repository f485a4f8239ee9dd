package consume

import (
	"math/bits"
	"time"
)

// Oldest is the oldest unsettled message of a partition: what holds up its frontier.
type Oldest struct {
	Offset int64
	// Time is the record's timestamp in milliseconds, -1 if it has none.
	Time int64
	// Fetched is when it came from the broker, Since when it became the oldest.
	Fetched, Since time.Time
	// Chunk and Index name it among what was popped. The record must not be read: it may be settled now.
	Chunk *Chunk
	Index int
}

// Oldest is what holds up the frontier; false: nothing that was fetched is unsettled.
func (p *Partition) Oldest() (o Oldest, ok bool) { return p.tracker.oldest() }

func (t *tracker) oldest() (o Oldest, ok bool) {
	frontier := t.sweep()
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.open {
		c := t.open[i].chunk
		if c == nil {
			continue
		}
		k := c.firstOpen()
		if k == c.count() || !c.pin() {
			continue // settled between sweep and now
		}
		o = Oldest{Offset: c.Records[k].Offset, Time: c.Records[k].Time, Fetched: c.fetched, Since: c.fetched, Chunk: c, Index: k}
		c.subtract(oneUnsettled)
		if o.Offset >= frontier && t.moved.After(o.Since) {
			o.Since = t.moved
		}
		return o, true
	}
	return Oldest{}, false
}

// firstOpen is the first record that is not settled, count if all are.
func (c *Chunk) firstOpen() int {
	for i := c.cursor; i < c.count(); {
		word := ^c.settled[i>>6].Load() >> (i & 63)
		if word != 0 {
			return min(i+bits.TrailingZeros64(word), c.count())
		}
		i = (i>>6 + 1) << 6
	}
	return c.count()
}

// pin keeps Records from being given back, until as much is subtracted again; false: it is too late.
// It does not keep what keys and values point to.
func (c *Chunk) pin() bool {
	for {
		state := c.state.Load()
		if state>>32 == 0 {
			return false
		}
		if c.state.CompareAndSwap(state, state+oneUnsettled) {
			return true
		}
	}
}

// Tag remembers something about the chunk for [Chunk.Tagged], such as who works on it.
func (c *Chunk) Tag(v any) { c.tag.Store(&v) }

// Tagged is what Tag was given last, nil before.
func (c *Chunk) Tagged() any {
	if v := c.tag.Load(); v != nil {
		return *v
	}
	return nil
}
