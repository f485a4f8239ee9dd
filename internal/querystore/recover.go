package querystore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// recover builds a log from its segment files, in one pass over them. From the first thing on that
// is not whole, everything is cut off: coverage then is what the rest says, and what is missing is
// made again from Kafka.
func (l *impressionLog) recover() error {
	found, err := listSegments(l.files.dir)
	if err != nil {
		return &IOError{Task: l.task, Op: "list", Path: l.files.dir, Err: err}
	}
	if len(found) > 0 {
		l.base, l.tail = found[0], found[0]
	}
	in := scanner{log: l}
	for i, base := range found {
		s := newSegment(l.files.dir, base)
		damage := fmt.Errorf("the bytes from %016x on are missing", l.tail)
		if base == l.tail {
			if damage, err = in.segment(s); err != nil {
				return err
			}
		}
		if damage != nil {
			if err := l.cut(s, found[i:], damage); err != nil {
				return err
			}
			break
		}
	}
	f := l.files
	f.closed.Store(l.tail)
	f.flushed.Store(l.tail)
	f.durable = l.tail
	l.ring.low, l.fresh = l.tail, l.tail
	return l.hardenFound()
}

// hardenFound syncs what was found: after a crash of the process alone it may not be on disk yet.
func (l *impressionLog) hardenFound() error {
	f := l.files
	for _, s := range f.segments {
		if err := s.file.Sync(); err != nil {
			return &IOError{Task: l.task, Op: "sync", Path: s.path, Err: err}
		}
	}
	if err := f.sys.syncDir(f.dir); err != nil {
		return &IOError{Task: l.task, Op: "sync", Path: f.dir, Err: err}
	}
	return nil
}

// listSegments gives the bases of the segment files in a folder, in order.
func listSegments(dir string) (bases []uint64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".seg")
		if base, err := strconv.ParseUint(name, 16, 64); ok && err == nil && filepath.Base(segmentPath(dir, base)) == e.Name() {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases, nil
}

// cut ends the log at tail: the rest of s goes, and the later segments of rest with it, the newest first.
func (l *impressionLog) cut(s *segment, rest []uint64, damage error) error {
	f := l.files
	var lost int64
	for i, base := range slices.Backward(rest) {
		path := segmentPath(f.dir, base)
		if info, err := os.Stat(path); err == nil {
			lost += info.Size()
		}
		if i > 0 || s.file == nil {
			f.doomed = append(f.doomed, path)
		}
	}
	if err := l.removeDoomed(); err != nil {
		return err
	}
	if s.file != nil {
		lost -= int64(l.tail - s.base)
		err := s.file.Truncate(int64(l.tail - s.base))
		if err == nil {
			err = s.file.Sync()
		}
		if err != nil {
			return &IOError{Task: l.task, Op: "truncate", Path: s.path, Err: err}
		}
	}
	l.counts.Cut += lost
	say := l.home.log.Warn
	if len(rest) == 1 {
		say = l.home.log.Info // as a crash leaves it
	}
	say("the query store was cut off where it is not whole; what is missing is made again from Kafka",
		zap.Int32("task", l.task), zap.String("file", s.path), zap.Int64("bytes", lost), zap.NamedError("because", damage))
	return nil
}

// scanner reads segments block by block.
type scanner struct {
	log  *impressionLog
	buf  []byte // read ahead
	from int    // what of buf is used up
	at   int64  // offset in the file of the end of buf
	size int64
	rec  Record
}

const scanAhead = 1 << 20

// segment takes a segment file in. damage says why not all of it; the log's tail is then where
// what is whole ends, and the segment is part of the log only if its header is.
func (c *scanner) segment(s *segment) (damage, err error) {
	l := c.log
	file, err := l.files.sys.open(s.path)
	if err != nil {
		return nil, &IOError{Task: l.task, Op: "open", Path: s.path, Err: err}
	}
	damage, err = c.header(s, file)
	if damage != nil || err != nil {
		return damage, errors.Join(err, file.Close())
	}
	s.file = file
	if n := len(l.files.segments); n > 0 {
		l.files.segments[n-1].end = s.base
		l.files.segments[n-1].newest.trim()
	}
	l.files.segments = append(l.files.segments, s)
	l.tail = s.base + segmentHeader
	for {
		block, damage, err := c.block(s)
		if block == nil {
			return damage, err
		}
		if damage = c.check(block); damage != nil {
			return damage, nil
		}
		c.take(s, block)
	}
}

func (c *scanner) header(s *segment, file file) (damage, err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, c.failed(s, err)
	}
	c.buf, c.from, c.at, c.size = c.buf[:0], 0, 0, info.Size()
	s.file = file
	head, err := c.next(s, segmentHeader)
	s.file = nil
	if err != nil {
		return nil, err
	}
	damage = checkSegmentHeader(head, s.path, c.log.task, s.base)
	c.from += len(head)
	if v := (*VersionError)(nil); errors.As(damage, &v) {
		return nil, v
	}
	return damage, nil
}

