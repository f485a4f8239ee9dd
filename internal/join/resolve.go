package join

import (
	"math"

	"eventworker/internal/event"
	"eventworker/internal/querystore"
)

// resolved is what is known of one object of a click or cart.
type resolved struct {
	object         []byte
	queryID, index []byte // nil: none
	position       int32
	want           int // the place in lookup.wants; -1: the message said all
	source         origin
	answered       *answer // what the look-up gave; nil: nothing
	again          bool    // an earlier life of the message found it
	done           bool    // it was delivered in an earlier life, and is not sent
}

// origin says where an object's queryID came from.
type origin uint8

const (
	fromNothing origin = iota
	fromMessage
	fromClick
	fromShown
	fromSkewed
)

// decide looks up what the message lacks and sends it, unless the log must say more first.
func (t *Task[M]) decide() error {
	f := t.f
	item := f.ev.Type != event.Clicked
	at, due := asMatch, int64(0)
	if h := f.waited; h != nil {
		at, due = h.level, h.due
	}
	for ; ; at++ {
		due = max(due, t.rules.due(f.at, at))
		asks, asksClicks := t.ask(item)
		if asks && !t.reached(f.at, at, item, f.expired) {
			t.wait(at, item, false)
			return nil
		}
		t.lookup.limits = t.sources.limits(t.lookup.limits, f.src, f.msg.Offset, f.seen, due)
		if asksClicks && len(t.waiting.users) > 0 && t.blockedBy(t.waiting.users[string(f.user)], f.at, t.lookup.limits) {
			t.wait(at, item, true)
			return nil
		}
		if err := t.lookup.run(t.section, f.user); err != nil {
			return err
		}
		if t.lookup.marked {
			t.copied()
			return nil
		}
		if at == asMiss || !t.lookup.lacks() {
			break
		}
	}
	return t.finish(item)
}

// copied absorbs a message whose id was delivered before.
func (t *Task[M]) copied() {
	f := t.f
	f.claimed = false
	t.drop(f.m, t.claims.holder[f.m], true)
	t.absorb(Duplicate)
	t.decided()
}

// finish takes the answers, which are final, and sends the message.
func (t *Task[M]) finish(item bool) error {
	if item {
		t.takeItems()
		if err := t.remark(); err != nil {
			return err
		}
		t.conclude(t.cart)
	} else {
		t.takeClick()
		if err := t.remember(); err != nil {
			return err
		}
		if err := t.remark(); err != nil {
			return err
		}
		t.conclude(t.click)
	}
	t.decided()
	return nil
}

// ask puts together what the message lacks, and says whether it lacks anything and whether
// remembered clicks may answer.
func (t *Task[M]) ask(item bool) (asks, asksClicks bool) {
	f, l := t.f, t.lookup
	l.reset(f.at)
	if item {
		t.askItems()
	} else {
		t.askClick()
	}
	t.askMark()
	for i := range l.wants {
		asksClicks = asksClicks || l.wants[i].clicks
	}
	return len(l.wants) > 0, asksClicks
}

// lacks says whether an object has no answer, or only a skewed one.
func (l *lookup) lacks() bool {
	for i := range l.wants {
		if w := &l.wants[i]; !w.click.ok && !w.shownBy.ok {
			return true
		}
	}
	return false
}

func (l *lookup) ask(w want) int {
	w.hash = querystore.HashObject(w.object)
	l.wants = append(l.wants, w)
	return len(l.wants) - 1
}

// askClick asks for the queryID and positions of clicked objects, or for what an own queryID lacks.
func (t *Task[M]) askClick() {
	f, ev := t.f, &t.f.ev
	f.resolved = f.resolved[:0]
	for i := range ev.Objects {
		o := &ev.Objects[i]
		r := resolved{object: o.ID, want: -1, position: o.Position, queryID: ev.QueryID, index: ev.Index}
		switch {
		case f.resolveAgain(i, &r):
		case ev.QueryID == nil:
			r.want = t.lookup.ask(want{object: o.ID, index: ev.Index, model: ev.Model, shown: true})
		case o.Position == 0 || ev.Index == nil:
			r.want = t.lookup.ask(want{object: o.ID, queryID: ev.QueryID, own: true, shown: true})
		}
		f.resolved = append(f.resolved, r)
	}
}

