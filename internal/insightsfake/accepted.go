package insightsfake

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync"
)

// Accepted is the multiset of events that a [Server] with [Options.Keep]
// accepted: how often each digest came. It is safe for concurrent use and shows
// what has been accepted so far; it stays empty without Keep.
type Accepted struct {
	mu       sync.Mutex
	shards   [shardCount]shard
	total    int64
	distinct int64
}

// A table is split so that growing copies a small part of it only.
const shardCount = 64

// shard is an open-addressing table with linear probing: 20 bytes a slot and
// no pointers, so the garbage collector does not look inside. A count of 0 is a
// free slot.
type shard struct {
	digests []Digest
	counts  []uint32
	used    int
}

// Total is the number of accepted events, repeats included.
func (a *Accepted) Total() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// Distinct is the number of different events.
func (a *Accepted) Distinct() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.distinct
}

// Count is how often an event with this digest was accepted.
func (a *Accepted) Count(d Digest) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.shard(d)
	if i, ok := s.find(d); ok {
		return int(s.counts[i])
	}
	return 0
}

// Each calls f for each different event, in no particular order. f may call
// the other methods. What is accepted meanwhile may or may not be seen.
func (a *Accepted) Each(f func(d Digest, count int)) {
	var part shard
	for i := range a.shards {
		a.mu.Lock()
		part.digests = append(part.digests[:0], a.shards[i].digests...)
		part.counts = append(part.counts[:0], a.shards[i].counts...)
		a.mu.Unlock()
		for j, n := range part.counts {
			if n > 0 {
				f(part.digests[j], int(n))
			}
		}
	}
}

func (a *Accepted) add(digests []Digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total += int64(len(digests))
	for _, d := range digests {
		if a.shard(d).add(d) {
			a.distinct++
		}
	}
}

func (a *Accepted) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shards = [shardCount]shard{}
	a.total, a.distinct = 0, 0
}

func (a *Accepted) shard(d Digest) *shard { return &a.shards[d.Hi%shardCount] }

// find gives the slot that holds d, or else the free one where it belongs.
func (s *shard) find(d Digest) (int, bool) {
	if len(s.counts) == 0 {
		return 0, false
	}
	start, _ := bits.Mul64(d.Lo, uint64(len(s.counts)))
	for i := int(start); ; i++ {
		if i == len(s.counts) {
			i = 0
		}
		if s.counts[i] == 0 {
			return i, false
		}
		if s.digests[i] == d {
			return i, true
		}
	}
}

// add counts d and reports whether it is new.
func (s *shard) add(d Digest) bool {
	i, ok := s.find(d)
	if ok {
		if s.counts[i] < math.MaxUint32 {
			s.counts[i]++
		}
		return false
	}
	if s.used*8 >= len(s.counts)*7 {
		s.grow()
		i, _ = s.find(d)
	}
	s.digests[i], s.counts[i] = d, 1
	s.used++
	return true
}

// grow makes room for half as much again.
func (s *shard) grow() {
	old := *s
	size := max(16, len(old.counts)*3/2)
	s.digests, s.counts = make([]Digest, size), make([]uint32, size)
	for j, n := range old.counts {
		if n > 0 {
			i, _ := s.find(old.digests[j])
			s.digests[i], s.counts[i] = old.digests[j], n
		}
	}
}

// The listing of GET /accepted: the mark, then for each different event 16
// bytes of digest and 4 of count, big-endian, then an entry of count 0 whose
// digest is the number of entries before it. Without that end it was cut off.
const (
	listingMark  = "insights-accepted-1\n"
	listingEntry = 20
	listingType  = "application/octet-stream"
)

// WriteTo writes the listing that [ReadAccepted] reads.
func (a *Accepted) WriteTo(w io.Writer) (int64, error) {
	out := &countingWriter{w: w}
	b := bufio.NewWriterSize(out, 64<<10)
	b.WriteString(listingMark) // bufio keeps the first error for Flush
	var entry [listingEntry]byte
	put := func(d Digest, count uint32) {
		binary.BigEndian.PutUint64(entry[0:], d.Hi)
		binary.BigEndian.PutUint64(entry[8:], d.Lo)
		binary.BigEndian.PutUint32(entry[16:], count)
		b.Write(entry[:])
	}
	entries := uint64(0)
	a.Each(func(d Digest, count int) {
		put(d, uint32(count))
		entries++
	})
	put(Digest{Lo: entries}, 0)
	err := b.Flush()
	return out.n, err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// ReadAccepted reads the answer of GET /accepted of another process. It holds
// all of it in memory. A listing that was cut off, or is none, is an error.
func ReadAccepted(r io.Reader) (map[Digest]uint32, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	var mark [len(listingMark)]byte
	if _, err := io.ReadFull(b, mark[:]); err != nil {
		return nil, fmt.Errorf("accepted events: %w", cutOff(err))
	}
	if string(mark[:]) != listingMark {
		return nil, errors.New("accepted events: not a listing of accepted events, or of another version")
	}
	all := make(map[Digest]uint32)
	for {
		var entry [listingEntry]byte
		if _, err := io.ReadFull(b, entry[:]); err != nil {
			return nil, fmt.Errorf("accepted events, after %d entries: %w", len(all), cutOff(err))
		}
		d := Digest{binary.BigEndian.Uint64(entry[0:]), binary.BigEndian.Uint64(entry[8:])}
		count := binary.BigEndian.Uint32(entry[16:])
		if count == 0 {
			if d != (Digest{Lo: uint64(len(all))}) {
				return nil, fmt.Errorf("accepted events: the end speaks of %d entries, there were %d", d.Lo, len(all))
			}
			return all, nil
		}
		all[d] = count
	}
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
