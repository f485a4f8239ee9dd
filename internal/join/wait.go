package join

import (
	"container/heap"
	"math"
	"slices"
	"strings"

	"eventworker/internal/event"
)

// held is a message that waits: a click, add-to-cart or purchase whose answers are not final.
type held[M any] struct {
	mark
	m        M
	src      *source
	at       int64
	seen     int64 // the progress of src when the message was read
	deadline int64 // clock time, milliseconds: at the log's end a miss waits no longer
	level    level
	due      int64 // the event time that the log must reach
	item     bool
	claimed  bool
	blocked  bool // only earlier clicks of the user hold it up
	user     *userWaits[M]
}

// mark is what a source must know of a waiting message.
type mark struct {
	offset  int64
	decided bool
}

// waiting are the messages of a task that wait for the log to say more. Its size is bounded by the
// byte budget, in which each kept message counts.
type waiting[M any] struct {
	n int
	// queues are ordered by event time, one for clicks and one for items of each level, so that none
	// stands in the way of another.
	queues [4]queue[M]
	// byRead are all waiting messages in the order of their reading, so of their deadlines;
	// decided ones leave when they come to the front.
	byRead []*held[M]
	users  map[string]*userWaits[M]
	free   []*userWaits[M] // of users of whom nothing waits any more, to be used again
	// stirred are the users of whom a click was decided while items of theirs wait for it.
	stirred []*userWaits[M]
}

// userWaits are the waiting messages of one user, the oldest first.
type userWaits[M any] struct {
	key     string
	list    []*held[M]
	stirred bool
}

// maxFree bounds the users that are kept to be used again.
const maxFree = 1024

type queue[M any] []*held[M]

func (q queue[M]) Len() int           { return len(q) }
func (q queue[M]) Less(i, j int) bool { return earlier(q[i], q[j]) < 0 }
func (q queue[M]) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue[M]) Push(x any)        { *q = append(*q, x.(*held[M])) }
func (q *queue[M]) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return x
}

// earlier orders messages by event time, then by place.
func earlier[M any](a, b *held[M]) int {
	switch {
	case a.at != b.at:
		return compare(a.at, b.at)
	case a.src != b.src:
		return strings.Compare(a.src.Topic, b.src.Topic)
	}
	return compare(a.offset, b.offset)
}

func compare(a, b int64) int {
	if a < b {
		return -1
	}
	return 1
}

// level says how far the log must have been read for a look-up, and how much of it the look-up sees
// (docs/contract.md, section 2).
type level uint8

const (
	// asMatch: every partition to its first record at or after the event. If each object has its
	// answer then, that is final.
	asMatch level = iota
	// asMiss: every partition to its first record beyond the allowed lateness. What is found now is
	// final, found or not.
	asMiss
)

// due is the event time that partitions must have reached.
func (r *rules) due(at int64, l level) int64 {
	if l == asMiss {
		return at + r.lateness
	}
	return at
}

// reached says whether the partitions of a look-up were read far enough. With expired, the message
// has waited as long as it may by the clock.
func (t *Task[M]) reached(at int64, l level, item, expired bool) bool {
	if t.rules.bestEffort {
		return l == asMatch || expired
	}
	due := t.rules.due(at, l)
	for _, s := range t.sources.list {
		if s.Replay || !s.Shown && !(item && s.Clicked && t.rules.useClicks) {
			continue
		}
		if s.progress < due && !(s.atEnd && (l == asMatch || expired)) {
			return false
		}
	}
	return true
}

// blockedBy says whether a click that a look-up at this level must take into account still waits.
func (t *Task[M]) blockedBy(u *userWaits[M], at int64, limits []int64) bool {
	if u == nil || t.rules.bestEffort {
		return false
	}
	if t.blockedByLive(u, at, limits) {
		t.liveBlocks = u
		return true
	}
	return slices.ContainsFunc(u.list, func(h *held[M]) bool {
		return !h.item && h.at <= at && h.offset < limits[h.src.id]
	})
}

// blockedByLive says whether the record that makes an item final is itself a click that the item must take
// into account: read in another order it would have been there before.
func (t *Task[M]) blockedByLive(u *userWaits[M], at int64, limits []int64) bool {
	l := t.live
	return t.at == releasing && l.verdict == nil && l.ev.Type == event.Clicked && l.at <= at && l.msg.Offset < limits[l.src.id] && u.key == string(l.user)
}

// liveDecided lets items go on that waited for the live message, if it does not wait itself.
func (t *Task[M]) liveDecided() {
	u := t.liveBlocks
	if t.liveBlocks = nil; u == nil || t.live.waits {
		return
	}
	t.stir(u)
}

// stir has the items of a user looked at that wait only for clicks, one of which was decided. What they waited for
// changes nothing of what they see of the log.
func (t *Task[M]) stir(u *userWaits[M]) {
	if !u.stirred {
		u.stirred = true
		t.waiting.stirred = append(t.waiting.stirred, u)
	}
}

// wait holds the frame's message until the log says more, or only until earlier clicks are decided.
func (t *Task[M]) wait(l level, item, blocked bool) {
	h := t.f.waited
	if h == nil {
		h = t.hold(item)
	}
	h.level, h.blocked, t.f.waits = l, blocked, true
	h.due = max(h.due, t.rules.due(h.at, l))
	if !blocked {
		q := int(l)
		if h.item {
			q += 2
		}
		heap.Push(&t.waiting.queues[q], h)
	}
}

