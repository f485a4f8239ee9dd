package join

import (
	"bytes"
	"slices"

	"eventworker/internal/batch"
	"eventworker/internal/event"
	"eventworker/internal/insights"
	"eventworker/internal/querystore"
)

// The most objects and filters of one event (insights-api.md, sections 2 and 12).
const (
	maxObjects = 20
	maxFilters = 10
)

// builder turns one message into encoded events. Everything in it is scratch.
type builder struct {
	event   insights.Event
	n       int // events built of the message
	objects uint64
	wide    []uint16 // the event's objects, once one of them is beyond the 64th
	taken   []bool   // objects that already stand in an event
	money   []byte
	filters []byte
}

// begin starts the next event of the frame's message.
func (t *Task[M]) begin(kind insights.EventType) *insights.Event {
	f, b, e := t.f, &t.build, &t.build.event
	*e = insights.Event{Type: kind, EventName: or(f.ev.EventName, t.rules.eventNames[f.ev.Type]),
		UserToken: f.ev.UserToken, AuthenticatedUserToken: f.ev.AuthenticatedUserToken, Timestamp: min(f.stamp, t.now),
		ObjectIDs: e.ObjectIDs[:0], Positions: e.Positions[:0], Filters: e.Filters[:0], Data: e.Data[:0]}
	b.objects, b.wide, b.filters, b.money = 0, b.wide[:0], b.filters[:0], b.money[:0]
	return e
}

// carry notes that the event carries object or item i of the message.
func (b *builder) carry(i int) {
	if i < 64 {
		b.objects |= 1 << i
	}
	b.wide = append(b.wide, uint16(i))
}

// end encodes the event into the application's run.
func (t *Task[M]) end() {
	f, b := t.f, &t.build
	run := &t.Runs[f.app]
	start := len(run.Buf)
	run.Buf = insights.AppendEvent(run.Buf, &b.event)
	run.Entries = append(run.Entries, batch.Entry[Part[M]]{Start: uint32(start), End: uint32(len(run.Buf)), Time: b.event.Timestamp,
		Ref: Part[M]{Message: f.m, Event: uint16(b.n), Purchase: b.event.Type == insights.Purchase, Objects: b.objects}})
	if n := len(b.wide); n > 0 && b.wide[n-1] >= 64 {
		t.out.Wide(f.m, uint16(b.n), b.wide)
	}
	b.n++
}

// conclude sends what build makes of the message, or says why it sends nothing.
func (t *Task[M]) conclude(build func()) {
	f := t.f
	if !f.restores() {
		t.count() // whatever becomes of the message: a storefront that is mistaken must show in each case
		t.judge()
	}
	unmatched := t.unmatched()
	if unmatched && t.rules.onMiss == MissDrop {
		t.unclaim()
		t.absorb(Dropped)
		return
	}
	if i := t.rules.apps[f.app].facetWithoutIndex(&f.ev); i >= 0 {
		t.refuse(f.refuse(event.NoIndex, event.StageJoin, indexed("facets", i), "index.known",
			"the message names no index, and the application has no default_index"))
		return
	}
	if i := t.lacking(); i >= 0 {
		field := "objects"
		if f.ev.Type != event.Clicked {
			field = "items"
		}
		t.refuse(f.refuse(event.NoIndex, event.StageJoin, indexed(field, i), "index.known",
			"neither the message nor an impression names the index, and the application has no default_index"))
		return
	}
	if unmatched {
		t.refuse(f.refuse(event.Unmatched, event.StageJoin, "", "join.matched",
			"no impression or click of the user answers for any object, and join.on_miss is dead-letter"))
		return
	}
	if f.restores() {
		t.out.Restored(f.m)
		return
	}
	t.build.n = 0
	build()
	if t.build.n == 0 { // a replayed message whose undelivered parts an edit took away
		t.unclaim()
		t.absorb(Stored)
		return
	}
	t.out.Encoded(f.m, t.build.n, f.claimed)
}

