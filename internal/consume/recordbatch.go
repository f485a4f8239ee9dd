package consume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// Record batches, format v2: https://kafka.apache.org/documentation/#recordbatch.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	batchOverhead = 12 // base offset and length, which the length does not count
	batchHeader   = 61
	minRecord     = 7 // length, attributes, two deltas, two lengths, header count

	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

var (
	errCorrupt = errors.New("corrupt record batch")
	// errNoRoom says that a batch would unfold to more bytes than are allowed.
	errNoRoom = errors.New("the batch unfolds to more bytes than allowed")
)

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errCorrupt, fmt.Sprintf(format, args...))
}

// batch is the header of one record batch, and the bytes behind it.
type batch struct {
	base, last         int64 // offsets
	crc                uint32
	attributes         uint16
	firstTime, maxTime int64
	producer           int64
	count              int
	checked            []byte // what the checksum covers
	payload            []byte
}

func (b *batch) control() bool       { return b.attributes&attrControl != 0 }
func (b *batch) transactional() bool { return b.attributes&attrTransactional != 0 }
func (b *batch) codec() uint16       { return b.attributes & attrCodec }

// nextBatch reads the header of the batch at the start of set, and gives what follows the batch. A
// set may end in the middle of a batch, since brokers cut at the byte limit: then ok is false.
func nextBatch(set []byte) (b batch, rest []byte, ok bool, err error) {
	if len(set) < batchOverhead {
		return batch{}, nil, false, nil
	}
	be := binary.BigEndian
	b.base = int64(be.Uint64(set))
	length := int(int32(be.Uint32(set[8:])))
	if length < 14 || b.base < 0 {
		return batch{}, nil, false, corrupt("length %d at offset %d", length, b.base)
	}
	if len(set) < batchOverhead+length {
		return batch{}, nil, false, nil
	}
	if magic := set[16]; magic != 2 {
		return batch{}, nil, false, corrupt("message format v%d at offset %d: only v2 (Kafka 0.11 and newer) is read; set the topic's message format to the current one", magic, b.base)
	}
	if length < batchHeader-batchOverhead {
		return batch{}, nil, false, corrupt("length %d at offset %d", length, b.base)
	}
	set, rest = set[:batchOverhead+length], set[batchOverhead+length:]
	b.crc = be.Uint32(set[17:])
	b.attributes = be.Uint16(set[21:])
	delta := int32(be.Uint32(set[23:]))
	b.firstTime = int64(be.Uint64(set[27:]))
	b.maxTime = int64(be.Uint64(set[35:]))
	b.producer = int64(be.Uint64(set[43:]))
	b.count = int(int32(be.Uint32(set[57:])))
	b.checked, b.payload = set[21:], set[batchHeader:]
	if delta < 0 || b.base > math.MaxInt64-int64(delta)-1 {
		return batch{}, nil, false, corrupt("last offset delta %d at offset %d", delta, b.base)
	}
	b.last = b.base + int64(delta)
	if b.count < 0 {
		return batch{}, nil, false, corrupt("%d records at offset %d", b.count, b.base)
	}
	return b, rest, true, nil
}

func (b *batch) verify() error {
	if sum := crc32.Checksum(b.checked, castagnoli); sum != b.crc {
		return corrupt("checksum %08x instead of %08x at offset %d", sum, b.crc, b.base)
	}
	return nil
}

// abortMarker says whether a control batch ends a transaction by aborting it.
func (b *batch) abortMarker() bool {
	r := reader{b: b.payload}
	r.varint() // length
	r.skip(1)  // attributes
	r.varint() // timestamp delta
	r.varint() // offset delta
	key := r.bytes()
	return !r.failed && len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0
}

// reader reads the fields of records from a slice; what it gives points into the slice.
type reader struct {
	b      []byte
	i      int
	failed bool
}

func (r *reader) fail() { r.failed, r.i = true, len(r.b) }

// varint reads a zigzag-encoded number.
func (r *reader) varint() int64 {
	if r.i < len(r.b) {
		if c := r.b[r.i]; c < 0x80 {
			r.i++
			return int64(c>>1) ^ -int64(c&1)
		}
	}
	u, n := binary.Uvarint(r.b[r.i:])
	if n <= 0 {
		r.fail()
		return 0
	}
	r.i += n
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) skip(n int) {
	if n < 0 || n > len(r.b)-r.i {
		r.fail()
		return
	}
	r.i += n
}

// bytes reads a length and that many bytes: nil for length -1, empty but not nil for length 0.
func (r *reader) bytes() []byte {
	n := r.varint()
	if n < 0 {
		if n < -1 {
			r.fail()
		}
		return nil
	}
	if n > int64(len(r.b)-r.i) {
		r.fail()
		return nil
	}
	start := r.i
	r.i += int(n)
	return r.b[start:r.i:r.i]
}

