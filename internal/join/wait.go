package join

import (
	"container/heap"
	"math"
	"slices"
)

// held is a message that waits.
type held[M any] struct {
	mark
	m        M
	src      *source
	at       int64
	due      int64 // event time that the log must reach
	deadline int64 // clock time, milliseconds: at the log's end a miss waits no longer
	miss     bool
	item     bool
	claimed  bool
	parked   bool // due, but earlier clicks of the user still wait
	user     string
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
}

// userWaits are the waiting messages of one user that concern each other.
type userWaits[M any] struct {
	clicks []*held[M]
	parked []*held[M]
}

type queue[M any] []*held[M]

func (q queue[M]) Len() int { return len(q) }
func (q queue[M]) Less(i, j int) bool {
	if q[i].due != q[j].due {
		return q[i].due < q[j].due
	}
	return earlier(q[i], q[j]) < 0
}
func (q queue[M]) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue[M]) Push(x any)   { *q = append(*q, x.(*held[M])) }
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
		return cmp64(a.at, b.at)
	case a.src != b.src:
		if a.src.Topic < b.src.Topic {
			return -1
		}
		return 1
	}
	return cmp64(a.offset, b.offset)
}

func cmp64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (h *held[M]) queue() int {
	n := 0
	if h.item {
		n = 2
	}
	if h.miss {
		n++
	}
	return n
}

// class says what a look-up of a message found.
type class uint8

const (
	complete class = iota // it needed nothing
	match                 // every object has its answer
	miss                  // at least one has none, or only a skewed one
)

// final says whether nothing still unread can change what a look-up found
// (docs/contract.md, section 2).
func (t *Task[M]) final(found class, at int64, item, expired bool) bool {
	if found == complete {
		return true
	}
	for _, s := range t.sources.list {
		if !s.Shown && !(item && s.Clicked && t.rules.useClicks) {
			continue
		}
		if found == match && !s.reached(at) || found == miss && !s.passed(at+t.rules.lateness, expired) {
			return false
		}
	}
	return true
}

// blocked says whether a click of the user at or before the given time still waits.
func (t *Task[M]) blocked(user string, at int64) bool {
	if len(t.waiting.users) == 0 || !t.rules.useClicks {
		return false
	}
	u := t.waiting.users[user]
	return u != nil && slices.ContainsFunc(u.clicks, func(c *held[M]) bool { return c.at <= at })
}

// postpone lets the message of the frame wait unless what was found is final.
func (t *Task[M]) postpone(found class, item, asksClicks bool) bool {
	f := t.f
	final := t.final(found, f.at, item, f.expired)
	blocked := item && asksClicks && len(t.waiting.users) > 0 && t.blocked(string(f.user), f.at)
	if final && !blocked {
		return false
	}
	h := f.waited
	if h == nil {
		h = &held[M]{mark: mark{offset: f.msg.Offset}, m: f.m, src: f.src, at: f.at, item: item, user: string(f.user),
			deadline: t.now + t.rules.wait, claimed: f.claimed}
		t.keep()
		t.waiting.byRead = append(t.waiting.byRead, h)
		t.waiting.n++
		t.Counters.Waited++
		if !item {
			f.src.waiting = append(f.src.waiting, &h.mark)
			u := t.waiting.of(h.user)
			u.clicks = append(u.clicks, h)
		}
	}
	h.miss, h.due = found == miss, f.at
	if h.miss {
		h.due += t.rules.lateness
	}
	if final {
		t.park(h)
		return true
	}
	heap.Push(&t.waiting.queues[h.queue()], h)
	return true
}

// keep asks the caller to keep the frame's message beyond its chunk, once.
func (t *Task[M]) keep() {
	if !t.f.kept {
		t.f.kept = true
		t.out.Keep(t.f.m)
	}
}

func (w *waiting[M]) of(user string) *userWaits[M] {
	u := w.users[user]
	if u == nil {
		u = &userWaits[M]{}
		w.users[user] = u
	}
	return u
}

func (t *Task[M]) park(h *held[M]) {
	h.parked = true
	u := t.waiting.of(h.user)
	u.parked = append(u.parked, h)
}

// AtEnd tells that source i was read to its end, or is not any more.
func (t *Task[M]) AtEnd(i int, atEnd bool) error {
	s := t.sources.list[i]
	if s.atEnd == atEnd {
		return nil
	}
	s.atEnd = atEnd
	return t.release()
}

// release decides the messages that became final through what was read, clicks first: items take
// what they leave.
func (t *Task[M]) release() error {
	for q := range t.waiting.queues {
		queue := &t.waiting.queues[q]
		for len(*queue) > 0 {
			h := (*queue)[0]
			if !h.decided && !t.final(h.class(), h.at, h.item, false) {
				break
			}
			heap.Pop(queue)
			if h.decided {
				continue
			}
			if h.item && t.blocked(h.user, h.at) {
				t.park(h)
				continue
			}
			if err := t.revisit(h, false); err != nil {
				heap.Push(queue, h)
				return err
			}
		}
	}
	return nil
}

func (h *held[M]) class() class {
	if h.miss {
		return miss
	}
	return match
}

// Tick decides the misses that have waited as long as they may at the log's end.
func (t *Task[M]) Tick(now int64) error {
	t.now = now
	w := &t.waiting
	var err error
	w.byRead = slices.DeleteFunc(w.byRead, func(h *held[M]) bool {
		if err == nil && !h.decided && h.deadline <= now && h.miss && !h.parked &&
			t.final(miss, h.at, h.item, true) && !(h.item && t.blocked(h.user, h.at)) {
			err = t.revisit(h, true)
		}
		return h.decided
	})
	if err != nil {
		return err
	}
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
		t.refuse(refusal) // it decoded when it was read, with the same rules: this does not happen
		return nil
	}
	_ = t.place() // what became too old while it waited is the deliverer's to judge
	return then()
}

// decided notes that the frame's message does not wait any more, and looks again at what waited for it.
func (t *Task[M]) decided() error {
	h := t.f.waited
	if h == nil {
		return nil
	}
	h.decided = true
	t.waiting.n--
	if h.item {
		return nil
	}
	u := t.waiting.users[h.user]
	u.clicks = slices.DeleteFunc(u.clicks, func(c *held[M]) bool { return c == h })
	parked := u.parked
	u.parked = nil
	slices.SortFunc(parked, earlier)
	for i, p := range parked {
		if t.blocked(p.user, p.at) {
			u.parked = append(u.parked, p)
			continue
		}
		p.parked = false
		if err := t.revisit(p, p.deadline <= t.now); err != nil {
			u.parked = append(u.parked, parked[i:]...)
			return err
		}
	}
	if len(u.clicks) == 0 && len(u.parked) == 0 {
		delete(t.waiting.users, h.user)
	}
	return nil
}
