package consume

import (
	"math/bits"
	"sync"
)

// A buffer is a pooled byte slice. Its capacity is that of its size class.
type buffer struct {
	b     []byte
	class int
}

// Buffers come in classes of four steps for each doubling, so that at most a fifth of one is unused.
const (
	minBufferBits = 12 // 4 KiB
	maxBufferBits = 28 // 256 MiB
	numClasses    = (maxBufferBits-minBufferBits)*4 + 1
)

var bufferPools [numClasses]sync.Pool

func classOf(n int) int {
	if n <= 1<<minBufferBits {
		return 0
	}
	top := bits.Len(uint(n-1)) - 1 // n-1 lies in [2^top, 2^(top+1))
	step := (n - 1 - 1<<top) >> (top - 2)
	return (top-minBufferBits)*4 + step + 1
}

func classSize(class int) int {
	top, step := class/4+minBufferBits, class%4
	return 1<<top + step<<(top-2)
}

// getBuffer gives a buffer of length n; one beyond the largest class is not pooled.
func getBuffer(n int) *buffer {
	class := classOf(n)
	if class >= numClasses {
		return &buffer{b: make([]byte, n), class: -1}
	}
	if b, _ := bufferPools[class].Get().(*buffer); b != nil {
		b.b = b.b[:n]
		return b
	}
	return &buffer{b: make([]byte, n, classSize(class)), class: class}
}

func putBuffer(b *buffer) {
	if b != nil && b.class >= 0 {
		bufferPools[b.class].Put(b)
	}
}

// slab is a pooled slice of records or headers.
type slab[T any] struct{ s []T }

type slabPool[T any] struct{ pools [24]sync.Pool }

// get gives a slice of length n; its content is whatever its last user left.
func (p *slabPool[T]) get(n int) *slab[T] {
	class := slabClass(n)
	if class >= len(p.pools) {
		return &slab[T]{make([]T, n)}
	}
	if s, _ := p.pools[class].Get().(*slab[T]); s != nil {
		s.s = s.s[:n]
		return s
	}
	return &slab[T]{make([]T, n, 32<<class)}
}

func (p *slabPool[T]) put(s *slab[T]) {
	if class := slabClass(cap(s.s)); class < len(p.pools) && cap(s.s) == 32<<class {
		p.pools[class].Put(s)
	}
}

// slabClass is the class c of 32·2^c elements that n elements fit in.
func slabClass(n int) int {
	if n <= 32 {
		return 0
	}
	return bits.Len(uint(n-1)) - 5
}

var (
	recordPool slabPool[Record]
	headerPool slabPool[Header]
)

// chunkMemory is what a chunk holds of the pools.
type chunkMemory struct {
	buffers []*buffer
	records *slab[Record]
	headers []*slab[Header]
}

func (m *chunkMemory) bufferBytes() (n int64) {
	for _, b := range m.buffers {
		n += int64(cap(b.b))
	}
	return n
}

func (m *chunkMemory) recordBytes() (n int64) {
	if m.records != nil {
		n = int64(cap(m.records.s)) * recordSize
	}
	for _, h := range m.headers {
		n += int64(cap(h.s)) * headerSize
	}
	return n
}

func (m *chunkMemory) freeBuffers(poison bool) {
	for i, b := range m.buffers {
		if poison {
			full := b.b[:cap(b.b)]
			for j := range full {
				full[j] = 0xDB
			}
		}
		putBuffer(b)
		m.buffers[i] = nil
	}
	m.buffers = nil
}

func (m *chunkMemory) freeRecords() {
	if m.records != nil {
		clear(m.records.s)
		recordPool.put(m.records)
		m.records = nil
	}
	for _, h := range m.headers {
		clear(h.s[:cap(h.s)])
		headerPool.put(h)
	}
	m.headers = nil
}
