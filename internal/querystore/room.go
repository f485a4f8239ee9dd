package querystore

import "encoding/binary"

const (
	// minRing is the least size of a ring, in bytes: the open block, a few large records.
	minRing = 256 << 10
	// maxBlock is the size at which a block is closed, in bytes.
	maxBlock = 32 << 10
	// maxUnwritten is how much is written to a file at once, in bytes.
	maxUnwritten = 512 << 10
	// kept is room that records leave for the blocks that carry coverage while a disk is full.
	kept = 4 << 10
)

// fit sizes the ring for the next record: it follows the section's share of the memory, and is at
// least twice as large as what is to be put.
func (l *impressionLog) fit(need int) {
	have, share := int(l.ring.size), int(max(l.home.share.Load(), minRing)&^(unit-1))
	want := have
	if share != l.share {
		l.share, want = share, share
	}
	if 2*need > want {
		want = roundUp(2 * need)
	}
	switch {
	case want == have:
	case l.files != nil:
		l.resize(want)
	default:
		for l.tail-l.base > uint64(want) {
			l.evictOne()
		}
		l.ring.resize(want, l.tail)
	}
}

// resize gives the ring of a log with files another size. While much of it is not yet written it
// does not shrink.
func (l *impressionLog) resize(size int) {
	f := l.files
	f.io.Lock()
	defer f.io.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if uint64(size) < l.ring.size && l.tail-f.flushed.Load() > uint64(size/2) {
		l.share = 0 // later
		return
	}
	l.ring.resize(size, l.tail)
}

// evict makes room in a log without files: the oldest records go.
func (l *impressionLog) evict(size int) {
	l.fit(size)
	for l.tail-l.base+uint64(size) > l.ring.size {
		l.evictOne()
	}
}

func (l *impressionLog) evictOne() {
	a := l.ring.piece(l.base, unit)
	size := recordSize(binary.LittleEndian.Uint32(a))
	if a[3] != byte(kindForget) && int64(binary.LittleEndian.Uint64(a[8:])) >= l.expired {
		l.counts.Dropped++
	}
	l.counts.Records--
	l.base += uint64(size)
}

// reserve makes room for a record of a log with files, and for the block and segment it may
// start. On success mu is held and a block is open.
func (l *impressionLog) reserve(size int) error {
	if err := l.lockRoom(size, kept); err != nil {
		return err
	}
	f := l.files
	if f.open && l.tail-f.block+uint64(size) > maxBlock {
		l.closeBlock()
	}
	if !f.open {
		l.openBlock()
	}
	return nil
}

// touch sees to it that a block is open, which will carry the coverage and the sources. Without
// room, the next record's block carries them.
func (l *impressionLog) touch() {
	if l.lockRoom(0, 0) != nil {
		return
	}
	if !l.files.open {
		l.openBlock()
	}
	l.files.mu.Unlock()
}

// lockRoom waits for no one but the disk. On success mu is held.
func (l *impressionLog) lockRoom(size, kept int) error {
	f := l.files
	if err := f.failed.Load(); err != nil {
		return err
	}
	need := size + l.overhead()
	l.fit(need + kept)
	if f.closed.Load()-f.flushed.Load() >= min(l.ring.size/4, maxUnwritten) && l.tail >= f.retryAt {
		if l.flush() != nil {
			f.retryAt = l.tail + maxBlock // it is reported when there is no room any more, or by Sync
		}
	}
	if l.tail-l.base > l.home.alive {
		// It is tried again with the next record; there are addresses left for many of them.
		_, _ = l.dropOldest(true)
	}
	for {
		f.mu.Lock()
		if l.tail+uint64(need+kept) <= f.flushed.Load()+l.ring.size {
			return nil
		}
		l.closeBlock()
		f.mu.Unlock()
		if err := l.flush(); err != nil {
			return err
		}
	}
}

// overhead bounds what a record may bring along: headers and the names of the sources.
func (l *impressionLog) overhead() int {
	n := segmentHeader + blockHeader + 16*len(l.sources)
	f := l.files
	for _, topic := range l.sources[f.named(l):] {
		n += roundUp(headerSize + len(topic))
	}
	return n
}
