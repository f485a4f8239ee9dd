package join

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Replayed is what is known of a message that is read for a second time, because it had become a dead letter.
type Replayed struct {
	// Topic, Partition and Offset are where it was read first. It is de-duplicated on them, whatever its
	// type and id.
	Topic     string
	Partition int32
	Offset    int64
	// Time is the timestamp of the replayed record itself, in milliseconds; the message has that of its first life.
	Time int64
	// Resolved is what the join found then, used as it is. Objects that are not in it are looked up.
	Resolved []Resolved
	// Parts are the objects that were not delivered, in rising order: only they are sent. Empty: all are.
	// Facets of a message that shows objects, too, count on from its objects.
	Parts []int
}

// key is the hash of a replayed message's source coordinates.
func (r *Replayed) key() (key claimKey) {
	var place [12]byte
	binary.LittleEndian.PutUint32(place[:], uint32(r.Partition))
	binary.LittleEndian.PutUint64(place[4:], uint64(r.Offset))
	var d xxhash.Digest
	for seed := range uint64(2) {
		d.ResetWithSeed(seed)
		_, _ = d.WriteString("replay\x00")
		_, _ = d.WriteString(r.Topic)
		_, _ = d.Write([]byte{0})
		_, _ = d.Write(place[:])
		binary.LittleEndian.PutUint64(key[8*seed:], d.Sum64())
	}
	return key
}

// sends says whether object i of the message is to be sent: of a replayed one what was delivered is not.
func (f *frame[M]) sends(i int) bool {
	r := f.msg.Replay
	if r == nil || len(r.Parts) == 0 {
		return true
	}
	_, found := slices.BinarySearch(r.Parts, i)
	return found
}

// resolveAgain takes what an earlier life of the message found for object i, and says whether there is
// nothing to look up.
func (f *frame[M]) resolveAgain(i int, r *resolved) bool {
	if f.msg.Replay == nil {
		return false
	}
	if r.done = !f.sends(i); r.done {
		return true
	}
	k := slices.IndexFunc(f.msg.Replay.Resolved, func(a Resolved) bool { return a.Object == i })
	if k < 0 {
		return false
	}
	a := &f.msg.Replay.Resolved[k]
	r.again, r.queryID = true, nil
	if a.QueryID != "" {
		r.queryID = []byte(a.QueryID)
	}
	if a.Index != "" {
		r.index = []byte(a.Index)
	}
	if a.Position > 0 {
		r.position = a.Position
	}
	return true
}

// dedupes says whether copies of the frame's message are recognised, and by what.
func (t *Task[M]) dedupes() bool {
	f := t.f
	return f.msg.Replay != nil || f.ev.ID != nil && t.rules.dedupe[f.ev.Type]
}

// shownOnce sends the views of a shown message, unless a copy of it was delivered before. Impressions of
// copies are stored regardless.
func (t *Task[M]) shownOnce() error {
	if t.claim() {
		return nil
	}
	t.lookup.reset(t.f.at)
	t.askMark()
	if err := t.lookup.run(t.section, t.f.user); err != nil {
		return err
	}
	if t.lookup.marked {
		t.copied()
		return nil
	}
	f := t.f
	if f.resolved = f.resolved[:0]; !t.rules.apps[f.app].lacksIndex(&f.ev) {
		if err := t.remark(); err != nil {
			return err
		}
	}
	t.shown()
	return nil
}

// askMark asks whether a copy of the frame's message was delivered before.
func (t *Task[M]) askMark() {
	if f := t.f; f.claimed {
		t.lookup.wantMark, t.lookup.markAnyTime = true, f.msg.Replay != nil
		t.lookup.mark = t.claims.holder[f.m].key
	}
}

// markTime is the time of the mark that a delivered message leaves. That of a replayed one must outlive
// the message's own time, which may be long past.
func (f *frame[M]) markTime() int64 {
	if r := f.msg.Replay; r != nil {
		return max(f.at, r.Time)
	}
	return f.at
}
