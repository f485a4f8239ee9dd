package querystore

import (
	"encoding/binary"
	"math"
)

// maxTagBytes bounds what is kept of an impression's tags; those beyond it are left out.
const maxTagBytes = 16 << 10

// layout is what the size of a record follows from.
type layout struct {
	kind                Kind
	flags               uint8
	size                int // of the whole record
	user, query         int // lengths as stored
	index, model, tags  int
	objects, tagsStored int
}

func (y *layout) finish(rest int) error {
	y.size = headerSize + y.user + y.query + y.index + y.model + y.tags + rest
	if y.flags&flagPositionOffset != 0 {
		y.size += 8
	}
	y.size = roundUp(y.size)
	switch {
	case y.user > math.MaxUint16:
		return &RecordError{Field: "user", Size: y.user, Limit: math.MaxUint16}
	case y.query > math.MaxUint16:
		return &RecordError{Field: "queryID", Size: y.query, Limit: math.MaxUint16}
	case y.index > math.MaxUint16:
		return &RecordError{Field: "index", Size: y.index, Limit: math.MaxUint16}
	case y.model > math.MaxUint16:
		return &RecordError{Field: "model", Size: y.model, Limit: math.MaxUint16}
	case y.objects > math.MaxUint16:
		return &RecordError{Field: "objects", Size: y.objects, Limit: math.MaxUint16}
	case y.size > maxRecord:
		return &RecordError{Field: "record", Size: y.size, Limit: maxRecord}
	}
	return nil
}

func roundUp(n int) int { return (n + unit - 1) &^ (unit - 1) }

func (y *layout) queryID(id []byte) {
	y.query = len(id)
	if isHex(id) {
		y.query, y.flags = 16, y.flags|flagHexQueryID
	}
}

func impressionLayout(user []byte, v *Impression) (y layout, err error) {
	y = layout{kind: KindImpression, user: len(user), index: len(v.Index), model: len(v.Model), objects: len(v.ObjectIDs)}
	y.queryID(v.QueryID)
	if v.PositionOffset != 0 {
		y.flags |= flagPositionOffset
	}
	for _, tag := range v.Tags {
		if y.tags+2+len(tag) > maxTagBytes {
			break
		}
		y.tags += 2 + len(tag)
		y.tagsStored++
	}
	rest := 5 * len(v.ObjectIDs)
	for _, id := range v.ObjectIDs {
		if uint(len(id)-1) > math.MaxUint8 {
			return y, &RecordError{Field: "objectID", Size: len(id), Limit: math.MaxUint8 + 1}
		}
		rest += len(id)
	}
	return y, y.finish(rest)
}

func clickLayout(user []byte, v *Click) (y layout, err error) {
	y = layout{kind: KindClick, user: len(user), index: len(v.Index), objects: len(v.ObjectID)}
	y.queryID(v.QueryID)
	return y, y.finish(len(v.ObjectID))
}

// put writes everything of the header but the chain, and gives what comes after it.
func (y *layout) put(dst []byte, time int64, place Place, ordinal uint16) []byte {
	binary.LittleEndian.PutUint64(dst[len(dst)-16:], 0) // the padding
	binary.LittleEndian.PutUint64(dst[len(dst)-8:], 0)
	binary.LittleEndian.PutUint32(dst, uint32(y.size/unit)|uint32(y.flags)<<20|uint32(y.kind)<<24)
	binary.LittleEndian.PutUint64(dst[8:], uint64(time))
	binary.LittleEndian.PutUint64(dst[24:], uint64(place.Offset))
	binary.LittleEndian.PutUint16(dst[32:], place.Source)
	binary.LittleEndian.PutUint16(dst[34:], ordinal)
	binary.LittleEndian.PutUint16(dst[36:], uint16(y.user))
	binary.LittleEndian.PutUint16(dst[38:], uint16(y.query))
	binary.LittleEndian.PutUint16(dst[40:], uint16(y.index))
	binary.LittleEndian.PutUint16(dst[42:], uint16(y.model))
	binary.LittleEndian.PutUint16(dst[44:], uint16(y.objects))
	binary.LittleEndian.PutUint16(dst[46:], uint16(y.tags))
	return dst[headerSize:]
}

// link writes what ties a record to its chain.
func link(dst []byte, distance uint32, newest int64) {
	binary.LittleEndian.PutUint32(dst[4:], distance)
	binary.LittleEndian.PutUint64(dst[16:], uint64(newest))
}

func (y *layout) putQueryID(dst, id []byte) []byte {
	if y.flags&flagHexQueryID == 0 {
		return dst[copy(dst, id):]
	}
	for i := range 16 {
		dst[i] = digit[id[2*i]]<<4 | digit[id[2*i+1]]
	}
	return dst[16:]
}

func (y *layout) putImpression(dst, user []byte, v *Impression) {
	dst = y.put(dst, v.Time, v.Place, v.List)
	dst = dst[copy(dst, user):]
	dst = y.putQueryID(dst, v.QueryID)
	if y.flags&flagPositionOffset != 0 {
		binary.LittleEndian.PutUint64(dst, uint64(v.PositionOffset))
		dst = dst[8:]
	}
	dst = dst[copy(dst, v.Index):]
	dst = dst[copy(dst, v.Model):]
	for _, tag := range v.Tags[:y.tagsStored] {
		binary.LittleEndian.PutUint16(dst, uint16(len(tag)))
		dst = dst[2+copy(dst[2:], tag):]
	}
	n := len(v.ObjectIDs)
	hashes, sizes, ids := dst[:4*n], dst[4*n:5*n], dst[5*n:]
	for i, id := range v.ObjectIDs {
		binary.LittleEndian.PutUint32(hashes[4*i:], storedHash(HashObject(id)))
		sizes[i] = uint8(len(id) - 1)
		ids = ids[copy(ids, id):]
	}
}

func (y *layout) putClick(dst, user []byte, v *Click) {
	dst = y.put(dst, v.Time, v.Place, v.Object)
	dst = dst[copy(dst, user):]
	dst = y.putQueryID(dst, v.QueryID)
	dst = dst[copy(dst, v.Index):]
	copy(dst, v.ObjectID)
}

func (y *layout) putMark(dst, user []byte, v *Mark) {
	dst = y.put(dst, v.Time, v.Place, 0)
	dst = dst[copy(dst, user):]
	copy(dst, v.Hash[:])
}

// digit gives the value of a lower-case hexadecimal digit, 0xff for any other byte.
var digit = func() (d [256]uint8) {
	for i := range d {
		d[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		d[c] = uint8(i)
	}
	return d
}()

func isHex(id []byte) bool {
	if len(id) != 32 {
		return false
	}
	var all uint8
	for _, c := range id {
		all |= digit[c]
	}
	return all < 16
}
