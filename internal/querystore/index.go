package querystore

// userIndex finds the newest record of a user: an open-addressing table of a 32-bit tag and a
// 32-bit position in units. It holds no pointers, so the garbage collector does not look into it.
// Users whose tags are equal share a chain; records hold the user, so a walk can tell them apart.
//
// A table is filled to at most 4/5 and then replaced by one that is 8/15 full: 10 to 15 bytes a
// user. Entries move to the new table a few at a time as records are added; those whose records
// are gone are left behind. Only the count of living entries looks at the whole table at once
// (about 1 ms per million).
type userIndex struct {
	slots []uint64 // tag in the upper half, position in the lower; 0 is free
	n     int      // used slots
	limit int      // n at which the table is replaced

	old  []uint64 // the table being replaced, nil if none is
	next int      // the first slot of old that has not been moved
}

const (
	minIndexSlots = 1024
	// movedAtOnce is how many slots of the old table are moved with each record. While they move,
	// at most 1/8 as many users come in as the old table has slots.
	movedAtOnce = 8
)

func newUserIndex() userIndex { return newUserIndexFor(minIndexSlots) }

func newUserIndexFor(slots int) userIndex {
	return userIndex{slots: make([]uint64, slots), limit: slots / 5 * 4}
}

// find gives the slot of a tag, or the free slot where it belongs.
func find(slots []uint64, tag uint32) int {
	i := int(uint64(tag) * uint64(len(slots)) >> 32)
	for {
		s := slots[i]
		if s == 0 || s>>32 == uint64(tag) {
			return i
		}
		if i++; i == len(slots) {
			i = 0
		}
	}
}

// get gives the position of a tag.
func (x *userIndex) get(tag uint32) (position uint32, ok bool) {
	if s := x.slots[find(x.slots, tag)]; s != 0 {
		return uint32(s), true
	}
	if x.old != nil {
		s := x.old[find(x.old, tag)]
		return uint32(s), s != 0
	}
	return 0, false
}

// swap sets the position of a tag and gives the one it had. alive bounds what is kept when the
// table is replaced.
func (x *userIndex) swap(tag, position uint32, alive span) (before uint32, ok bool) {
	i := find(x.slots, tag)
	s := x.slots[i]
	x.slots[i] = uint64(tag)<<32 | uint64(position)
	if s == 0 {
		x.n++
		if x.old != nil {
			s = x.old[find(x.old, tag)]
		}
	}
	if x.old != nil {
		x.move(movedAtOnce, alive)
	}
	if x.n >= x.limit {
		x.replace(alive)
	}
	return uint32(s), s != 0
}

// span is the living part of the address space in units: size units that end at end, modulo 2³².
type span struct{ end, size uint32 }

func (a span) holds(position uint32) bool { return a.end-position-1 < a.size }

// replace starts a new table, of the size that the living entries need.
func (x *userIndex) replace(alive span) {
	if x.old != nil {
		x.move(len(x.old), alive)
	}
	living := 0
	for _, s := range x.slots {
		if s != 0 && alive.holds(uint32(s)) {
			living++
		}
	}
	whileMoving := living + len(x.slots)/movedAtOnce + 1
	fresh := newUserIndexFor(max(minIndexSlots, living/8*15, whileMoving/4*5+10))
	fresh.old = x.slots
	*x = fresh
}

// move carries up to n slots over from the old table.
func (x *userIndex) move(n int, alive span) {
	end := min(x.next+n, len(x.old))
	for _, s := range x.old[x.next:end] {
		if s == 0 || !alive.holds(uint32(s)) {
			continue
		}
		if i := find(x.slots, uint32(s>>32)); x.slots[i] == 0 {
			x.slots[i] = s
			x.n++
		}
	}
	if x.next = end; end == len(x.old) {
		x.old, x.next = nil, 0
	}
}

// users is about the number of indexed users, some of whom may be gone: exact but for the time in
// which the table is replaced.
func (x *userIndex) users() int { return x.n + (len(x.old)-x.next)*4/5 }

func (x *userIndex) bytes() int { return 8 * (len(x.slots) + len(x.old)) }