// builder turns the record sets of one partition into chunks. Each fetcher has one.
type builder struct {
	unpack decompressor
	// names keeps the header keys seen, so that they are not allocated for each record.
	names map[string]string
	// maxBatch bounds what one batch may unfold to, in bytes.
	maxBatch int

	active  map[int64]struct{} // producers whose transaction is aborted at this place
	aborted []abortedTxn       // not yet active, in order of first offset
}

const maxNames = 1024

// built is what came of a record set.
type built struct {
	memory  chunkMemory
	records []Record
	offsets []int64 // nil: dense
	next    int64
	// control and abortedRecords count what was dropped.
	control, abortedRecords int
	// err says why the rest of the set was not read; records and next hold up to there.
	err error
	// short says that the set held more than room allowed: the rest is fetched again.
	short bool
}

// build reads the record set of a response from the offset asked for. Batches after the first one that
// holds a message are read only while all that the chunk holds fits room bytes.
//
// The set's buffer belongs to the result, or was put back where nothing of it is needed.
func (bld *builder) build(part *partResponse, room int64) (out built) {
	out.next = part.offset
	if part.set == nil {
		return out
	}
	set := part.set
	part.set = nil
	total, inPlace := bld.survey(set.b, room)
	slab := recordPool.get(total)
	out.memory.records = slab
	out.records = slab.s[:0]
	if inPlace {
		out.memory.buffers = append(out.memory.buffers, set)
	}
	bld.begin(part.aborted)
	headers := headerArena{memory: &out.memory}

	for rest := set.b; ; {
		b, after, ok, err := nextBatch(rest)
		if err != nil || !ok {
			out.err = err
			break
		}
		rest = after
		if b.last < part.offset {
			continue
		}
		if out.next > part.offset && b.base < out.next {
			out.err = corrupt("offset %d comes after %d", b.base, out.next-1)
			break
		}
		if err := bld.add(&b, part.offset, &out, &headers, room-out.memory.bufferBytes()); err != nil {
			if errors.Is(err, errNoRoom) && len(out.records) > 0 {
				out.short = true
			} else {
				out.err = err
			}
			break
		}
		out.next = b.last + 1
	}
	if !inPlace {
		putBuffer(set)
	}
	if len(out.records) == 0 {
		out.memory.freeBuffers(false)
		out.memory.freeRecords()
		out.records = nil
		return out
	}
	out.memory.records.s = out.records
	return out
}

// survey counts the records that the set's batches say they hold, as far as they fit room bytes, and
// says whether any is read in place, that is, not decompressed. The count is bounded by the bytes that
// are there; where a batch unfolds to more records, the slice grows.
func (bld *builder) survey(set []byte, room int64) (records int, inPlace bool) {
	for {
		b, rest, ok, err := nextBatch(set)
		if err != nil || !ok {
			return records, inPlace
		}
		set = rest
		if b.control() {
			continue
		}
		n := min(b.count, len(b.payload))
		if b.codec() == 0 {
			inPlace = true
			n = min(n, len(b.payload)/minRecord)
		}
		if records == 0 || int64(records+n)*recordSize <= room {
			records += n
		}
	}
}

func (bld *builder) begin(aborted []abortedTxn) {
	bld.unpack.begin()
	bld.aborted = aborted
	clear(bld.active)
	for i := 1; i < len(aborted); i++ { // brokers send them in order; an insertion sort costs nothing then
		for j := i; j > 0 && aborted[j].first < aborted[j-1].first; j-- {
			aborted[j], aborted[j-1] = aborted[j-1], aborted[j]
		}
	}
}

// add reads one batch into out, or nothing of it if it gives an error.
func (bld *builder) add(b *batch, from int64, out *built, headers *headerArena, room int64) error {
	if err := b.verify(); err != nil {
		return err
	}
	for len(bld.aborted) > 0 && bld.aborted[0].first <= b.last {
		if bld.active == nil {
			bld.active = map[int64]struct{}{}
		}
		bld.active[bld.aborted[0].producer] = struct{}{}
		bld.aborted = bld.aborted[1:]
	}
	if b.control() {
		out.control++
		if b.abortMarker() {
			delete(bld.active, b.producer)
		}
		return nil
	}
	if _, gone := bld.active[b.producer]; gone && b.transactional() {
		out.abortedRecords += b.count
		return nil
	}
	if b.codec() == 0 && b.count > len(b.payload)/minRecord {
		return corrupt("%d records in %d bytes at offset %d", b.count, len(b.payload), b.base)
	}
	needed := int64(len(out.records)+b.count) * recordSize
	if len(out.records) > 0 && needed > room {
		return errNoRoom
	}
	payload := b.payload
	if codec := b.codec(); codec != 0 {
		limit := int64(bld.maxBatch)
		if len(out.records) > 0 {
			limit = min(limit, room-needed)
		}
		var err error
		if payload, err = bld.unpack.unfold(codec, payload, limit, &out.memory); err != nil {
			return fmt.Errorf("batch at offset %d: %w", b.base, err)
		}
	}
	return bld.parse(b, payload, from, out, headers)
}

