package consume

import (
	"sync"
	"sync/atomic"
)

// Budget bounds the bytes that a generation holds: raw and decompressed messages, their records,
// copies of what waits, and what [Chunk.Grow] counts. A part of it is kept for the shown partitions,
// so that clicks that wait for impressions cannot starve these.
//
// What a fetch may bring is reserved before it is asked for; what it brought replaces the reservation.
// Bytes that are already there are counted whether or not they fit (take), so that the bound may be
// passed by a batch per partition that held nothing. A record that was detached, [Chunk.Detach], is not
// held in this sense: whoever detaches bounds what waits by [Partition.SetWaiting].
type Budget struct {
	total, kept int64
	used, other atomic.Int64 // other: the part of used that is not of shown partitions
	peak        atomic.Int64

	mu      sync.Mutex // of reservations: two must not take the same bytes
	starved atomic.Bool
	freed   func()
}

// newBudget keeps kept of total bytes for shown partitions. freed is called, from any goroutine, when
// bytes come back after a reservation was cut short.
func newBudget(total, kept int64, freed func()) *Budget {
	return &Budget{total: total, kept: kept, freed: freed}
}

// Total is the bound in bytes.
func (b *Budget) Total() int64 { return b.total }

// Used is the number of bytes held or reserved now.
func (b *Budget) Used() int64 { return b.used.Load() }

// reserve takes up to want bytes and says how many it took: none when fewer than least are free.
func (b *Budget) reserve(shown bool, least, want int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	free := b.free(shown)
	if free < want {
		b.starved.Store(true)
		// A release between the look and the flag must not be missed.
		free = b.free(shown)
	}
	if free < least || want <= 0 {
		return 0
	}
	n := min(free, want)
	b.take(shown, n)
	return n
}

func (b *Budget) free(shown bool) int64 {
	free := b.total - b.used.Load()
	if !shown {
		free = min(free, b.total-b.kept-b.other.Load())
	}
	return free
}

func (b *Budget) take(shown bool, n int64) {
	used := b.used.Add(n)
	if !shown {
		b.other.Add(n)
	}
	for {
		peak := b.peak.Load()
		if used <= peak || b.peak.CompareAndSwap(peak, used) {
			return
		}
	}
}

func (b *Budget) release(shown bool, n int64) {
	if n == 0 {
		return
	}
	if !shown {
		b.other.Add(-n)
	}
	b.used.Add(-n)
	if b.starved.Load() && b.starved.CompareAndSwap(true, false) && b.freed != nil {
		b.freed()
	}
}