// facetWithoutIndex is the first facet that nothing gives an index, -1 if there is none.
func (a *app) facetWithoutIndex(ev *event.Event) int {
	return slices.IndexFunc(ev.Facets, func(f event.Facet) bool { return f.Index == nil && a.defaultIndex == nil })
}

// count adds what the message says of attribution.
func (t *Task[M]) count() {
	c := &t.Counters
	for i := range t.f.resolved {
		if t.f.resolved[i].done {
			continue
		}
		switch t.f.resolved[i].source {
		case fromNothing:
			c.Plain++
		case fromMessage:
			c.Own++
		case fromClick:
			c.Clicked++
		case fromShown:
			c.Shown++
		case fromSkewed:
			c.Skewed++
		}
	}
	c.MalformedQueryIDs += int64(t.f.ev.MalformedQueryIDs)
	c.MessageIDs += int64(t.f.ev.DroppedMessageIDs)
}

// shown sends the views of a shown message.
func (t *Task[M]) shown() {
	f, ev := t.f, &t.f.ev
	a := &t.rules.apps[f.app]
	f.resolved, t.build.n = f.resolved[:0], 0
	if !f.restores() {
		t.countShown()
	}
	if a.lacksIndex(ev) {
		t.refuse(f.refuse(event.NoIndex, event.StageJoin, "index", "index.known",
			"a list or facet names no index, and the application has no default_index"))
		return
	}
	if f.restores() {
		t.out.Restored(f.m)
		return
	}
	first := 0
	for i := range ev.Lists {
		if t.rules.sendViews {
			t.viewObjects(&ev.Lists[i], or(ev.Lists[i].Index, a.defaultIndex), first)
		}
		first += len(ev.Lists[i].ObjectIDs)
	}
	if t.rules.sendViews {
		t.filters(insights.View, a, first)
	}
	if t.build.n == 0 {
		t.unclaim()
		t.absorb(Stored)
		return
	}
	t.out.Encoded(f.m, t.build.n, f.claimed)
}

// countShown adds what a shown message says of attribution.
func (t *Task[M]) countShown() {
	c, ev := &t.Counters, &t.f.ev
	c.ShownMessages++
	if ev.TokenMismatch {
		c.TokenMismatches++
	}
	for i := range ev.Lists {
		if list := &ev.Lists[i]; len(list.ObjectIDs) > 0 {
			c.Lists++
			if list.QueryID == nil && !list.MalformedID {
				c.ViewsOnly++
			}
		}
	}
	c.MalformedQueryIDs += int64(ev.MalformedQueryIDs)
}

// viewObjects sends the views of one list, each object once. first is the place of the list's
// first object among all of the message.
func (t *Task[M]) viewObjects(list *event.List, index []byte, first int) {
	var seen maybeSeen
	for i := 0; i < len(list.ObjectIDs); {
		e := t.begin(insights.View)
		e.Index = index
		for ; i < len(list.ObjectIDs) && len(e.ObjectIDs) < maxObjects; i++ {
			id := list.ObjectIDs[i]
			if seen.add(id) && slices.ContainsFunc(list.ObjectIDs[:i], func(o []byte) bool { return bytes.Equal(o, id) }) {
				continue
			}
			if !t.f.sends(first + i) {
				continue
			}
			e.ObjectIDs = append(e.ObjectIDs, id)
			t.build.carry(first + i)
		}
		if len(e.ObjectIDs) > 0 {
			t.end()
		}
	}
}

// maybeSeen is a small Bloom filter: it spares most lists the comparison of each object with all
// before it.
type maybeSeen [16]uint64

// add notes an object and says whether it may have been there.
func (s *maybeSeen) add(id []byte) bool {
	h := querystore.HashObject(id)
	word, bit := &s[h>>6%16], uint64(1)<<(h%64)
	there := *word&bit != 0
	*word |= bit
	return there
}

