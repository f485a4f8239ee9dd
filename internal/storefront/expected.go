package storefront

import (
	"cmp"
	"slices"

	"eventworker/internal/insightsfake"
)

// expectation says that an event of this digest must come of this message; an event that a message
// gives twice is there twice.
type expectation struct {
	digest insightsfake.Digest
	seq    uint32
}

func compareExpectations(a, b expectation) int {
	if a.digest.Hi != b.digest.Hi {
		return cmp.Compare(a.digest.Hi, b.digest.Hi)
	}
	return cmp.Or(cmp.Compare(a.digest.Lo, b.digest.Lo), cmp.Compare(a.seq, b.seq))
}

// expectations hold 24 bytes an event, in as many lists as a byte has values, so that growing one of
// them costs little.
type expectations struct {
	lists [256][]expectation
}

// expect makes room for the events of so many messages, of a million at most.
func (e *expectations) expect(messages uint64) {
	room := min(messages, 1<<20) * 3 / 2 / uint64(len(e.lists))
	for i := range e.lists {
		e.lists[i] = make([]expectation, 0, room+room/8)
	}
}

func (e *expectations) list(d insightsfake.Digest) *[]expectation { return &e.lists[d.Hi>>56] }

func (e *expectations) add(d insightsfake.Digest, seq uint32) {
	l := e.list(d)
	*l = append(*l, expectation{d, seq})
}

func (e *expectations) seal() {
	for i := range e.lists {
		slices.SortFunc(e.lists[i], compareExpectations)
	}
}

// of are the expectations of one digest.
func (e *expectations) of(d insightsfake.Digest) []expectation {
	l := *e.list(d)
	from, _ := slices.BinarySearchFunc(l, expectation{digest: d}, compareExpectations)
	to := from
	for to < len(l) && l[to].digest == d {
		to++
	}
	return l[from:to]
}

func (e *expectations) len() (n int) {
	for i := range e.lists {
		n += len(e.lists[i])
	}
	return n
}
