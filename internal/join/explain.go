package join

import (
	"cmp"
	"math"
	"slices"

	"eventworker/internal/event"
	"eventworker/internal/querystore"
)

// Why says why a candidate was passed over.
type Why string

// The reasons for passing a candidate over, in the order in which they are looked at
// (docs/contract.md, section 2).
const (
	// WhyNotAsked: join.attribution leaves its kind out.
	WhyNotAsked Why = "not-asked"
	// WhyAfter: it lies after the event; an impression that answers by clock skew is not passed over.
	WhyAfter Why = "after"
	// WhyOutsideWindow: it is older than join.window, or join.click_window, allows.
	WhyOutsideWindow Why = "outside-window"
	WhyOtherIndex    Why = "other-index"
	WhyOtherModel    Why = "other-model"
	WhyOtherQueryID  Why = "other-query-id"
	// WhyNotNewest: it is not among the newest 200 impressions that the user had at the event's time.
	WhyNotNewest Why = "not-newest"
	// WhyClickFirst: it is an impression, and a remembered click answered.
	WhyClickFirst Why = "click-first"
	// WhyOlder: one that is newer, or of equal time and later in the log, answered; among
	// impressions after the event, one that is earlier.
	WhyOlder Why = "older"
)

// A Candidate is an impression or a remembered click of the user that names an object.
type Candidate struct {
	Click  bool
	Topic  string
	Offset int64
	// List is the list's place in its shown message, or the object's in its clicked message.
	List int
	Time int64 // event time, milliseconds
	// QueryID, Index and Model are those of the record; a click has no model.
	QueryID, Index, Model string
	// Position is the object's in the impression, 0 for a click.
	Position int64
	// Why it was passed over; empty for the one that answered.
	Why Why
}

// An Explanation says how one object of a message came by its queryID and index, or why it did not.
type Explanation struct {
	Object   int // the object's or item's place in its message
	ObjectID string
	// At is the event time of the message, which looks back from there; milliseconds.
	At int64
	// QueryID, Index and Position are what the object ends with; empty and 0: none.
	QueryID, Index string
	Position       int32
	// From is where the queryID came from: message, click, impression or later-impression (one
	// within join.clock_skew after the event); empty: the object is plain.
	From string
	// IndexFrom is where the index came from: message, click, impression or default-index; empty:
	// nothing gave one.
	IndexFrom string
	// Asked is false where the message said everything, so that nothing was looked up. Own: the object
	// had a queryID of its own, for which a look-up could only add a position or an index.
	Asked, Own bool
	// Chosen is what answered; nil: nothing did.
	Chosen *Candidate
	// PassedOver are the newest of what did not, and More says how many more there are.
	PassedOver []Candidate
	More       int
}

// maxPassedOver bounds the candidates of one explanation.
const maxPassedOver = 20

var originNames = [...]string{fromNothing: "", fromMessage: "message", fromClick: "click", fromShown: "impression", fromSkewed: "later-impression"}

// Explain says what was decided for each object of a click, add-to-cart or purchase. It may be called
// only by the [Output] and only for the message it is being told of, within Encoded, within Absorbed
// with Dropped, or within Refused with a refusal of [event.StageJoin]. It reads all
// records of the user and keeps nothing: those who do not call it pay nothing for it.
func (t *Task[M]) Explain() ([]Explanation, error) {
	f := t.f
	if f.ev.Type == event.Shown || len(f.resolved) == 0 {
		return nil, nil
	}
	x := explainer{l: t.lookup, own: f.place(), items: f.ev.Type != event.Clicked, of: make([]explained, len(f.resolved))}
	for i := range f.resolved {
		x.of[i] = t.explained(i)
	}
	if err := x.walk(t.section, f.user); err != nil {
		return nil, err
	}
	x.finish()
	list := make([]Explanation, len(x.of))
	for i := range x.of {
		list[i] = x.of[i].Explanation
	}
	return list, nil
}

// explained is an explanation in the making.
type explained struct {
	Explanation
	want       *want   // nil: nothing was asked
	answer     *answer // nil: none
	candidates []rankedCandidate
}

type rankedCandidate struct {
	rank
	Candidate
}

func (t *Task[M]) explained(i int) explained {
	f := t.f
	r := &f.resolved[i]
	e := explained{Explanation: Explanation{Object: i, ObjectID: string(r.object), At: f.at, QueryID: string(r.queryID), Index: string(r.index),
		Position: r.position, From: originNames[r.source]}}
	e.Own = f.ev.QueryID != nil
	named := f.ev.Index
	if f.ev.Type != event.Clicked {
		it := &f.ev.Items[i]
		e.Own = or(it.QueryID, t.messageQueryID()) != nil
		named = or(it.Index, named)
	}
	if r.want >= 0 {
		e.want = &t.lookup.wants[r.want]
		e.Asked = true
		e.answer = e.want.chosen()
	}
	switch {
	case named != nil:
		e.IndexFrom = "message"
	case e.answer != nil && e.answer.index != nil:
		e.IndexFrom = "impression"
		if e.answer == &e.want.click {
			e.IndexFrom = "click"
		}
	case r.index != nil:
		e.IndexFrom = "default-index"
	}
	return e
}

