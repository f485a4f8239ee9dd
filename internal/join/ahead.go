package join

import (
	"bytes"
	"math"
	"slices"

	"eventworker/internal/event"
	"eventworker/internal/querystore"
)

// ahead reads the records that the next messages will ask for from a store across a network, many in one
// round trip. It serves speed only: what it does not foresee is read by itself.
type ahead[M comparable] struct {
	remote querystore.Remote // nil: the store is here, and nothing is read ahead
	frame  *frame[M]
	arena  []byte
	keys   [][]byte
	due    []*held[M] // scratch
	// left is how many waiting messages may be decided before the next ones are read ahead.
	left    int
	unsaved bool // something was added, or covered, since the last Flush
}

// ReadAhead is how many messages the caller may announce to [Task.Prefetch] at once, and how many waiting
// messages are read ahead with them. It bounds the memory that their records take.
const ReadAhead = 512

// Remote says whether the section lies across a network: then the caller calls Prefetch before each
// ReadAhead messages of a chunk, and EndChunk after them, and hands nothing on before that has succeeded.
func (t *Task[M]) Remote() bool { return t.ahead.remote != nil }

// Prefetch announces the next n records of source i. It does nothing for a section that is here. After an
// error the caller calls it again.
func (t *Task[M]) Prefetch(i, n int, record func(k int) Message) error {
	if t.ahead.remote == nil {
		return nil
	}
	t.ahead.left = math.MaxInt // what is read ahead for the chunk stays until its end
	t.forgetKeys()
	src := t.sources.list[i]
	progress := src.progress
	for k := range n {
		if msg := record(k); !t.asksNothing(msg) && t.announce(src, msg) {
			progress = max(progress, t.ahead.frame.at)
		}
	}
	// The others are decoded only where their time may count: no event is later than its record.
	for k := n - 1; k >= 0; k-- {
		if msg := record(k); (msg.Time < 0 || msg.Time > progress) && t.asksNothing(msg) && t.announce(src, msg) {
			progress = max(progress, t.ahead.frame.at)
		}
	}
	// What waits is judged as it will be after these records.
	before := src.progress
	src.progress = progress
	t.announceWaiting()
	src.progress = before
	return t.fetch()
}

var shownType = []byte(event.Shown.String())

// asksNothing says, most often rightly, that a message is a shown one that no copy is looked for of.
func (t *Task[M]) asksNothing(msg Message) bool {
	return msg.Replay == nil && !t.rules.dedupe[event.Shown] && bytes.Contains(msg.Value, shownType)
}

func (t *Task[M]) forgetKeys() { t.ahead.arena, t.ahead.keys = t.ahead.arena[:0], t.ahead.keys[:0] }

func (t *Task[M]) fetch() error {
	if len(t.ahead.keys) == 0 {
		return nil
	}
	return t.ahead.remote.Prefetch(t.ahead.keys)
}

// readOn is called before each waiting message that is decided. Between chunks it reads ahead for the next
// ones whenever those that were read are used up.
func (t *Task[M]) readOn(announce func()) error {
	if t.ahead.remote == nil {
		return nil
	}
	if t.ahead.left == 0 {
		t.forgetKeys()
		announce()
		if err := t.fetch(); err != nil {
			return err
		}
		t.ahead.left = ReadAhead
	}
	t.ahead.left--
	return nil
}

// announce collects the keys that a message will be looked up with. It says whether its time counts.
func (t *Task[M]) announce(src *source, msg Message) (counts bool) {
	f := t.ahead.frame
	live := t.f
	t.f = f
	defer func() { t.f = live }()
	f.msg, f.src, f.kept, f.claimed = msg, src, true, false
	if msg.Value == nil || f.decoder.Decode(msg.Value, &f.ev) != nil {
		return false
	}
	if f.verdict = t.place(); f.verdict != nil || !t.rules.apps[f.app].served {
		return t.moves(f)
	}
	if t.dedupes() {
		mark := f.claimKey()
		t.key(func(dst []byte) []byte { return querystore.AppendMarkKey(dst, f.user, (*[16]byte)(&mark)) })
	}
	if f.ev.Type == event.Shown {
		return true
	}
	t.ask(f.ev.Type != event.Clicked)
	shown := false
	for i := range t.lookup.wants {
		w := &t.lookup.wants[i]
		shown = shown || w.shown
		if w.clicks {
			t.key(func(dst []byte) []byte { return querystore.AppendClickKey(dst, f.user, w.object) })
		}
	}
	if shown {
		t.key(func(dst []byte) []byte { return append(dst, f.user...) })
	}
	return true
}

// key adds a key. Earlier ones stay valid when the arena moves.
func (t *Task[M]) key(build func(dst []byte) []byte) {
	a := &t.ahead
	n := len(a.arena)
	a.arena = build(a.arena)
	a.keys = append(a.keys, a.arena[n:len(a.arena):len(a.arena)])
}

// announceWaiting collects the keys of the messages that what was read decides, those that come first.
func (t *Task[M]) announceWaiting() {
	left := ReadAhead
	for q := range t.waiting.queues {
		due := t.ahead.due[:0]
		due = t.collectDue(due, t.waiting.queues[q], 0)
		slices.SortFunc(due, earlier)
		for _, h := range due[:min(left, len(due))] {
			t.announceHeld(h)
		}
		left -= min(left, len(due))
		clear(due)
		t.ahead.due = due[:0]
	}
}

// collectDue walks a heap as far down as its messages are final.
func (t *Task[M]) collectDue(due []*held[M], q queue[M], i int) []*held[M] {
	if i >= len(q) || !q[i].decided && !t.reached(q[i].at, q[i].level, q[i].item, false) {
		return due
	}
	if !q[i].decided {
		due = append(due, q[i])
	}
	return t.collectDue(t.collectDue(due, q, 2*i+1), q, 2*i+2)
}

// announceHeld collects the keys of a waiting message, and of the items that wait for it alone.
func (t *Task[M]) announceHeld(h *held[M]) {
	t.announce(h.src, t.out.Kept(h.m))
	if h.item {
		return
	}
	for _, o := range h.user.list {
		if o.blocked && !o.decided {
			t.announce(o.src, t.out.Kept(o.m))
		}
	}
}

// announceOverdue collects the keys of the misses that Tick decides, those that were read first.
func (t *Task[M]) announceOverdue() {
	left := ReadAhead
	for _, h := range t.waiting.byRead {
		if h.deadline > t.now || left == 0 {
			return
		}
		if !h.decided && t.overdue(h) {
			t.announceHeld(h)
			left--
		}
	}
}

// save makes what was added acknowledged by a store across a network.
func (t *Task[M]) save() error {
	if t.ahead.remote == nil || !t.ahead.unsaved {
		return nil
	}
	if err := t.ahead.remote.Flush(); err != nil {
		return err
	}
	t.ahead.unsaved = false
	return nil
}