func (c *scanner) failed(s *segment, err error) error {
	return &IOError{Task: c.log.task, Op: "read", Path: s.path, Err: err}
}

// next gives the next n bytes, fewer at the end of the file; they stay where they are until used.
func (c *scanner) next(s *segment, n int) ([]byte, error) {
	if have := len(c.buf) - c.from; have < n && c.at < c.size {
		kept := copy(c.buf[:cap(c.buf)], c.buf[c.from:])
		want := max(scanAhead, n)
		if cap(c.buf) < want {
			c.buf = append(make([]byte, 0, want), c.buf[:kept]...)
		}
		c.buf, c.from = c.buf[:kept], 0
		end := kept + int(min(int64(want-kept), c.size-c.at))
		got, err := s.file.ReadAt(c.buf[kept:end], c.at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, c.failed(s, err)
		}
		c.buf = c.buf[:kept+got]
		if c.at += int64(got); errors.Is(err, io.EOF) {
			c.size = c.at
		}
	}
	return c.buf[c.from:min(c.from+n, len(c.buf))], nil
}

// block gives the next block whose checksum is right, nil at the end of the file or of what is whole.
func (c *scanner) block(s *segment) (block []byte, damage, err error) {
	head, err := c.next(s, blockHeader)
	if err != nil || len(head) == 0 {
		return nil, nil, err
	}
	if len(head) < blockHeader || binary.LittleEndian.Uint32(head) != blockMagic {
		return nil, errors.New("no block starts there"), nil
	}
	size := int(binary.LittleEndian.Uint32(head[4:]))
	if size < blockHeader || size > maxBlockSize || size%unit != 0 || binary.LittleEndian.Uint64(head[16:]) != c.log.tail {
		return nil, errors.New("damaged block header"), nil
	}
	block, err = c.next(s, size)
	if err != nil {
		return nil, nil, err
	}
	if len(block) < size {
		return nil, errors.New("unfinished block"), nil
	}
	if crc32.Checksum(block[12:], castagnoli) != binary.LittleEndian.Uint32(block[8:]) {
		return nil, errors.New("checksum mismatch"), nil
	}
	return block, nil, nil
}

// check says what is wrong with a block's content. A right checksum leaves only an error in the
// program that wrote it, or somebody's own hand.
func (c *scanner) check(block []byte) error {
	room := int(binary.LittleEndian.Uint16(block[12:]))
	if blockHeader+16*room > len(block) {
		return errors.New("damaged block header")
	}
	known := len(c.log.sources)
	for b := block[blockHeader+16*room:]; len(b) > 0; b = b[len(c.rec.b):] {
		if !c.rec.load(b) || !c.rec.sound() {
			return errors.New("damaged record")
		}
		source := int(c.rec.Place.Source)
		switch {
		case c.rec.Kind == kindForget:
		case c.rec.Kind != kindSource:
			if source >= known {
				return errors.New("a record of an unknown source")
			}
		case source > known || (source < len(c.log.sources) && !bytes.Equal(c.rec.key(), []byte(c.log.sources[source]))):
			return errors.New("damaged names of sources")
		case source == known:
			known++
		}
	}
	if room > known {
		return errors.New("coverage of an unknown source")
	}
	return nil
}

// take makes a block's records and coverage part of the log.
func (c *scanner) take(s *segment, block []byte) {
	l, r := c.log, &c.rec
	room := int(binary.LittleEndian.Uint16(block[12:]))
	addr := l.tail + uint64(blockHeader+16*room)
	l.tail += uint64(len(block))
	for b := block[blockHeader+16*room:]; len(b) > 0; b = b[len(r.b):] {
		r.load(b)
		if r.Kind == kindSource {
			s.named = max(s.named, int(r.Place.Source)+1)
			if int(r.Place.Source) == len(l.sources) {
				l.sources, l.covered = append(l.sources, string(r.key())), append(l.covered, Coverage{})
			}
		} else {
			tag := userTag(r.key())
			l.index.swap(tag, uint32(addr/unit), l.alive(l.tail))
			l.horizon.note(tag, addr, r.Time)
			s.note(addr, r.Time)
			l.counts.Records++
		}
		addr += uint64(len(r.b))
	}
	for i := range room {
		at := block[blockHeader+16*i:]
		l.covered[i] = Coverage{Applied: int64(binary.LittleEndian.Uint64(at)), Written: int64(binary.LittleEndian.Uint64(at[8:]))}
	}
	c.from += len(block)
}