// takeClick fills in what the look-up found. An object whose queryID cannot have a position is
// plain: the API takes both or neither (insights-api.md, section 3).
func (t *Task[M]) takeClick() {
	f := t.f
	for i := range f.resolved {
		r := &f.resolved[i]
		own := f.ev.QueryID != nil
		if own || r.again {
			r.source = fromMessage
		}
		if r.want >= 0 {
			w := &t.lookup.wants[r.want]
			a, from := &w.shownBy, fromShown
			if !a.ok && w.skewed.ok {
				a, from = &w.skewed, fromSkewed
			}
			if a.ok {
				r.answered = a
				if !own {
					r.queryID, r.source = a.queryID, from
				}
				if r.position == 0 {
					r.position = int32(min(a.position, math.MaxInt32))
				}
				r.index = or(r.index, a.index)
			}
		}
		if r.queryID == nil || r.position == 0 {
			if r.queryID != nil {
				t.Counters.Unpositioned++
			}
			r.queryID, r.position, r.source, r.answered = nil, 0, fromNothing, nil
		}
		r.index = or(r.index, t.rules.apps[f.app].defaultIndex)
	}
}

// askItems asks for the queryIDs of items, or for the index of an own queryID.
func (t *Task[M]) askItems() {
	f, ev := t.f, &t.f.ev
	f.resolved = f.resolved[:0]
	for i := range ev.Items {
		it := &ev.Items[i]
		r := resolved{object: it.ObjectID, want: -1, queryID: or(it.QueryID, t.messageQueryID()), index: or(it.Index, ev.Index)}
		switch {
		case f.resolveAgain(i, &r):
		case r.queryID == nil:
			r.want = t.lookup.ask(want{object: it.ObjectID, index: r.index, model: or(it.Model, ev.Model),
				clicks: t.rules.useClicks, shown: t.rules.useShown})
		case r.index == nil:
			r.want = t.lookup.ask(want{object: it.ObjectID, queryID: r.queryID, own: true, shown: true})
		}
		f.resolved = append(f.resolved, r)
	}
}

// messageQueryID is the queryID that items inherit; a purchase's items take no message_ id.
func (t *Task[M]) messageQueryID() []byte {
	ev := &t.f.ev
	if ev.Type == event.Purchased && event.IsMessageID(ev.QueryID) {
		return nil
	}
	return ev.QueryID
}

func (t *Task[M]) takeItems() {
	f := t.f
	for i := range f.resolved {
		r := &f.resolved[i]
		if r.queryID != nil {
			r.source = fromMessage
		}
		if r.want >= 0 {
			w := &t.lookup.wants[r.want]
			switch {
			case w.click.ok:
				r.take(&w.click, fromClick)
			case w.shownBy.ok:
				r.take(&w.shownBy, fromShown)
			case w.skewed.ok:
				r.take(&w.skewed, fromSkewed)
			}
		}
		if f.ev.Type == event.Purchased && event.IsMessageID(r.queryID) {
			r.queryID = nil // objectData takes no message_ id: the item is plain, but it matched
		}
		r.index = or(r.index, t.rules.apps[f.app].defaultIndex)
	}
}

func (r *resolved) take(a *answer, from origin) {
	if r.queryID == nil {
		r.queryID, r.source = a.queryID, from
	}
	r.index, r.answered = or(r.index, a.index), a
}

// remember stores the clicked objects that ended with a queryID, for later items.
func (t *Task[M]) remember() error {
	f := t.f
	if f.msg.Offset < f.src.applied || t.lacking() >= 0 {
		return nil
	}
	for i := range f.resolved {
		r := &f.resolved[i]
		if r.queryID == nil || r.done {
			continue
		}
		v := &t.effects.click
		*v = querystore.Click{Time: f.at, Place: f.place(), Object: uint16(i), ObjectID: r.object, QueryID: r.queryID, Index: r.index}
		key := t.lookup.clickKey(f.user, r.object)
		there, err := t.present(key, querystore.KindClick, v.Place, v.Object)
		if err == nil && !there {
			err = t.section.AddClick(key, v)
			t.ahead.unsaved = true
		}
		if err != nil {
			f.src.written = max(f.src.written, f.msg.Offset+1)
			return err
		}
	}
	return nil
}

// lacking is the first object without an index, -1 if all have one.
func (t *Task[M]) lacking() int {
	for i := range t.f.resolved {
		if r := &t.f.resolved[i]; r.index == nil && !r.done {
			return i
		}
	}
	return -1
}

// unmatched says whether join.on_miss applies: no object of the message matched.
func (t *Task[M]) unmatched() bool {
	if t.rules.onMiss == MissSend || len(t.f.resolved) == 0 {
		return false
	}
	for i := range t.f.resolved {
		if r := &t.f.resolved[i]; r.source != fromNothing && !r.done {
			return false
		}
	}
	return true
}

// found is what a dead letter tells of the objects.
func (f *frame[M]) found() []Resolved {
	list := make([]Resolved, 0, len(f.resolved))
	for i := range f.resolved {
		if r := &f.resolved[i]; !r.done {
			list = append(list, Resolved{Object: i, QueryID: string(r.queryID), Index: string(r.index), Position: r.position})
		}
	}
	return list
}
