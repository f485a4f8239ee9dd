package join

import (
	"container/heap"
	"math"
	"slices"
	"strings"
)

// held is a message that waits: a click, add-to-cart or purchase whose answers are not final.
type held[M any] struct {
	mark
	m        M
	src      *source
	at       int64
	deadline int64 // clock time, milliseconds: at the log's end a miss waits no longer
	found    class
	item     bool
	claimed  bool
	version  int // of its place in a queue: an entry with another is stale
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
	// queues are ordered by due time, one for each way of becoming final, so that none stands in
	// the way of another.
	queues [4]queue[M]
	// byRead are all waiting messages in the order of their reading, so of their deadlines;
	// decided ones leave when they come to the front.
	byRead []*held[M]
	users  map[string]*userWaits[M]
	// stirred are the users whose records changed while messages of theirs wait.
	stirred []*userWaits[M]
}

// userWaits are the waiting messages of one user, the oldest first.
type userWaits[M any] struct {
	key     string
	list    []*held[M]
	stirred bool
}

type queued[M any] struct {
	due     int64
	h       *held[M]
	version int
}

type queue[M any] []queued[M]

func (q queue[M]) Len() int { return len(q) }
func (q queue[M]) Less(i, j int) bool {
	if q[i].due != q[j].due {
		return q[i].due < q[j].due
	}
	return earlier(q[i].h, q[j].h) < 0
}
func (q queue[M]) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue[M]) Push(x any)   { *q = append(*q, x.(queued[M])) }
func (q *queue[M]) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = queued[M]{}
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

// class says what a look-up of a message found.
type class uint8

const (
	complete class = iota // it needed nothing
	match                 // every object has its answer
	miss                  // at least one has none, or only a skewed one
)

// final says whether nothing still unread can change what a look-up found, as far as the partitions
// go (docs/contract.md, section 2). With expired, the message has waited as long as it may.
func (t *Task[M]) final(found class, at int64, item, expired bool) bool {
	if found == complete {
		return true
	}
	for _, s := range t.sources.list {
		if s.Replay || !s.Shown && !(item && s.Clicked && t.rules.useClicks) {
			continue
		}
		if found == match && !s.reached(at) || found == miss && !s.passed(at+t.rules.lateness, expired) {
			return false
		}
	}
	return true
}

// blocked says whether a click of the user at or before the given time still waits.
func (u *userWaits[M]) blocked(at int64) bool {
	return u != nil && slices.ContainsFunc(u.list, func(h *held[M]) bool { return !h.item && h.at <= at })
}

// postpone lets the frame's message wait unless what was found is final.
func (t *Task[M]) postpone(found class, item, asksClicks bool) bool {
	f := t.f
	final := t.final(found, f.at, item, f.expired)
	if item && asksClicks && len(t.waiting.users) > 0 {
		final = final && !t.waiting.users[string(f.user)].blocked(f.at)
	}
	if final {
		return false
	}
	h := f.waited
	if h == nil {
		h = t.hold(item)
	} else if h.found == found {
		return true
	}
	h.found = found
	h.version++
	t.enqueue(h)
	return true
}

// hold makes the frame's message a waiting one.
func (t *Task[M]) hold(item bool) *held[M] {
	f, w := t.f, &t.waiting
	u := w.users[string(f.user)]
	if u == nil {
		u = &userWaits[M]{key: string(f.user)}
		w.users[u.key] = u
	}
	h := &held[M]{mark: mark{offset: f.msg.Offset}, m: f.m, src: f.src, at: f.at, item: item, claimed: f.claimed, user: u,
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

func (t *Task[M]) enqueue(h *held[M]) {
	q, due := 0, h.at
	if h.item {
		q = 2
	}
	if h.found == miss {
		q, due = q+1, due+t.rules.lateness
	}
	heap.Push(&t.waiting.queues[q], queued[M]{due, h, h.version})
}

// keep asks the caller to keep the frame's message beyond its chunk, once.
func (t *Task[M]) keep() {
	if !t.f.kept {
		t.f.kept = true
		t.out.Keep(t.f.m)
	}
}

// stir notes that the frame's user has a new impression or click, which may answer what waits.
func (t *Task[M]) stir() {
	if len(t.waiting.users) > 0 {
		t.stirUser(t.waiting.users[string(t.f.user)])
	}
}

func (t *Task[M]) stirUser(u *userWaits[M]) {
	if u != nil && !u.stirred {
		u.stirred = true
		t.waiting.stirred = append(t.waiting.stirred, u)
	}
}

// AtEnd tells that source i was read to its end, or is not any more.
func (t *Task[M]) AtEnd(i int, atEnd bool) error {
	s := t.sources.list[i]
	if s.atEnd == atEnd {
		return nil
	}
	s.atEnd = atEnd
	if err := t.release(); err != nil {
		return err
	}
	return t.copies()
}

// release decides the messages that became final through what was read: those of users whose
// records changed, and those whose time has come.
func (t *Task[M]) release() error {
	if t.waiting.n == 0 {
		return nil
	}
	if err := t.settleStirred(); err != nil {
		return err
	}
	for q := range t.waiting.queues {
		queue := &t.waiting.queues[q]
		for len(*queue) > 0 {
			top := (*queue)[0]
			stale := top.h.decided || top.version != top.h.version
			if !stale && !t.final(top.h.found, top.h.at, top.h.item, false) {
				break
			}
			heap.Pop(queue)
			if stale {
				continue
			}
			// From here on only a change of the user's records can hold it up.
			if err := t.revisit(top.h, false); err != nil {
				heap.Push(queue, top)
				return err
			}
			if err := t.settleStirred(); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleStirred looks again at the waiting messages of users whose records changed, the oldest
// first, until none can be decided any more.
func (t *Task[M]) settleStirred() error {
	w := &t.waiting
	for len(w.stirred) > 0 {
		u := w.stirred[0]
		for i := 0; i < len(u.list); {
			h := u.list[i]
			if err := t.revisit(h, h.deadline <= t.now); err != nil {
				return err
			}
			if i++; h.decided {
				i = 0
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
	if !slices.ContainsFunc(t.sources.list, func(s *source) bool { return s.atEnd }) {
		return nil
	}
	for _, h := range w.byRead {
		if h.deadline > now {
			break
		}
		if h.decided || h.found != miss || !t.final(miss, h.at, h.item, true) {
			continue
		}
		if err := t.revisit(h, true); err != nil {
			return err
		}
		if err := t.settleStirred(); err != nil {
			return err
		}
	}
	w.byRead = slices.DeleteFunc(w.byRead, func(h *held[M]) bool { return h.decided })
	return t.copies()
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

// revisit looks a waiting message up anew and decides it if that is final.
func (t *Task[M]) revisit(h *held[M], expired bool) error {
	f := t.again
	f.m, f.src, f.waited, f.expired, f.claimed, f.kept = h.m, h.src, h, expired, h.claimed, true
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

// decided notes that the frame's message does not wait any more. What a click leaves, or that it
// waits no longer, may decide other messages of the user.
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
	case !h.item:
		t.stirUser(u)
	}
}
