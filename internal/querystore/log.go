package querystore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// impressionLog is an append-only address space of records, chained per user. Its newest part lies
// in a ring; with files (the disk store) all of it lies in segment files, the same bytes at the
// same place, and the ring doubles as the write-behind buffer. Without files (the memory store)
// what leaves the ring is gone.
//
// The task's goroutine adds, walks and expires. Sync may run beside it. Only the task moves tail;
// what Sync shares with it is guarded by mu, or is atomic. Locks are taken in the order syncing,
// io, mu. A task waits for io at most for a write, never for an fsync.
type impressionLog struct {
	task int32
	home *home

	// Of the task's goroutine; tail and sources are changed under mu, the ring under io and mu.
	base     uint64 // lowest living address
	tail     uint64 // where the next byte goes
	ring     ring
	share    int // the ring's share of the memory when it was last looked at
	index    userIndex
	horizon  horizon
	sources  []string
	fresh    uint64 // tail when the index was last cleaned
	expired  int64  // the newest Expire
	lastTime int64  // newest time when it was parked; under the store's lock
	scratch  []byte // a record that lies in two pieces of the ring or was read from a file
	rec      Record // what a walk hands out
	counts   Stats
	told     int // records and walks since counts was last published

	covered []Coverage // by source; changed by the task under mu

	files *files // nil: memory only

	published struct {
		sync.Mutex
		Stats
	}
}

// files is the part of a log that lies in segment files.
type files struct {
	dir string
	sys fileSystem

	syncing sync.Mutex // one Sync at a time; held over fsync
	io      sync.Mutex // one writer at a time; guards creation and closing of files

	mu       sync.Mutex
	segments []*segment // oldest first; the last one grows; changed by the task under mu
	block    uint64     // address of the open block
	open     bool       // whether there is one
	room     int        // sources that the open block has room for

	closed  atomic.Uint64 // end of the last closed block
	flushed atomic.Uint64 // everything below was written to files
	durable uint64        // everything below was synced; under syncing
	failed  atomic.Pointer[IOError]

	dirDirty bool     // the folder has names that were not synced; under io
	doomed   []string // files to remove, in this order; of the task
	seal     bool     // the next block starts a segment; of the task
	retryAt  uint64   // no write is tried before tail is here, unless there is no room; of the task
}

// home is what the logs of one store share.
type home struct {
	log          *zap.Logger
	segmentBytes uint64
	alive        uint64 // maxAlive
	// share is the size of each open section's ring; it changes as sections open and close.
	share atomic.Int64
}

// maxAlive bounds the living part of the address space of one log: beyond it the oldest segment
// goes. Positions have 36 bits of range; the rest is for entries of the index that are not yet cleaned.
const (
	maxAlive   = 48 << 30
	cleanEvery = 8 << 30
)

func (l *impressionLog) alive(tail uint64) span {
	return span{end: uint32(tail / unit), size: uint32((tail - l.base) / unit)}
}

// begin makes room for a record and gives the bytes to write it to; with files mu is then held,
// until commit.
func (l *impressionLog) begin(size int) (dst []byte, err error) {
	if l.files == nil {
		l.evict(size)
	} else if err := l.reserve(size); err != nil {
		return nil, err
	}
	if dst = l.ring.room(l.tail, size); len(dst) == size {
		return dst, nil
	}
	return l.spare(size), nil
}

// spare gives the scratch buffer.
func (l *impressionLog) spare(size int) []byte {
	if cap(l.scratch) < size {
		l.scratch = make([]byte, roundUp(max(size, readAhead)))
	}
	return l.scratch[:size]
}

// commit chains the record that was written after begin and makes it visible.
func (l *impressionLog) commit(rec []byte, tag uint32, time int64) {
	addr, end := l.tail, l.tail+uint64(len(rec))
	before, known := l.index.swap(tag, uint32(addr/unit), l.alive(end))
	distance, newest := uint32(0), time
	if known {
		if d := uint32(addr/unit) - before; d != 0 && uint64(d)*unit <= addr-l.base {
			distance, newest = d, max(time, l.newestAt(addr-uint64(d)*unit, end, tag))
		}
	}
	link(rec, distance, newest)
	if len(l.ring.piece(addr, len(rec))) < len(rec) {
		l.ring.put(addr, rec)
	}
	l.tail = end
	l.counts.Records++
	if l.files != nil {
		l.horizon.note(tag, addr, time)
		l.files.segments[len(l.files.segments)-1].note(addr, time)
		l.files.mu.Unlock()
	}
	if end-l.fresh >= cleanEvery {
		l.fresh = end
		l.index.replace(l.alive(end))
	}
	l.tell()
}

// newestAt is at least the newest time of the chain from a record on.
func (l *impressionLog) newestAt(addr, tail uint64, tag uint32) int64 {
	if addr >= l.ring.oldest(tail) {
		return int64(binary.LittleEndian.Uint64(l.ring.piece(addr+16, 8))) // lies in one piece: all are multiples of the unit
	}
	return l.horizon.newest(tag, addr)
}

