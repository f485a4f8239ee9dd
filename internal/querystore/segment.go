package querystore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"path/filepath"
	"slices"
	"sort"
)

// A segment file holds the bytes of an address range, from its base on. It starts with a header,
// little-endian, and goes on with blocks:
//
//	 0  8 bytes  "EWQSTORE"
//	 8  u32      format version
//	12  i32      task
//	16  u64      base address
//	24  u32      0
//	28  u32      CRC-32C of everything before this field
const (
	segmentMagic  = "EWQSTORE"
	segmentHeader = 32
	formatVersion = 1
	// readAhead is how much of a file is read for a record whose size is not known, in bytes.
	readAhead = 1 << 10
)

type segment struct {
	base uint64
	end  uint64 // MaxUint64 while it grows; under mu
	path string
	file file // nil until it is first written; under io, published by flushed
	// dirty: written since the last fsync; under io.
	dirty bool

	// Of the task.
	named   int   // sources whose names it holds
	records int64 // records it holds
	newest  newestRecords
	rescued bool    // some records were added anew, and must be durable before this one goes
	firsts  []int64 // times of its first records
	born    int64   // the median of firsts once there are enough, minTime before
}

// enoughFirsts is how many records say when a segment was born.
const enoughFirsts = 31

func newSegment(dir string, base uint64) *segment {
	return &segment{base: base, end: math.MaxUint64, path: segmentPath(dir, base), newest: newestRecords{floor: minTime}, born: minTime}
}

// note takes a record in.
func (s *segment) note(addr uint64, time int64) {
	s.records++
	if time == minTime {
		return // a forget record
	}
	s.newest.note(addr, time)
	if s.born == minTime {
		if s.firsts = append(s.firsts, time); len(s.firsts) == enoughFirsts {
			slices.Sort(s.firsts)
			s.born, s.firsts = s.firsts[enoughFirsts/2], nil
		}
	}
}

func segmentPath(dir string, base uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x.seg", base))
}

func putSegmentHeader(b []byte, task int32, base uint64) {
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint32(b[12:], uint32(task))
	binary.LittleEndian.PutUint64(b[16:], base)
	binary.LittleEndian.PutUint32(b[24:], 0)
	binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(b[:28], castagnoli))
}

// checkSegmentHeader says what is wrong with a header: a [VersionError] if it is whole but of
// another version.
func checkSegmentHeader(b []byte, path string, task int32, base uint64) error {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic ||
		binary.LittleEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return errors.New("damaged header")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return &VersionError{Path: path, Got: v, Want: formatVersion}
	}
	if t := int32(binary.LittleEndian.Uint32(b[12:])); t != task {
		return fmt.Errorf("it belongs to task %d", t)
	}
	if a := binary.LittleEndian.Uint64(b[16:]); a != base {
		return fmt.Errorf("it belongs at %016x", a)
	}
	return nil
}

// roll starts a segment at tail. mu is held.
func (l *impressionLog) roll() {
	f := l.files
	if n := len(f.segments); n > 0 {
		f.segments[n-1].end = l.tail
		f.segments[n-1].newest.trim()
	} else {
		l.base = l.tail
	}
	f.segments = append(f.segments, newSegment(f.dir, l.tail))
	f.seal = false
	var head [segmentHeader]byte
	putSegmentHeader(head[:], l.task, l.tail)
	l.ring.put(l.tail, head[:])
	l.tail += segmentHeader
}

// segmentAt gives the segment that holds an address; nil if none does.
func (f *files) segmentAt(addr uint64) *segment {
	i := sort.Search(len(f.segments), func(i int) bool { return f.segments[i].base > addr })
	if i == 0 || addr >= f.segments[i-1].end {
		return nil
	}
	return f.segments[i-1]
}

// read gives the bytes from an address on out of its segment file, or nil where no sound record
// starts there. They are valid until the next record is read or added.
func (l *impressionLog) read(addr uint64) ([]byte, error) {
	f := l.files
	if f == nil {
		return nil, nil
	}
	s := f.segmentAt(addr)
	if s == nil {
		return nil, nil
	}
	l.counts.Reads++
	there := min(s.end, f.flushed.Load()) - addr
	b := l.spare(int(min(readAhead, there)))
	if len(b) < headerSize {
		return nil, nil
	}
	if err := l.readAt(s, b, addr); err != nil {
		return nil, err
	}
	if size := recordSize(binary.LittleEndian.Uint32(b)); int(size) > len(b) {
		if uint64(size) > there || size > maxRecord {
			return nil, nil
		}
		n := len(b)
		if cap(l.scratch) < int(size) {
			l.scratch = append(make([]byte, 0, size), b...)
		}
		b = l.scratch[:size]
		if err := l.readAt(s, b[n:], addr+uint64(n)); err != nil {
			return nil, err
		}
	}
	var r Record
	if !r.load(b) || !r.sound() {
		return nil, nil
	}
	return b, nil
}

func (l *impressionLog) readAt(s *segment, b []byte, addr uint64) error {
	n, err := s.file.ReadAt(b, int64(addr-s.base))
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &IOError{Task: l.task, Op: "read", Path: s.path, Err: err}
}
