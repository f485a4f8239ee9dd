package event

import "math"

// maxClicked is how many objects one click may name.
const maxClicked = 20

func (m *messageReader) clickedMember(f field, i int) int {
	d := m.d
	switch f {
	case fieldObjectID:
		m.objectID, i = d.bounded(i, ruleObjectIDText, ruleObjectIDLength, 1, maxTextBytes)
	case fieldPosition:
		m.position, i = d.position(i)
	case fieldObjectIDs:
		m.objectIDs, i = d.objectIDs(i, maxClicked)
	case fieldPositions:
		m.positionsAt = i
		m.positions, i = d.readPositions(i)
	}
	return i
}

func (d *Decoder) position(i int) (n int32, next int) {
	wide, next := d.integer(i, rulePositionInteger, rulePositionRange, 1, math.MaxInt32)
	return int32(wide), next
}

// readPositions reads an array of positions: it gives their number and keeps as many as a click
// can have.
func (d *Decoder) readPositions(i int) (n, next int) {
	if i >= len(d.b) || d.b[i] != '[' {
		return 0, d.fail(rulePositionsArray, i)
	}
	i, more := d.open(i+1, ']')
	for more {
		var position int32
		if position, i = d.position(i); i < 0 {
			return 0, -1
		}
		if n < len(d.positions) {
			d.positions[n] = position
		}
		n++
		i, more = d.more(i, ']')
	}
	return n, i
}

// finishClicked puts the one form of a click together.
func (m *messageReader) finishClicked() bool {
	d, ev := m.d, m.ev
	if !m.oneForm(fieldObjectID, fieldObjectIDs, fieldFacets) {
		return false
	}
	if m.seen.has(fieldPosition) && !m.seen.has(fieldObjectID) {
		d.failMissing(rulePositionForm, m.start, "position")
		return false
	}
	if m.seen.has(fieldPositions) && !m.seen.has(fieldObjectIDs) {
		d.failMissing(rulePositionsForm, m.start, "positions")
		return false
	}
	ev.QueryID = d.knownQueryID(ev.QueryID, ev)
	switch {
	case m.objectID != nil:
		ev.Objects = append(ev.Objects, Object{ID: m.objectID, Position: m.position})
	case m.seen.has(fieldPositions) && m.positions != len(m.objectIDs):
		d.failCount(rulePositionsCount, m.positionsAt, m.positions, len(m.objectIDs))
		return false
	default:
		for i, id := range m.objectIDs {
			object := Object{ID: id}
			if m.seen.has(fieldPositions) {
				object.Position = d.positions[i]
			}
			ev.Objects = append(ev.Objects, object)
		}
		for i := range ev.Facets {
			ev.Facets[i].Index = ev.Index
		}
	}
	return true
}
