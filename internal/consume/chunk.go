package consume

import (
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"
)

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one Kafka record. Its memory belongs to the chunk: it must not be read after the record
// was settled.
type Record struct {
	Offset int64
	// Time is the record's timestamp in milliseconds, -1 if it has none.
	Time int64
	Key  []byte
	// Value is nil for a tombstone, empty but not nil for an empty value.
	Value   []byte
	Headers []Header
}

const (
	recordSize = int64(unsafe.Sizeof(Record{}))
	headerSize = int64(unsafe.Sizeof(Header{}))
)

// Chunk is the messages of one fetch response of one partition, in offset order.
//
// Its raw buffer goes back to the pool, and its bytes to the budget, once every record is settled or
// detached; Records itself once every record is settled. After that nothing of the chunk may be read.
type Chunk struct {
	Records   []Record
	Partition *Partition

	// base is the offset of the first record, next the offset after everything that the fetch covered:
	// control records and aborted transactions at its tail too.
	base, next int64
	// offsets is nil where the records' offsets are base, base+1, …
	offsets []int64

	settled  []atomic.Uint64 // one bit a record
	detached []atomic.Uint64
	// state is the number of unsettled records (upper half) and of records that pin the buffer.
	state   atomic.Int64
	fetched time.Time
	tag     atomic.Pointer[any]
	cursor  int  // of the tracker: the first record not known to be settled
	copies  bool // a record was detached; read once all records are settled

	memory   chunkMemory
	bufBytes int64 // what memory.buffers count in the budget
	recBytes int64 // what memory.records and memory.headers count in the budget
}

const oneUnsettled = 1 << 32

func (c *Chunk) init() {
	n := len(c.Records)
	words := make([]atomic.Uint64, 2*((n+63)/64))
	c.settled, c.detached = words[:len(words)/2], words[len(words)/2:]
	c.state.Store(int64(n)*oneUnsettled + int64(n))
}

// Settle says that nothing is left to do for record i. Any goroutine may call it, once per record; a
// second call for the same record does nothing. It takes constant time and no lock.
func (c *Chunk) Settle(i int) {
	word, bit := i>>6, uint64(1)<<(i&63)
	if c.settled[word].Or(bit)&bit != 0 {
		return
	}
	if c.detached[word].Load()&bit != 0 {
		c.releaseCopy(i)
		c.subtract(oneUnsettled)
		return
	}
	c.subtract(oneUnsettled + 1)
}

// SettleRange settles the records from ≤ i < to, as many calls of [Chunk.Settle] would.
func (c *Chunk) SettleRange(from, to int) {
	for from < to {
		word, first := from>>6, from&63
		count := min(64-first, to-from)
		mask := (^uint64(0) >> (64 - count)) << first
		fresh := mask &^ c.settled[word].Or(mask)
		copies := fresh & c.detached[word].Load()
		for rest := copies; rest != 0; rest &= rest - 1 {
			c.releaseCopy(word<<6 + bits.TrailingZeros64(rest))
		}
		n, m := bits.OnesCount64(fresh), bits.OnesCount64(copies)
		if n > 0 {
			c.subtract(int64(n)*oneUnsettled + int64(n-m))
		}
		from += count
	}
}

// SettleAll settles every record of the chunk.
func (c *Chunk) SettleAll() { c.SettleRange(0, len(c.Records)) }

// Detach replaces Records[i] by a copy of its own, counted in the budget until the record is settled,
// so that the chunk's buffer can go while record i waits. Only the goroutine that popped the chunk may
// call it, before it hands the record to anyone who settles it.
func (c *Chunk) Detach(i int) {
	word, bit := i>>6, uint64(1)<<(i&63)
	if (c.settled[word].Load()|c.detached[word].Load())&bit != 0 {
		return
	}
	r := &c.Records[i]
	size := copySize(r)
	if !c.copies {
		c.copies = true
		c.Partition.kept.Add(c.recBytes)
	}
	c.Partition.hold(size)
	c.Partition.kept.Add(size)
	copyRecord(r)
	c.detached[word].Or(bit)
	c.subtract(1)
}

// Grow counts n more bytes in the budget that are held on behalf of this chunk, such as encoded
// events. Shrink gives them back.
func (c *Chunk) Grow(n int64) { c.Partition.hold(n) }

// Shrink gives back bytes that [Chunk.Grow] counted.
func (c *Chunk) Shrink(n int64) { c.Partition.unhold(n) }

// done says whether every record is settled.
func (c *Chunk) done() bool { return c.state.Load()>>32 == 0 }

// subtract takes d from the state and gives memory back where a count reached zero.
func (c *Chunk) subtract(d int64) {
	after := c.state.Add(-d)
	before := after + d
	if uint32(after) == 0 && uint32(before) != 0 {
		c.memory.freeBuffers(c.Partition.poison)
		c.Partition.pinned.Add(-1)
		c.Partition.unhold(c.bufBytes)
	}
	if after>>32 == 0 && before>>32 != 0 {
		c.memory.freeRecords()
		c.Partition.unhold(c.recBytes)
		if c.copies {
			c.Partition.letGo(c.recBytes)
		}
	}
}

func (c *Chunk) releaseCopy(i int) {
	size := copySize(&c.Records[i])
	c.Partition.unhold(size)
	c.Partition.letGo(size)
}

// CopyBytes is what record i counts in the budget once it is detached; it must not be settled yet.
func (c *Chunk) CopyBytes(i int) int64 { return copySize(&c.Records[i]) }

// RecordBytes is what the records themselves count in the budget, until all of them are settled.
func (c *Chunk) RecordBytes() int64 { return c.recBytes }

// firstUnsettled is the offset of the first record that is not settled, or next.
func (c *Chunk) firstUnsettled() int64 {
	n := c.count()
	for c.cursor < n {
		word := c.cursor >> 6
		unsettled := ^c.settled[word].Load() >> (c.cursor & 63)
		if unsettled == 0 {
			c.cursor = (word + 1) << 6
			continue
		}
		c.cursor += bits.TrailingZeros64(unsettled)
		break
	}
	if c.cursor >= n {
		return c.next
	}
	return c.offset(c.cursor)
}

// count is the number of records, which Records cannot tell any more once they are settled.
func (c *Chunk) count() int { return len(c.Records) }

// copyOverhead is about what whoever keeps a copy needs to find it again.
const copyOverhead = 200

func copySize(r *Record) int64 {
	n := copyOverhead + int64(len(r.Key)+len(r.Value)) + int64(len(r.Headers))*headerSize
	for i := range r.Headers {
		n += int64(len(r.Headers[i].Value))
	}
	return n
}

// copyRecord gives a record memory of its own, and keeps the difference between nil and empty.
func copyRecord(r *Record) {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Value)
	}
	buf := make([]byte, 0, n)
	take := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		start := len(buf)
		buf = append(buf, b...)
		return buf[start:len(buf):len(buf)]
	}
	r.Key, r.Value = take(r.Key), take(r.Value)
	if len(r.Headers) == 0 {
		return
	}
	headers := make([]Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = Header{Key: h.Key, Value: take(h.Value)}
	}
	r.Headers = headers
}
