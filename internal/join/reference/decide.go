package reference

import (
	"slices"

	"eventworker/internal/event"
	"eventworker/internal/join"
)

// joiner holds the decoded log.
type joiner struct {
	in       *Input
	messages [][]*message
	read     [][]int  // by step and source: how many records were read after the step
	ended    [][]bool // by step and source
}

// Join gives the outcome of every record of the log, by source and offset.
func Join(in *Input) [][]Outcome {
	j := &joiner{in: in}
	for s := range in.Records {
		var messages []*message
		for k := range in.Records[s] {
			messages = append(messages, j.decode(ID{s, k}, &in.Records[s][k]))
		}
		j.messages = append(j.messages, messages)
	}
	j.follow()
	outcomes := make([][]Outcome, len(j.messages))
	for s := range j.messages {
		for _, m := range j.messages[s] {
			j.decide(m)
			outcomes[s] = append(outcomes[s], m.outcome)
		}
	}
	return outcomes
}

// follow notes what was read, and which ends were known, after each step.
func (j *joiner) follow() {
	read, ended := make([]int, len(j.in.Sources)), make([]bool, len(j.in.Sources))
	for s, step := range j.in.Steps {
		switch step.Kind {
		case Read:
			j.messages[step.Source][read[step.Source]].handled = s
			read[step.Source]++
		case End, NotEnd:
			ended[step.Source] = step.Kind == End
		}
		j.read, j.ended = append(j.read, slices.Clone(read)), append(j.ended, slices.Clone(ended))
	}
}

// resolved is what an object or item ends with.
type resolved struct {
	query, index string
	position     int64
	matched      bool // it got, or had, a queryID
	open         bool // a later look-up may give more
	own          bool // its own words gave the queryID
}

// decide gives the message its outcome, once.
func (j *joiner) decide(m *message) {
	if m.decided {
		return
	}
	m.decided = true
	own := j.ownWay(m)
	m.outcome = own
	if m.idText == "" || !slices.Contains(j.in.Config.Dedupe, m.typ) || m.refused != "" && m.refused != event.NoIndex.String() || m.absorbed != "" {
		return
	}
	first, copied := j.firstOf(m)
	if first {
		m.duplicate, m.clicks = true, nil
		m.outcome = Outcome{Absorbed: join.Duplicate.String(), Own: &own}
	}
	m.outcome.Copied = copied
	m.outcome.Claimed = len(m.outcome.Events) > 0
}

// firstOf says whether a message of the same id was delivered, and whether there is one that could have been.
func (j *joiner) firstOf(m *message) (delivered, copied bool) {
	for _, f := range j.messages[m.id.Source][:m.id.Offset] {
		if f.typ != m.typ || f.idText != m.idText || !j.sameUser(f, m) || distance(f.time, m.time) > j.in.Config.DedupeWindow.Milliseconds() {
			continue
		}
		j.decide(f)
		could := len(f.outcome.Events) > 0 || f.duplicate
		copied = copied || could
		delivered = delivered || could && !f.duplicate && f.delivered
	}
	return delivered, copied
}

func distance(a, b int64) int64 { return max(a-b, b-a) }

// ownWay is the outcome of a message that is no copy.
func (j *joiner) ownWay(m *message) Outcome {
	switch {
	case m.refused != "":
		return Outcome{Refused: m.refused}
	case m.absorbed != "":
		return Outcome{Absorbed: m.absorbed}
	case m.typ == event.Shown:
		if events := j.views(m); len(events) > 0 {
			return Outcome{Events: events}
		}
		return Outcome{Absorbed: join.Stored.String()}
	case m.typ == event.Clicked && len(m.facets) > 0:
		return j.facetClick(m)
	}
	return j.conclude(m, j.resolve(m))
}

// resolve looks the objects of the message up, at most twice: when the sources were read to its time, and when
// they were read to where a miss is believed. Both wait for earlier clicks of the user.
func (j *joiner) resolve(m *message) []resolved {
	c := j.in.Config
	at, v := j.final(m, m.handled, m.time, false, view{})
	found := j.lookUpAll(m, v)
	if slices.ContainsFunc(found, func(r resolved) bool { return r.open }) {
		late := m.time + max(c.AllowedLateness.Milliseconds(), c.ClockSkew.Milliseconds())
		at, v = j.final(m, at, late, true, v)
		found = j.lookUpAll(m, v)
	}
	m.step = at
	return found
}

// final is the first step, not before from, at which the sources were read to t and the earlier clicks are
// decided, and what the message sees then, beside what it saw before.
func (j *joiner) final(m *message, from int, t int64, miss bool, before view) (int, view) {
	for s := from; ; s++ {
		if s = j.reached(s, t, j.concerned(m), miss); s < 0 {
			s = len(j.in.Steps) - 1
		}
		v := j.cut(m, t, s)
		if before.seen != nil {
			v, _ = v.wider(before)
		}
		if m.typ == event.Clicked || !j.waitsForClicks(m) {
			return s, v
		}
		if j.waitedFor(m, v) <= s || s == len(j.in.Steps)-1 {
			return s, v
		}
	}
}

