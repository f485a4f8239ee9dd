package reference

import "eventworker/internal/event"

// A view is what a message sees of the log: of each source the records before an offset.
type view struct {
	seen  []int // for impressions
	heard []int // for clicks
}

func (v view) wider(o view) (w view, grew bool) {
	w = view{make([]int, len(v.seen)), make([]int, len(v.heard))}
	for s := range v.seen {
		w.seen[s], w.heard[s] = max(v.seen[s], o.seen[s]), max(v.heard[s], o.heard[s])
		grew = grew || w.seen[s] > v.seen[s] || w.heard[s] > v.heard[s]
	}
	return w, grew
}

// reached is the first step, not before from, at which every source that counts was read to a record at or
// after t, or is at its end; where ends need a tick, a source at its end counts with a tick only.
func (j *joiner) reached(from int, t int64, counts func(Source) bool, needsTick bool) int {
	for s := from; s < len(j.in.Steps); s++ {
		ready, ends := true, false
		for p, source := range j.in.Sources {
			if !counts(source) {
				continue
			}
			if first := j.firstAt(p, t); first >= 0 && first < j.read[s][p] {
				continue
			}
			ends = true
			ready = ready && j.ended[s][p]
		}
		if ready && (!ends || !needsTick || j.in.Steps[s].Kind == Tick) {
			return s
		}
	}
	return -1
}

// firstAt is the offset of the source's first record at or after t, or -1.
func (j *joiner) firstAt(source int, t int64) int {
	for _, m := range j.messages[source] {
		if m.moves && m.time >= t {
			return m.id.Offset
		}
	}
	return -1
}

// cut is what the message sees when the sources were read to t, at a step: of each source what was read
// until its first record at or after t, of its own also itself.
func (j *joiner) cut(m *message, t int64, step int) view {
	v := view{make([]int, len(j.in.Sources)), make([]int, len(j.in.Sources))}
	for p := range j.in.Sources {
		read := j.read[step][p]
		v.seen[p], v.heard[p] = read, read
		if first := j.firstAt(p, t); first >= 0 && first < read {
			v.seen[p], v.heard[p] = first+1, first+1
		}
		if p == m.id.Source {
			v.seen[p], v.heard[p] = max(v.seen[p], m.id.Offset+1), max(v.heard[p], m.id.Offset)
		}
	}
	return v
}

// concerned says which sources a message waits for: the shown ones, and an item the clicked ones as well.
func (j *joiner) concerned(m *message) func(Source) bool {
	return func(s Source) bool { return s.Shown || m.typ != event.Clicked && j.usesClicks() && s.Clicked }
}

// waitedFor is the step at which the last of the user's earlier clicks in the view is decided.
func (j *joiner) waitedFor(m *message, v view) (decided int) {
	for p := range j.messages {
		for _, c := range j.messages[p] {
			if c.typ == event.Clicked && c.id.Offset < v.heard[p] && j.sameUser(c, m) && c.time <= m.time {
				j.decide(c)
				decided = max(decided, c.step)
			}
		}
	}
	return decided
}

func (j *joiner) sameUser(a, b *message) bool { return a.appName == b.appName && a.user == b.user }
