package querystore

import "encoding/binary"

// A block is what is checked as a whole: records, and the coverage when the block was closed, so
// that coverage is never ahead of the effects it speaks of. Little-endian:
//
//	 0  u32  "EWB1"
//	 4  u32  size in bytes, a multiple of the unit
//	 8  u32  CRC-32C of everything after this field
//	12  u16  number of sources that coverage follows for
//	14  u16  0
//	16  u64  address of the block
//	24  u64  0
//	32  applied i64, written i64 of each source; then the records
const (
	blockMagic  = 0x31425745
	blockHeader = 32
	// maxBlockSize bounds a block that holds one large record.
	maxBlockSize = maxRecord + 2<<20
)

// named is the first source whose name the next block must bring along.
func (f *files) named(l *impressionLog) int {
	if n := len(f.segments); n > 0 && !l.rolls() {
		return min(f.segments[n-1].named, len(l.sources))
	}
	return 0
}

// rolls says whether the next block starts a segment.
func (l *impressionLog) rolls() bool {
	f := l.files
	if len(f.segments) == 0 || f.seal {
		return true
	}
	return l.tail-f.segments[len(f.segments)-1].base >= l.home.segmentBytes
}

// openBlock starts a block at tail, in a new segment if one is due. There is room; mu is held.
func (l *impressionLog) openBlock() {
	f := l.files
	named := f.named(l)
	if l.rolls() {
		l.roll()
	}
	f.block, f.open, f.room = l.tail, true, len(l.sources)
	l.ring.room(l.tail, blockHeader+16*f.room) // written by closeBlock, maybe beside the task
	l.tail += uint64(blockHeader + 16*f.room)
	for i := named; i < len(l.sources); i++ {
		topic := l.sources[i]
		y := layout{kind: kindSource, user: len(topic), size: roundUp(headerSize + len(topic))}
		rec := make([]byte, y.size)
		copy(y.put(rec, minTime, Place{Source: uint16(i)}, 0), topic)
		l.ring.put(l.tail, rec)
		l.tail += uint64(y.size)
	}
	f.segments[len(f.segments)-1].named = len(l.sources)
}

// closeBlock finishes the open block, if there is one, so that it can be written. mu is held; it
// may be called beside the task and leaves tail alone.
func (l *impressionLog) closeBlock() {
	f := l.files
	if !f.open {
		return
	}
	size := int(l.tail - f.block)
	var head [blockHeader]byte
	binary.LittleEndian.PutUint32(head[0:], blockMagic)
	binary.LittleEndian.PutUint32(head[4:], uint32(size))
	binary.LittleEndian.PutUint16(head[12:], uint16(f.room))
	binary.LittleEndian.PutUint64(head[16:], f.block)
	l.ring.put(f.block, head[:])
	for i, c := range l.covered[:f.room] {
		var b [16]byte
		binary.LittleEndian.PutUint64(b[0:], uint64(c.Applied))
		binary.LittleEndian.PutUint64(b[8:], uint64(c.Written))
		l.ring.put(f.block+blockHeader+uint64(16*i), b[:])
	}
	binary.LittleEndian.PutUint32(head[8:], l.ring.checksum(f.block+12, size-12))
	l.ring.put(f.block, head[:])
	f.open = false
	f.closed.Store(l.tail)
}