// waitsForClicks says whether an item of the message waits for earlier clicks: one with a queryID of its own
// does not.
func (j *joiner) waitsForClicks(m *message) bool {
	return j.usesClicks() && slices.ContainsFunc(m.items, func(i item) bool { return or(i.query, m.query) == "" })
}

func (j *joiner) lookUpAll(m *message, v view) (found []resolved) {
	all := j.impressionsOf(m, v)
	for _, o := range m.objects {
		found = append(found, j.object(m, o, all))
	}
	for k := range m.items {
		found = append(found, j.item(m, &m.items[k], all, v))
	}
	return found
}

// object resolves a clicked object.
func (j *joiner) object(m *message, o object, all []impression) resolved {
	if m.query != "" {
		return j.ownObject(m, o, all)
	}
	r := resolved{index: or(m.index, m.app.DefaultIndex), open: true}
	if i, late := j.lookUp(all, m.time, wanted{o.id, m.index, m.model, ""}, true); i != nil {
		r = resolved{query: i.query, index: or(m.index, i.index), position: i.position(o.id), matched: true, open: late}
		if o.position > 0 {
			r.position = o.position
		}
	}
	return r
}

// ownObject resolves an object whose click names a queryID: what is lacking comes from that query's
// impression, and without a position the object is plain.
func (j *joiner) ownObject(m *message, o object, all []impression) resolved {
	r := resolved{query: m.query, index: m.index, position: o.position, matched: true, own: true}
	if r.position == 0 || r.index == "" {
		i, _ := j.lookUp(all, m.time, wanted{o.id, "", "", m.query}, false)
		r.open = i == nil
		if i != nil {
			r.index = or(r.index, i.index)
			if r.position == 0 {
				r.position = i.position(o.id)
			}
		}
	}
	r.index = or(r.index, m.app.DefaultIndex)
	if r.position == 0 {
		r.query, r.matched = "", false
	}
	return r
}

// item resolves an item of an add-to-cart or purchase.
func (j *joiner) item(m *message, it *item, all []impression, v view) resolved {
	index, app := or(it.index, m.index), m.app
	if own := or(it.query, m.query); own != "" {
		r := resolved{query: own, index: index, matched: true, own: true}
		if index == "" {
			i, _ := j.lookUp(all, m.time, wanted{it.id, "", "", own}, false)
			r.open = i == nil
			if i != nil {
				r.index = i.index
			}
			r.index = or(r.index, app.DefaultIndex)
		}
		return r
	}
	r := resolved{index: or(index, app.DefaultIndex), open: true}
	if j.usesClicks() {
		if c := j.rememberedClick(m, v, it.id, index); c != nil {
			r = resolved{query: c.query, index: or(index, c.index), matched: true}
			return j.purchasable(m, r)
		}
	}
	if j.usesShown() {
		if i, late := j.lookUp(all, m.time, wanted{it.id, index, it.model, ""}, true); i != nil {
			r = resolved{query: i.query, index: or(index, i.index), matched: true, open: late}
		}
	}
	return j.purchasable(m, r)
}

// purchasable leaves a message_ id out of a purchase: the item is plain with the index found, and counts as
// matched.
func (j *joiner) purchasable(m *message, r resolved) resolved {
	if m.typ == event.Purchased && event.IsMessageID([]byte(r.query)) {
		r.query = ""
	}
	return r
}

// conclude makes events, an absorption or a refusal of what was found.
func (j *joiner) conclude(m *message, found []resolved) Outcome {
	matched := slices.ContainsFunc(found, func(r resolved) bool { return r.matched })
	if !matched && j.in.Config.OnMiss == join.MissDrop {
		return Outcome{Absorbed: join.Dropped.String()}
	}
	if slices.ContainsFunc(found, func(r resolved) bool { return r.index == "" }) {
		return Outcome{Refused: event.NoIndex.String()}
	}
	if !matched && j.in.Config.OnMiss == join.MissDeadLetter {
		return Outcome{Refused: event.Unmatched.String()}
	}
	if m.typ == event.Clicked {
		for k, r := range found {
			if r.query != "" {
				m.clicks = append(m.clicks, click{j.placeOf(m.id), m.objects[k].id, r.query, r.index, m.time})
			}
		}
		return Outcome{Events: j.clickEvents(m, found)}
	}
	if m.typ == event.AddedToCart {
		return Outcome{Events: j.cartEvents(m, found)}
	}
	return Outcome{Events: j.purchaseEvents(m, found)}
}