func (l *impressionLog) known(p Place) error {
	if int(p.Source) >= len(l.sources) {
		return fmt.Errorf("querystore: task %d: source %d was not given by Source", l.task, p.Source)
	}
	return nil
}

// reached keeps the promise of Coverage.Written; with files mu is held.
func (l *impressionLog) reached(p Place) {
	if c := &l.covered[p.Source]; p.Offset >= c.Written {
		c.Written = p.Offset + 1
	}
}

func (l *impressionLog) addImpression(user []byte, v *Impression) error {
	y, err := impressionLayout(user, v)
	if err == nil {
		err = l.known(v.Place)
	}
	if err != nil {
		return err
	}
	dst, err := l.begin(y.size)
	if err != nil {
		return err
	}
	y.putImpression(dst, user, v)
	l.reached(v.Place)
	l.commit(dst, userTag(user), v.Time)
	return nil
}

func (l *impressionLog) addClick(user []byte, v *Click) error {
	y, err := clickLayout(user, v)
	if err == nil {
		err = l.known(v.Place)
	}
	if err != nil {
		return err
	}
	dst, err := l.begin(y.size)
	if err != nil {
		return err
	}
	y.putClick(dst, user, v)
	l.reached(v.Place)
	l.commit(dst, userTag(user), v.Time)
	return nil
}

func (l *impressionLog) addMark(user []byte, v *Mark) error {
	y := layout{kind: KindMark, user: len(user)}
	err := y.finish(len(v.Hash))
	if err == nil {
		err = l.known(v.Place)
	}
	if err != nil {
		return err
	}
	dst, err := l.begin(y.size)
	if err != nil {
		return err
	}
	y.putMark(dst, user, v)
	l.reached(v.Place)
	l.commit(dst, userTag(user), v.Time)
	return nil
}

// forget hides everything added for a user so far.
func (l *impressionLog) forget(user []byte) error {
	y := layout{kind: kindForget, user: len(user)}
	if err := y.finish(0); err != nil {
		return err
	}
	dst, err := l.begin(y.size)
	if err != nil {
		return err
	}
	copy(y.put(dst, minTime, Place{}, 0), user)
	l.commit(dst, userTag(user), minTime)
	return nil
}

// walk hands out the user's records, the last added first.
func (l *impressionLog) walk(user []byte, visit func(*Record) bool) error {
	_, err := l.follow(user, visit)
	l.tell()
	return err
}

// noAddress is where a walk ends that comes to the end of its chain.
const noAddress = 1<<64 - 1

// follow walks and gives the address it ended at.
func (l *impressionLog) follow(user []byte, visit func(*Record) bool) (addr uint64, err error) {
	tag := userTag(user)
	position, ok := l.index.get(tag)
	if !ok {
		return noAddress, nil
	}
	age := uint64(uint32(l.tail/unit)-position) * unit
	for at, r := l.tail, &l.rec; age != 0 && age <= at-l.base; age = uint64(r.distance()) * unit {
		at -= age
		b, err := l.at(at)
		if err != nil {
			return at, err
		}
		if !r.load(b) {
			return noAddress, nil // no record: the link was damaged
		}
		if bytes.Equal(r.key(), user) {
			if r.Kind == kindForget {
				return noAddress, nil
			}
			if !visit(r) {
				return at, nil
			}
		}
	}
	return noAddress, nil
}

// at gives the bytes from an address on: at least the whole record that starts there, if one does.
func (l *impressionLog) at(addr uint64) ([]byte, error) {
	if addr < l.ring.oldest(l.tail) {
		return l.read(addr)
	}
	l.counts.RingHits++
	b := l.ring.piece(addr, int(min(l.tail-addr, pieceBytes)))
	size := int(recordSize(binary.LittleEndian.Uint32(b)))
	if uint64(size) > l.tail-addr {
		return nil, nil
	}
	if size <= len(b) {
		return b[:size:size], nil
	}
	whole := l.spare(size)
	l.ring.copyTo(whole, addr)
	return whole, nil
}

// source gives a topic's number.
func (l *impressionLog) source(topic string) uint16 {
	for i, known := range l.sources {
		if known == topic {
			return uint16(i)
		}
	}
	if l.files != nil {
		l.files.mu.Lock()
		l.closeBlock() // the next one has room for the new source and starts with its name
	}
	l.sources = append(l.sources, topic)
	l.covered = append(l.covered, Coverage{})
	if l.files != nil {
		l.files.mu.Unlock()
		l.touch()
	}
	return uint16(len(l.sources) - 1)
}

func (l *impressionLog) coverage(source uint16) Coverage {
	if int(source) >= len(l.covered) {
		return Coverage{}
	}
	return l.covered[source]
}

func (l *impressionLog) setCoverage(source uint16, c Coverage) {
	if int(source) >= len(l.covered) || l.covered[source] == c {
		return
	}
	if l.files == nil {
		l.covered[source] = c
		return
	}
	l.files.mu.Lock()
	l.covered[source] = c
	open := l.files.open
	l.files.mu.Unlock()
	if !open {
		l.touch()
	}
}