// hold makes the frame's message a waiting one.
func (t *Task[M]) hold(item bool) *held[M] {
	f, w := t.f, &t.waiting
	u := w.users[string(f.user)]
	if u == nil {
		if n := len(w.free); n > 0 {
			u, w.free = w.free[n-1], w.free[:n-1]
		} else {
			u = &userWaits[M]{}
		}
		u.key = string(f.user)
		w.users[u.key] = u
	}
	h := &held[M]{mark: mark{offset: f.msg.Offset}, m: f.m, src: f.src, at: f.at, seen: f.seen, item: item, claimed: f.claimed, user: u,
		deadline: t.now + t.rules.wait}
	t.keep()
	i, _ := slices.BinarySearchFunc(u.list, h, earlier)
	u.list = slices.Insert(u.list, i, h)
	w.byRead = append(w.byRead, h)
	w.n++
	t.Counters.Waited++
	if !item {
		f.src.waiting = append(f.src.waiting, &h.mark)
	}
	return h
}

// keep asks the caller to keep the frame's message beyond its chunk, once.
func (t *Task[M]) keep() {
	if !t.f.kept {
		t.f.kept = true
		t.out.Keep(t.f.m)
	}
}

// AtEnd tells that source i was read to its end, or is not any more.
func (t *Task[M]) AtEnd(i int, atEnd bool) error {
	s := t.sources.list[i]
	if s.atEnd == atEnd && !t.unfinished {
		return nil
	}
	s.atEnd, t.unfinished = atEnd, true // until what that decides is decided, also if the store fails
	if err := t.release(); err != nil {
		return err
	}
	if err := t.copies(); err != nil {
		return err
	}
	t.unfinished = false
	return nil
}

// release decides the messages whose time has come through what was read, clicks first: items take
// what they leave.
func (t *Task[M]) release() error {
	if err := t.unblock(); err != nil || t.waiting.n == 0 {
		return err
	}
	for q := range t.waiting.queues {
		queue := &t.waiting.queues[q]
		for len(*queue) > 0 {
			h := (*queue)[0]
			if !h.decided && !t.reached(h.at, h.level, h.item, false) {
				break
			}
			if !h.decided {
				if err := t.readOn(t.announceWaiting); err != nil {
					return err
				}
			}
			heap.Pop(queue)
			if h.decided {
				continue
			}
			if err := t.revisit(h, false); err != nil {
				heap.Push(queue, h)
				return err
			}
			if err := t.unblock(); err != nil {
				return err
			}
		}
	}
	return nil
}

// unblock looks again at items that waited only for clicks which were decided meanwhile.
func (t *Task[M]) unblock() error {
	w := &t.waiting
	for len(w.stirred) > 0 {
		u := w.stirred[0]
		for _, h := range slices.Clone(u.list) {
			if !h.blocked || h.decided {
				continue
			}
			if err := t.revisit(h, h.deadline <= t.now); err != nil {
				return err
			}
		}
		u.stirred = false
		w.stirred = w.stirred[1:]
	}
	return nil
}

// Tick decides the misses that have waited as long as they may at the log's end.
func (t *Task[M]) Tick(now int64) error {
	t.now = now
	w := &t.waiting
	if !t.rules.bestEffort && !slices.ContainsFunc(t.sources.list, func(s *source) bool { return s.atEnd }) {
		return nil
	}
	if err := t.unblock(); err != nil {
		return err
	}
	for _, h := range w.byRead {
		if h.deadline > now {
			break
		}
		if h.decided || !t.overdue(h) {
			continue
		}
		if err := t.readOn(t.announceOverdue); err != nil {
			return err
		}
		if err := t.revisit(h, true); err != nil {
			return err
		}
		if err := t.unblock(); err != nil {
			return err
		}
	}
	w.byRead = slices.DeleteFunc(w.byRead, func(h *held[M]) bool { return h.decided })
	return t.copies()
}

// overdue says whether a miss, having waited as long as it may, is believed.
func (t *Task[M]) overdue(h *held[M]) bool {
	return !h.blocked && h.level == asMiss && t.reached(h.at, asMiss, h.item, true)
}

// NextTick is the clock time, in milliseconds, at which Tick has something to do at the earliest.
func (t *Task[M]) NextTick() int64 {
	w := &t.waiting
	for len(w.byRead) > 0 && w.byRead[0].decided {
		w.byRead[0] = nil
		w.byRead = w.byRead[1:]
	}
	if len(w.byRead) == 0 {
		return math.MaxInt64
	}
	return w.byRead[0].deadline
}

// revisit goes on with a waiting message.
func (t *Task[M]) revisit(h *held[M], expired bool) error {
	f := t.again
	f.m, f.src, f.waited, f.expired, f.claimed, f.kept, f.seen = h.m, h.src, h, expired, h.claimed, true, h.seen
	return t.over(f, t.decide)
}

// over decodes a kept message again and goes on with it in the frame beside the live one.
func (t *Task[M]) over(f *frame[M], then func() error) error {
	live := t.f
	t.f = f
	defer func() { t.f = live }()
	f.msg = t.out.Kept(f.m)
	if refusal := f.decoder.Decode(f.msg.Value, &f.ev); refusal != nil {
		t.refuse(refusal) // it decoded when it was read, by the same rules: this does not happen
		t.decided()
		return nil
	}
	_ = t.place() // what became too old while it waited is the deliverer's to judge
	return then()
}

// decided notes that the frame's message does not wait any more. A click that waits no longer may
// be all that an item waited for.
func (t *Task[M]) decided() {
	h := t.f.waited
	if h == nil {
		return
	}
	h.decided = true
	t.waiting.n--
	u := h.user
	u.list = slices.DeleteFunc(u.list, func(o *held[M]) bool { return o == h })
	switch {
	case len(u.list) == 0:
		delete(t.waiting.users, u.key)
		if len(t.waiting.free) < maxFree && !u.stirred && u != t.liveBlocks {
			t.waiting.free = append(t.waiting.free, u)
		}
	case !h.item:
		t.stir(u)
	}
}
