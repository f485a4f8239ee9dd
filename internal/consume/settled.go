package consume

import (
	"math/bits"
	"sort"
)

// Range is the offsets From ≤ o < To of a partition.
type Range struct{ From, To int64 }

// Settled appends to dst, in order, what is settled at or beyond an offset: the nearest ranges, at
// most so many, none of which touches the next. An offset without a message, such as that of a control
// record, belongs to the messages before it.
//
// It takes time in proportion to the chunks that are open, like [Partition.Frontier]. What is settled
// while it looks may or may not be told; what it tells is settled.
func (p *Partition) Settled(dst []Range, from int64, most int) []Range {
	return p.tracker.settled(dst, from, most)
}

func (t *tracker) settled(dst []Range, from int64, most int) []Range {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := rangeWriter{dst: dst, most: len(dst) + most}
	end := t.frontier.Load() // below it everything is settled
	if end > from {
		w.mark(from, true)
	}
	for i := range t.open {
		s := &t.open[i]
		switch {
		case s.next <= from:
		case s.chunk == nil:
			w.mark(max(end, from), true)
		default:
			s.chunk.settledFrom(from, &w)
		}
		if w.full() {
			return w.dst
		}
		end = s.next
	}
	w.mark(max(end, from), false)
	return w.dst
}

// settledFrom tells which of the chunk's records at or beyond an offset are settled.
func (c *Chunk) settledFrom(from int64, w *rangeWriter) {
	n := c.count()
	first := sort.Search(n, func(i int) bool { return c.offset(i) >= from })
	for i := first; i < n && !w.full(); {
		word := c.settled[i>>6].Load() >> (i & 63)
		settled := word&1 == 1
		w.mark(c.offset(i), settled)
		if settled {
			word = ^word
		}
		i += min(bits.TrailingZeros64(word), 64-i&63) // to the next that differs, or to the next word
	}
}

// offset is that of record i, which Records cannot tell any more once all are settled.
func (c *Chunk) offset(i int) int64 {
	if c.offsets != nil {
		return c.offsets[i]
	}
	return c.base + int64(i)
}

// rangeWriter collects ranges from where they begin and end.
type rangeWriter struct {
	dst     []Range
	most    int
	settled bool  // of the messages looked at last
	since   int64 // where they begin
}

func (w *rangeWriter) full() bool { return len(w.dst) >= w.most }

// mark says what holds from an offset on.
func (w *rangeWriter) mark(offset int64, settled bool) {
	if settled == w.settled {
		return
	}
	if w.settled && offset > w.since && !w.full() {
		w.dst = append(w.dst, Range{w.since, offset})
	}
	w.settled, w.since = settled, offset
}