// filters sends the facets of a message, 10 at most an event, one index an event. first is the place of the
// first facet among all parts of the message: facets come after objects.
func (t *Task[M]) filters(kind insights.EventType, a *app, first int) {
	facets := t.f.ev.Facets
	t.build.untake(len(facets))
	for k := range facets {
		t.build.taken[k] = !t.f.sends(first + k)
	}
	for i := range facets {
		for !t.build.taken[i] {
			e := t.begin(kind)
			e.Index = or(facets[i].Index, a.defaultIndex)
			for k := i; k < len(facets) && len(e.Filters) < maxFilters; k++ {
				if t.build.taken[k] || !bytes.Equal(or(facets[k].Index, a.defaultIndex), e.Index) {
					continue
				}
				t.build.taken[k] = true
				n := len(t.build.filters)
				t.build.filters = insights.EncodedFilter(t.build.filters, facets[k].Name, facets[k].Value)
				e.Filters = append(e.Filters, t.build.filters[n:len(t.build.filters):len(t.build.filters)])
				t.build.carry(first + k)
			}
			t.end()
		}
	}
}

func (b *builder) untake(n int) {
	b.taken = append(b.taken[:0], make([]bool, n)...)
}

// click sends a clicked message: its objects by (index, queryID), or its facets.
func (t *Task[M]) click() {
	t.filters(insights.Click, &t.rules.apps[t.f.app], 0)
	t.groups(func(r *resolved) *insights.Event {
		e := t.begin(insights.Click)
		e.Index, e.QueryID = r.index, r.queryID
		return e
	}, func(a, b *resolved) bool {
		return bytes.Equal(a.index, b.index) && bytes.Equal(a.queryID, b.queryID)
	}, func(e *insights.Event, i int) {
		if r := &t.f.resolved[i]; r.queryID != nil {
			e.Positions = append(e.Positions, r.position)
		}
	}, t.end)
}

// cart sends an add-to-cart by (index, queryID), or a purchase by index.
func (t *Task[M]) cart() {
	ev := &t.f.ev
	kind, sameID := insights.AddToCart, bytes.Equal
	if ev.Type == event.Purchased {
		kind, sameID = insights.Purchase, func(_, _ []byte) bool { return true }
	}
	currency := ev.Currency
	if !validCurrency(currency) {
		currency = nil
	}
	t.groups(func(r *resolved) *insights.Event {
		e := t.begin(kind)
		e.Index, e.Currency = r.index, currency
		if kind == insights.AddToCart {
			e.QueryID = r.queryID
		}
		return e
	}, func(a, b *resolved) bool {
		return bytes.Equal(a.index, b.index) && sameID(a.queryID, b.queryID)
	}, func(e *insights.Event, i int) {
		d := insights.ObjectData{Quantity: ev.Items[i].Quantity}
		if currency != nil {
			d.Price, d.Discount = ev.Items[i].Price, ev.Items[i].Discount
		}
		if kind == insights.Purchase {
			d.QueryID = t.f.resolved[i].queryID
		}
		e.Data = append(e.Data, d)
	}, t.endCart)
	t.judgeMoney(currency != nil)
}

// groups forms the events of objects that belong together, 20 at most each, in the message's order.
func (t *Task[M]) groups(begin func(*resolved) *insights.Event, together func(a, b *resolved) bool, add func(*insights.Event, int), end func()) {
	all, b := t.f.resolved, &t.build
	b.untake(len(all))
	for i := range all {
		b.taken[i] = all[i].done
	}
	for i := range all {
		if b.taken[i] {
			continue
		}
		e := begin(&all[i])
		for k := i; k < len(all) && len(e.ObjectIDs) < maxObjects; k++ {
			if b.taken[k] || !together(&all[i], &all[k]) {
				continue
			}
			b.taken[k] = true
			e.ObjectIDs = append(e.ObjectIDs, all[k].object)
			b.carry(k)
			add(e, k)
		}
		end()
	}
}
