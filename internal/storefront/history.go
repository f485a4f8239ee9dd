package storefront

// newestCount: only so many of a user's newest impressions count, at the time of the event.
const newestCount = 200

// moment is where something stands in a user's history: the event time, then the place in the log,
// then the place in its message, where the first wins.
type moment struct {
	time  int64
	place uint32 // of the message in its partition
	part  uint16 // list or object
}

// before says whether m ranks lower, that is older, than n.
func (m moment) before(n moment) bool {
	if m.time != n.time {
		return m.time < n.time
	}
	if m.place != n.place {
		return m.place < n.place
	}
	return m.part > n.part
}

// impression is a shown list with a queryID.
type impression struct {
	moment
	// sketch has a bit for each object, so that most lists without an object are told at a glance.
	sketch       sketch
	index, model name
	offset       int64
	queryID      string
	objects      []name
}

// sketch is a set of numbers, roughly: those with the same last seven bits are one.
type sketch [2]uint64

func (s *sketch) add(n uint32)      { s[n%2] |= 1 << (n / 2 % 64) }
func (s *sketch) has(n uint32) bool { return s[n%2]>>(n/2%64)&1 > 0 }

// click is a clicked object that ended with a queryID.
type click struct {
	moment
	object  name
	index   name
	queryID string
}

// history is what a user of an application left, each list in order of rank, the newest last.
type history struct {
	impressions []impression
	clicks      []click
}

func (h *history) addImpression(v impression) {
	for _, o := range v.objects {
		v.sketch.add(uint32(o))
	}
	h.impressions = append(h.impressions, v)
	for i := len(h.impressions) - 1; i > 0 && v.before(h.impressions[i-1].moment); i-- {
		h.impressions[i], h.impressions[i-1] = h.impressions[i-1], v
	}
}

func (h *history) addClick(c click) {
	h.clicks = append(h.clicks, c)
	for i := len(h.clicks) - 1; i > 0 && c.before(h.clicks[i-1].moment); i-- {
		h.clicks[i], h.clicks[i-1] = h.clicks[i-1], c
	}
}

// forget drops what is older than the given time. It does so in bulk, to be cheap.
func (h *history) forget(before int64) {
	if n := countBefore(len(h.impressions), func(i int) bool { return h.impressions[i].time < before }); n >= 64 && 2*n >= len(h.impressions) {
		h.impressions = append([]impression(nil), h.impressions[n:]...)
	}
	if n := countBefore(len(h.clicks), func(i int) bool { return h.clicks[i].time < before }); n >= 64 && 2*n >= len(h.clicks) {
		h.clicks = append([]click(nil), h.clicks[n:]...)
	}
}

func countBefore(n int, old func(i int) bool) int {
	for i := range n {
		if !old(i) {
			return i
		}
	}
	return n
}

// wanted is what an event names of the list it came from; nothing named binds nothing.
type wanted struct {
	object, index, model name
	queryID              string
	// below is the place in the log from which on nothing is seen; 0: all is seen.
	below uint32
}

func seen(m moment, below uint32) bool { return below == 0 || m.place < below }

// position is where the impression lists the object, from 1 plus the offset; 0 if it does not.
// The first occurrence counts.
func (v *impression) position(object name) int {
	for i, o := range v.objects {
		if o == object {
			return int(v.offset) + i + 1
		}
	}
	return 0
}

func (v *impression) meets(w wanted) bool {
	return v.sketch.has(uint32(w.object)) &&
		(w.index == 0 || v.index == w.index) &&
		(w.model == 0 || v.model == w.model) &&
		(w.queryID == "" || v.queryID == w.queryID) &&
		v.position(w.object) > 0
}

// newest is the newest impression with a time in [t − window, t] that meets what is wanted, among
// the user's newest 200 at t.
func (h *history) newest(w wanted, t, window int64) *impression {
	if w.object == noName {
		return nil
	}
	counted := 0
	for i := len(h.impressions) - 1; i >= 0 && counted < newestCount; i-- {
		v := &h.impressions[i]
		if v.time > t || !seen(v.moment, w.below) {
			continue
		}
		if v.time < t-window {
			break
		}
		counted++
		if v.meets(w) {
			return v
		}
	}
	return nil
}

// earliestAfter is the earliest impression with a time in (t, t + skew] that meets what is wanted;
// of equal times the higher place, then the first list.
func (h *history) earliestAfter(w wanted, t, skew int64) *impression {
	var best *impression
	for i := len(h.impressions) - 1; i >= 0; i-- {
		v := &h.impressions[i]
		if v.time <= t {
			break
		}
		if v.time > t+skew || !seen(v.moment, w.below) || !v.meets(w) {
			continue
		}
		// Walking down in rank, an equal time means a lower rank: what was found first stays.
		if best == nil || v.time < best.time {
			best = v
		}
	}
	return best
}

// newestClick is the newest remembered click on the object with a time in [t − window, t], of the
// index where one is named, and below the place.
func (h *history) newestClick(object, index name, t, window int64, below uint32) *click {
	for i := len(h.clicks) - 1; i >= 0; i-- {
		c := &h.clicks[i]
		if c.time > t || !seen(c.moment, below) {
			continue
		}
		if c.time < t-window {
			break
		}
		if c.object == object && (index == 0 || c.index == index) {
			return c
		}
	}
	return nil
}
