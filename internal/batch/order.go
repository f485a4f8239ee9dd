package batch

import (
	"cmp"
	"slices"
)

// indexBits is how much of a sorting key is the entry's place; the rest is its time.
const indexBits = 24

// arrange brings the entries of b into stable time order by building the body once more in scratch
// and exchanging the two buffers. keys is memory for sorting, used again by the caller.
func (b *Batch[R]) arrange(scratch *Batch[R], keys []uint64) []uint64 {
	keys = sortedPlaces(b.Entries, keys)
	scratch.buf = slices.Grow(scratch.buf, len(b.buf))
	scratch.Entries = slices.Grow(scratch.Entries, len(b.Entries))
	for _, k := range keys {
		e := &b.Entries[k&(1<<indexBits-1)]
		scratch.add(b.buf[e.Start:e.End], e)
	}
	b.buf, scratch.buf = scratch.buf, b.buf
	b.Entries, scratch.Entries = scratch.Entries, b.Entries
	return keys
}

// sortedPlaces returns the places of the entries in stable time order, in the low bits of each key.
// Sorting plain numbers is several times faster than sorting entries by a function.
func sortedPlaces[R any](entries []Entry[R], keys []uint64) []uint64 {
	first, last := entries[0].Time, entries[0].Time
	for i := range entries {
		first, last = min(first, entries[i].Time), max(last, entries[i].Time)
	}
	keys = keys[:0]
	if uint64(last)-uint64(first) >= 1<<(64-indexBits) {
		return farPlaces(entries, keys)
	}
	for i := range entries {
		keys = append(keys, uint64(entries[i].Time-first)<<indexBits|uint64(i))
	}
	slices.Sort(keys)
	return keys
}

// farPlaces does the same for times that are more than 34 years apart.
func farPlaces[R any](entries []Entry[R], keys []uint64) []uint64 {
	for i := range entries {
		keys = append(keys, uint64(i))
	}
	slices.SortStableFunc(keys, func(x, y uint64) int { return cmp.Compare(entries[x].Time, entries[y].Time) })
	return keys
}
