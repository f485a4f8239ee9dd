package querystore

// horizon knows how new the records below an address are, without reading them: it bounds what a
// record says of those below it in its chain that have left the ring. A record's time comes from a
// client's clock, so some are days or years ahead of their neighbours. Taken at its word, one of
// them would keep all later walks from stopping early. Their users are kept apart instead.
type horizon struct {
	// usual follows the times of the records: the newest that is not ahead; minTime before there were enough.
	usual  int64
	run    int   // records ahead in a row
	runMin int64 // the oldest of them

	// bounds[i] is the newest usual time below the end of the i-th granule after first.
	first  uint64
	bounds []int64

	// ahead is the newest time of a user tag's records ahead of their neighbours.
	ahead map[uint32]int64
}

const (
	// aheadMargin is how much newer than its neighbours a record must be to be kept apart, in milliseconds.
	aheadMargin = int64(3_600_000)
	// newUsual is how many records in a row must be ahead for time to have moved on.
	newUsual = 64
	// maxAhead bounds the users with records ahead (about 3 MB); further ones are taken at their word.
	maxAhead = 1 << 16
	// granule is the address range that shares a bound, in bytes.
	granuleBits = 18
)

func newHorizon() horizon { return horizon{usual: minTime, ahead: map[uint32]int64{}} }

// note takes a record in.
func (h *horizon) note(tag uint32, addr uint64, time int64) {
	switch {
	case time <= h.usual:
		h.run = 0
	case h.usual == minTime || uint64(time)-uint64(h.usual) > uint64(aheadMargin):
		h.stray(tag, time)
	default:
		h.usual, h.run = time, 0
	}
	if g := addr >> granuleBits; len(h.bounds) == 0 || g-h.first >= uint64(len(h.bounds)) {
		h.extend(g)
	}
	h.bounds[len(h.bounds)-1] = h.usual
}

// stray takes in a record that is newer than its neighbours.
func (h *horizon) stray(tag uint32, time int64) {
	if h.run == 0 || time < h.runMin {
		h.runMin = time
	}
	h.run++
	newest, known := h.ahead[tag]
	if h.run >= newUsual {
		h.usual, h.run = h.runMin, 0
	} else if !known && len(h.ahead) >= maxAhead {
		h.usual, h.run = time, 0
	}
	if time > h.usual && (!known || time > newest) {
		h.ahead[tag] = time
	}
}

func (h *horizon) extend(g uint64) {
	if len(h.bounds) == 0 {
		h.first = g
	}
	for g-h.first >= uint64(len(h.bounds)) {
		last := int64(minTime)
		if n := len(h.bounds); n > 0 {
			last = h.bounds[n-1]
		}
		h.bounds = append(h.bounds, last)
	}
}

// newest is at least the newest time of a tag's records at and below an address.
func (h *horizon) newest(tag uint32, addr uint64) int64 {
	newest := int64(minTime)
	if g := addr >> granuleBits; g >= h.first && g-h.first < uint64(len(h.bounds)) {
		newest = h.bounds[g-h.first]
	}
	if len(h.ahead) > 0 {
		if t, ok := h.ahead[tag]; ok && t > newest {
			newest = t
		}
	}
	return newest
}

// forget lets go of what is below an address, and of times ahead that are before the given one.
func (h *horizon) forget(base uint64, before int64) {
	if g := base >> granuleBits; len(h.bounds) > 0 && g > h.first {
		n := min(g-h.first, uint64(len(h.bounds)))
		h.bounds = append(h.bounds[:0], h.bounds[n:]...)
		h.first += n
	}
	for tag, t := range h.ahead {
		if t < before {
			delete(h.ahead, tag)
		}
	}
}

const minTime = -1 << 63
