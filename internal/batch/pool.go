package batch

import (
	"sync"
	"unsafe"
)

// poolBytes bounds the memory that a builder keeps for batches to come: about what 32 requests of
// 1,000 events of ordinary size have in flight.
const poolBytes = 16 << 20

// pool keeps the memory of batches whose events have their outcome, at most poolBytes of it.
type pool[R any] struct {
	mu    sync.Mutex
	free  []*Batch[R]
	bytes int
}

func (p *pool[R]) get() *Batch[R] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		p.bytes -= b.footprint()
		return b
	}
	return &Batch[R]{pool: p}
}

// put takes a batch back, and forgets what its entries refer to.
func (p *pool[R]) put(b *Batch[R]) {
	clear(b.Entries)
	b.Entries, b.buf = b.Entries[:0], b.buf[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if size := b.footprint(); p.bytes+size <= poolBytes {
		p.free = append(p.free, b)
		p.bytes += size
	}
}

func (b *Batch[R]) footprint() int {
	return cap(b.buf) + cap(b.Entries)*int(unsafe.Sizeof(Entry[R]{}))
}
