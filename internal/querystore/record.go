package querystore

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"

	"github.com/cespare/xxhash/v2"
)

// unit is the alignment of everything in the address space of a log, in bytes. Positions and
// distances are kept in units, so that 32 bits of them span 64 GiB.
const unit = 16

// A stored record, little-endian, padded with zeros to a multiple of [unit]:
//
//	 0  u32  size in units (20 bits), flags (4 bits), kind (8 bits)
//	 4  u32  distance in units to the record before it in its chain; 0: none
//	 8  i64  time
//	16  i64  newest time of this record and those below it in its chain, or later
//	24  i64  offset of the message
//	32  u16  source of the message
//	34  u16  ordinal in the message
//	36  u16  length of the user
//	38  u16  length of the queryID as stored
//	40  u16  length of the index
//	42  u16  length of the model
//	44  u16  impression: number of objects; click: length of the objectID
//	46  u16  length of the tags
//	48  user, queryID, [i64 position offset], index, model, tags (u16 length and bytes each),
//	    impression: u32 hash of each object, u8 length−1 of each, their bytes one after another
//	    click: objectID; mark: 16 bytes
//
// A source record has the topic in the place of the user, its number in the place of the source.
const headerSize = 48

// Kinds that never leave the package.
const (
	kindSource Kind = iota + 100
	// kindForget ends the walks of its user: nothing below it in the chain is handed out.
	kindForget
)

const (
	flagHexQueryID = 1 << iota // the queryID is 16 bytes that stand for 32 hexadecimal digits
	flagPositionOffset
)

// maxRecord bounds the size of a record. A shown message of 1,000 objectIDs of 256 bytes needs a quarter of it.
const maxRecord = 1 << 20

// HashObject is the hash by which [Record.Find] looks for an object (xxHash64).
func HashObject(objectID []byte) uint64 { return xxhash.Sum64(objectID) }

// storedHash is the part of an object's hash that records hold.
func storedHash(h uint64) uint32 { return uint32(h >> 32) }

// userTag is the 32-bit tag under which a user's chain is indexed; it is never 0.
func userTag(user []byte) uint32 {
	return max(uint32(xxhash.Sum64(user)>>32), 1)
}

// Record is a view of one stored impression, click or mark. It and everything it lends are valid
// only during the call of the visit function it was handed to.
type Record struct {
	Kind  Kind
	Time  int64 // event time in milliseconds
	Place Place
	// Ordinal is the list's place in its message (impression) or the object's (click).
	Ordinal uint16
	// NewestBelow is at least the largest Time among this record and the user's records that the
	// walk has yet to hand out; it is rarely more. A walk may stop once it is too early to matter.
	NewestBelow int64

	b       []byte
	flags   uint8
	objects uint16
	user    uint32 // end of the user in b
	query   uint32 // end of the queryID
	index   uint32
	model   uint32
	tags    uint32

	hex [32]byte
}

// load points the view at the record that b starts with. It reports false where b is no whole,
// well-formed record; sizes inside are checked up to the tags, see [Record.sound] for the rest.
func (r *Record) load(b []byte) bool {
	if len(b) < headerSize {
		return false
	}
	head := binary.LittleEndian.Uint32(b)
	size := recordSize(head)
	if size > uint32(len(b)) || size < headerSize {
		return false
	}
	r.b = b[:size:size]
	r.Kind, r.flags = Kind(head>>24), uint8(head>>20)&15
	r.Time = int64(binary.LittleEndian.Uint64(b[8:]))
	r.NewestBelow = int64(binary.LittleEndian.Uint64(b[16:]))
	r.Place.Offset = int64(binary.LittleEndian.Uint64(b[24:]))
	r.Place.Source = binary.LittleEndian.Uint16(b[32:])
	r.Ordinal = binary.LittleEndian.Uint16(b[34:])
	r.user = headerSize + uint32(binary.LittleEndian.Uint16(b[36:]))
	r.query = r.user + uint32(binary.LittleEndian.Uint16(b[38:]))
	r.index = r.query + uint32(binary.LittleEndian.Uint16(b[40:]))
	if r.flags&flagPositionOffset != 0 {
		r.index += 8
	}
	r.model = r.index + uint32(binary.LittleEndian.Uint16(b[42:]))
	r.objects = binary.LittleEndian.Uint16(b[44:])
	r.tags = r.model + uint32(binary.LittleEndian.Uint16(b[46:]))
	return r.tags <= size
}