// chosen is the answer that is taken, nil if there is none.
func (w *want) chosen() *answer {
	for _, a := range []*answer{&w.click, &w.shownBy, &w.skewed} {
		if a.ok {
			return a
		}
	}
	return nil
}

// explainer finds the candidates for all objects of a message.
type explainer struct {
	l    *lookup
	own  querystore.Place // the message's own effects are not candidates
	of   []explained
	seen []rank // impressions at or before the event
	// items: clicks answer for the items of add-to-carts and purchases, not for other clicks.
	items bool
}

func (x *explainer) walk(s querystore.Section, user []byte) error {
	for i := range x.of {
		e := &x.of[i]
		if e.want == nil || e.Own || !x.items {
			continue
		}
		err := s.Walk(x.l.clickKey(user, e.want.object), func(r *querystore.Record) bool {
			if r.Kind == querystore.KindClick && x.l.sees(r.Place) {
				x.add(e, r, 0)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return s.Walk(user, x.visitImpression)
}

func (x *explainer) visitImpression(r *querystore.Record) bool {
	if r.Kind != querystore.KindImpression || r.Place == x.own || !x.l.sees(r.Place) {
		return true
	}
	if r.Time <= x.l.at {
		x.seen = append(x.seen, rank{r.Time, r.Place, r.Ordinal})
	}
	for i := range x.of {
		if e := &x.of[i]; e.want != nil {
			if position, ok := r.Find(e.want.hash, e.want.object); ok && position <= math.MaxInt32 {
				x.add(e, r, position)
			}
		}
	}
	return true
}

func (x *explainer) add(e *explained, r *querystore.Record, position int64) {
	e.candidates = append(e.candidates, rankedCandidate{rank{r.Time, r.Place, r.Ordinal}, Candidate{
		Click: r.Kind == querystore.KindClick, Topic: x.l.sources.name(r.Place.Source), Offset: r.Place.Offset, List: int(r.Ordinal),
		Time: r.Time, QueryID: string(r.QueryID()), Index: string(r.Index()), Model: string(r.Model()), Position: position}})
}

// finish judges the candidates once all impressions of the user are known, the newest first.
func (x *explainer) finish() {
	newestFirst := func(a, b rank) int {
		if a == b {
			return 0
		}
		if x.l.newer(a, b) {
			return -1
		}
		return 1
	}
	slices.SortFunc(x.seen, newestFirst)
	cut := rank{time: math.MinInt64}
	if len(x.seen) > newestImpressions {
		cut = x.seen[newestImpressions-1]
	}
	for i := range x.of {
		e := &x.of[i]
		slices.SortFunc(e.candidates, func(a, b rankedCandidate) int {
			return cmp.Or(newestFirst(a.rank, b.rank), cmp.Compare(a.List, b.List))
		})
		for _, c := range e.candidates {
			if a := e.answer; a != nil && c.rank == (rank{a.time, a.place, a.ordinal}) && c.Click == (a == &e.want.click) {
				e.Chosen = &c.Candidate
				continue
			}
			c.Why = x.why(e, &c, cut)
			if len(e.PassedOver) < maxPassedOver {
				e.PassedOver = append(e.PassedOver, c.Candidate)
			} else {
				e.More++
			}
		}
	}
}

// why says why a candidate that did not answer was passed over.
func (x *explainer) why(e *explained, c *rankedCandidate, cut rank) Why {
	w, window := e.want, x.l.rules.window
	asked, latest := w.shown, x.l.at
	if c.Click {
		asked, window = w.clicks, x.l.rules.clickWindow
	} else if !w.own {
		latest += x.l.rules.skew
	}
	switch {
	case !asked:
		return WhyNotAsked
	case c.Time > latest:
		return WhyAfter
	case c.Time < x.l.at-window:
		return WhyOutsideWindow
	case w.own && string(w.queryID) != c.QueryID:
		return WhyOtherQueryID
	case !w.own && w.index != nil && string(w.index) != c.Index:
		return WhyOtherIndex
	case !w.own && !c.Click && w.model != nil && string(w.model) != c.Model:
		return WhyOtherModel
	case !c.Click && e.answer == &w.click:
		return WhyClickFirst
	case c.Time > x.l.at && e.answer != &w.skewed:
		return WhyAfter
	case !c.Click && c.Time <= x.l.at && x.l.newer(cut, c.rank):
		return WhyNotNewest
	}
	return WhyOlder
}
