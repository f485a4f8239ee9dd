package join

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"eventworker/internal/querystore"
)

// claimKey is a hash of (application, userToken, type, id), or of where a replayed message was read first.
type claimKey [16]byte

// A claim is held by the first message of an id that is in flight: copies wait for its outcome.
type claim[M any] struct {
	key    claimKey
	at     int64
	time   int64 // of the mark it will leave
	replay bool  // copies are copies whatever their time
	place  querystore.Place
	user   []byte
	copies []copied[M]
	src    *source
	slot   int
	// older is the claim of a message of the same id whose window this one lies outside of.
	older *claim[M]
}

// near says whether a time lies in the window of the claim, or of a copy that waits for its outcome: that
// may be the next first.
func (c *claim[M]) near(at, window int64) bool {
	return within(at, c.at, window) || slices.ContainsFunc(c.copies, func(o copied[M]) bool { return within(at, o.at, window) })
}

func within(a, b, window int64) bool { return a-b <= window && b-a <= window }

type copied[M any] struct {
	m        M
	src      *source
	at       int64
	seen     int64
	restores bool
	slot     int
}

// claims are the ids in flight. Their number is bounded by the messages in flight.
type claims[M comparable] struct {
	first   map[claimKey]*claim[M]
	holder  map[M]*claim[M]
	ready   []copied[M] // copies that go their own way
	free    []*claim[M]
	waiting int
}

// claim takes the message's id, or lets it wait behind the message that has it.
func (t *Task[M]) claim() (waits bool) {
	f := t.f
	if !t.dedupes() {
		return false
	}
	if t.claims.holder[f.m] != nil {
		f.claimed = true // a second try after an error of the store
		return false
	}
	if f.slot < 0 {
		f.slot = f.src.open(f.msg.Offset)
	}
	key := f.claimKey()
	for c := t.claims.first[key]; c != nil; c = c.older {
		if f.msg.Replay == nil && !c.near(f.at, t.rules.dedupeWindow) {
			continue
		}
		t.keep()
		c.copies = append(c.copies, copied[M]{f.m, f.src, f.at, f.seen, f.restores(), f.slot})
		t.claims.waiting++
		return true
	}
	c := &claim[M]{}
	if n := len(t.claims.free); n > 0 {
		c, t.claims.free = t.claims.free[n-1], t.claims.free[:n-1]
	}
	c.key, c.at, c.time, c.place, c.src, c.slot = key, f.at, f.markTime(), f.place(), f.src, f.slot
	c.replay = f.msg.Replay != nil
	c.user = append(c.user[:0], f.user...)
	c.older = t.claims.first[key]
	t.claims.first[key] = c
	t.claims.holder[f.m] = c
	f.claimed = true
	return false
}

func (f *frame[M]) claimKey() (key claimKey) {
	if f.msg.Replay != nil {
		return f.msg.Replay.key()
	}
	var d xxhash.Digest
	for seed := range uint64(2) {
		d.ResetWithSeed(seed)
		_, _ = d.Write(f.user)
		_, _ = d.Write([]byte{0, byte(f.ev.Type)})
		_, _ = d.Write(f.ev.ID)
		binary.LittleEndian.PutUint64(key[8*seed:], d.Sum64())
	}
	return key
}

// Outcome tells what became of a message that was Encoded with a claim: delivered as a whole, or
// not. After an error of the store the caller may call it again.
func (t *Task[M]) Outcome(m M, delivered bool) error {
	c := t.claims.holder[m]
	if c == nil {
		return t.copies() // a second try: the claim is settled, copies may be left
	}
	if delivered {
		if err := t.leaveMark(c); err != nil {
			return err
		}
	}
	t.drop(m, c, delivered)
	return t.copies()
}

func (t *Task[M]) leaveMark(c *claim[M]) error {
	mark := &t.effects.mark
	*mark = querystore.Mark{Time: c.time, Place: c.place, Hash: c.key}
	err := t.section.AddMark(t.lookup.markKey(c.user, &mark.Hash), mark)
	t.ahead.unsaved = t.ahead.unsaved || err == nil
	return err
}

// remark makes the mark of a message that is read for its effects: below the frontier a message
// that could be sent counts as delivered, so that no copy of it is sent again.
//
// Of a replayed message that is not said: it may have been dead once more, and a mark would swallow the next
// replay of it.
func (t *Task[M]) remark() error {
	f := t.f
	if f.msg.Replay != nil && f.restores() {
		t.unclaim()
		return nil
	}
	if !f.claimed || !f.restores() || t.lacking() >= 0 || t.unmatched() {
		return nil
	}
	c := t.claims.holder[f.m]
	if err := t.leaveMark(c); err != nil {
		return err
	}
	f.claimed = false
	t.drop(f.m, c, true)
	return nil
}

// unclaim gives the frame's claim back: its message was not delivered.
func (t *Task[M]) unclaim() {
	if f := t.f; f.claimed {
		f.claimed = false
		t.drop(f.m, t.claims.holder[f.m], false)
	}
}

// drop ends a claim. Copies of a delivered message that lie in its window are absorbed, others go their own way.
func (t *Task[M]) drop(m M, c *claim[M], delivered bool) {
	delete(t.claims.holder, m)
	t.unlink(c)
	c.src.shut(c.slot)
	if delivered {
		for _, copied := range c.copies {
			if !c.replay && !within(copied.at, c.at, t.rules.dedupeWindow) {
				t.claims.ready = append(t.claims.ready, copied)
				continue
			}
			t.claims.waiting--
			copied.src.shut(copied.slot)
			if copied.restores {
				t.out.Restored(copied.m)
			} else {
				t.out.Absorbed(copied.m, Duplicate)
			}
		}
	} else {
		t.claims.ready = append(t.claims.ready, c.copies...)
	}
	clear(c.copies)
	c.copies = c.copies[:0]
	if len(t.claims.free) < 1024 {
		t.claims.free = append(t.claims.free, c)
	}
}

// unlink takes a claim out of those of its id.
func (t *Task[M]) unlink(c *claim[M]) {
	newest := t.claims.first[c.key]
	switch {
	case newest != c:
		for newest.older != c {
			newest = newest.older
		}
		newest.older = c.older
	case c.older == nil:
		delete(t.claims.first, c.key)
	default:
		t.claims.first[c.key] = c.older
	}
	c.older = nil
}

// copies starts those that go their own way.
func (t *Task[M]) copies() error {
	for len(t.claims.ready) > 0 {
		next := t.claims.ready[0]
		f := t.again
		f.m, f.src, f.waited, f.expired, f.claimed, f.kept, f.seen, f.slot = next.m, next.src, nil, false, false, true, next.seen, next.slot
		if err := t.over(f, t.first); err != nil {
			return err
		}
		t.claims.ready = t.claims.ready[1:]
		t.claims.waiting--
	}
	return nil
}