// parse reads the records of a batch from its unfolded bytes.
func (bld *builder) parse(b *batch, payload []byte, from int64, out *built, headers *headerArena) error {
	if b.count > len(payload)/minRecord {
		return corrupt("%d records in %d bytes at offset %d", b.count, len(payload), b.base)
	}
	begin := len(out.records)
	records := out.grow(b.count)
	r := reader{b: payload}
	prior := b.base - 1
	for range b.count {
		length := r.varint()
		end := r.i + int(length)
		if length < 0 || length > int64(len(payload)-r.i) {
			return corrupt("record of %d bytes after offset %d", length, prior)
		}
		r.skip(1) // attributes: none are defined
		timeDelta := r.varint()
		offset := b.base + r.varint()
		if offset <= prior || offset > b.last {
			return corrupt("offset %d after %d in a batch up to %d", offset, prior, b.last)
		}
		prior = offset
		records = records[:len(records)+1]
		rec := &records[len(records)-1]
		rec.Offset = offset
		rec.Time = b.time(timeDelta)
		rec.Key = r.bytes()
		rec.Value = r.bytes()
		rec.Headers = nil
		if n := r.varint(); n != 0 {
			rec.Headers = bld.headers(&r, n, headers)
		}
		if r.failed || r.i != end {
			return corrupt("record at offset %d does not have the %d bytes it says", offset, length)
		}
		if offset < from {
			records = records[:len(records)-1]
		}
	}
	if r.i != len(payload) {
		return corrupt("%d bytes after the last record at offset %d", len(payload)-r.i, prior)
	}
	out.records = records
	out.noteOffsets(begin)
	return nil
}

func (b *batch) time(delta int64) int64 {
	t := b.firstTime + delta
	if b.attributes&attrLogAppendTime != 0 {
		t = b.maxTime
	}
	return max(t, -1)
}

// grow gives the records with room for n more; out.records keeps its length.
func (out *built) grow(n int) []Record {
	if cap(out.records)-len(out.records) < n {
		slab := recordPool.get(max(len(out.records)+n, 2*cap(out.records)))
		copy(slab.s, out.records)
		old := out.memory.records
		out.memory.records = slab
		out.records = slab.s[:len(out.records)]
		clear(old.s[:cap(old.s)])
		recordPool.put(old)
	}
	return out.records
}

// noteOffsets keeps the offsets of the records from begin on, where they are not dense.
func (out *built) noteOffsets(begin int) {
	rs := out.records
	if out.offsets == nil {
		dense := true
		for i := begin; i < len(rs) && dense; i++ {
			dense = rs[i].Offset == rs[0].Offset+int64(i)
		}
		if dense {
			return
		}
		out.offsets = make([]int64, 0, cap(rs))
		begin = 0
	}
	for i := begin; i < len(rs); i++ {
		out.offsets = append(out.offsets, rs[i].Offset)
	}
}

func (bld *builder) headers(r *reader, n int64, arena *headerArena) []Header {
	if n < 0 || n > int64(len(r.b)-r.i)/2 {
		r.fail()
		return nil
	}
	hs := arena.take(int(n))
	for i := range hs {
		hs[i].Key = bld.name(r.bytes())
		hs[i].Value = r.bytes()
	}
	return hs
}

func (bld *builder) name(key []byte) string {
	if s, ok := bld.names[string(key)]; ok {
		return s
	}
	s := string(key)
	if len(bld.names) < maxNames && len(s) <= 256 {
		if bld.names == nil {
			bld.names = map[string]string{}
		}
		bld.names[s] = s
	}
	return s
}

// headerArena hands out stretches of pooled header slices.
type headerArena struct {
	memory *chunkMemory
	free   []Header
}

func (a *headerArena) take(n int) []Header {
	if n > len(a.free) {
		slab := headerPool.get(max(n, 256))
		a.memory.headers = append(a.memory.headers, slab)
		a.free = slab.s[:cap(slab.s)]
	}
	hs := a.free[:n:n]
	a.free = a.free[n:]
	return hs
}