// sound checks what load leaves: whether everything after the tags lies inside the record too.
func (r *Record) sound() bool {
	rest := uint32(len(r.b)) - r.tags
	if r.flags&flagHexQueryID != 0 && r.query-r.user != 16 {
		return false
	}
	switch r.Kind {
	case KindImpression:
		n := uint32(r.objects)
		if rest < 5*n {
			return false
		}
		ids := rest - 5*n
		for _, size := range r.b[r.tags+4*n : r.tags+5*n] {
			if uint32(size)+1 > ids {
				return false
			}
			ids -= uint32(size) + 1
		}
		return ids < unit
	case KindClick:
		return rest >= uint32(r.objects) && rest-uint32(r.objects) < unit
	case KindMark:
		return rest >= 16 && rest-16 < unit
	case kindSource, kindForget:
		return rest < unit
	}
	return false
}

func recordSize(head uint32) uint32 { return head & (1<<20 - 1) * unit }

func (r *Record) key() []byte { return r.b[headerSize:r.user] }

func (r *Record) distance() uint32 { return binary.LittleEndian.Uint32(r.b[4:]) }

// QueryID is the queryID: 32 lower-case hexadecimal digits or a message_ id; nil for a mark.
func (r *Record) QueryID() []byte {
	b := r.b[r.user:r.query:r.query]
	if r.flags&flagHexQueryID != 0 {
		hex.Encode(r.hex[:], b)
		return r.hex[:]
	}
	return orNil(b)
}

// Index is the index, nil if the record has none.
func (r *Record) Index() []byte {
	start := r.query
	if r.flags&flagPositionOffset != 0 {
		start += 8
	}
	return orNil(r.b[start:r.index:r.index])
}

// Model is the impression's model, nil if it has none.
func (r *Record) Model() []byte { return orNil(r.b[r.index:r.model:r.model]) }

// Tags appends the impression's tags to dst. Those that AddImpression left out are missing.
func (r *Record) Tags(dst [][]byte) [][]byte {
	b := r.b[r.model:r.tags]
	for len(b) >= 2 {
		n := int(binary.LittleEndian.Uint16(b))
		if n > len(b)-2 {
			break
		}
		dst, b = append(dst, b[2:2+n:2+n]), b[2+n:]
	}
	return dst
}

// Len is the number of the impression's objects; 0 for other kinds.
func (r *Record) Len() int {
	if r.Kind != KindImpression {
		return 0
	}
	return int(r.objects)
}

// PositionOffset is what is added to an object's place in the list to give its position.
func (r *Record) PositionOffset() int64 {
	if r.flags&flagPositionOffset == 0 {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(r.b[r.query:]))
}

// Find looks for an object, whose [HashObject] is hash, in the impression. Of an object listed
// more than once it gives the first position.
func (r *Record) Find(hash uint64, objectID []byte) (position int64, ok bool) {
	n := r.Len()
	hashes := r.b[r.tags:][:4*n]
	want := storedHash(hash)
	for i := 0; len(hashes) >= 4; i++ {
		if binary.LittleEndian.Uint32(hashes) == want && bytes.Equal(r.ObjectIDAt(i), objectID) {
			return int64(i) + 1 + r.PositionOffset(), true
		}
		hashes = hashes[4:]
	}
	return 0, false
}

// ObjectIDAt is the impression's i-th object, from 0; nil where there is none.
func (r *Record) ObjectIDAt(i int) []byte {
	n := r.Len()
	if i < 0 || i >= n {
		return nil
	}
	sizes := r.b[int(r.tags)+4*n:][:n]
	start := int(r.tags) + 5*n + i
	for _, size := range sizes[:i] {
		start += int(size)
	}
	end := start + int(sizes[i]) + 1
	return r.b[start:end:end]
}

// ObjectID is the clicked object; nil for other kinds.
func (r *Record) ObjectID() []byte {
	if r.Kind != KindClick {
		return nil
	}
	end := r.tags + uint32(r.objects)
	return r.b[r.tags:end:end]
}

// Hash is the mark's hash; zero for other kinds.
func (r *Record) Hash() (h [16]byte) {
	if r.Kind == KindMark {
		copy(h[:], r.b[r.tags:])
	}
	return h
}

func orNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}
