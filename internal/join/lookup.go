package join

import (
	"bytes"
	"math"
	"slices"

	"eventworker/internal/querystore"
)

// newestImpressions is how many of a user's impressions count at an event's time
// (docs/contract.md, section 2). It bounds a walk.
const newestImpressions = 200

// A want asks for what one object of a message lacks.
type want struct {
	object []byte
	hash   uint64
	// index, model and queryID bind the answer where the message names them.
	index, model, queryID []byte
	// own: the object has a queryID of its own; only an impression of that id may complete it,
	// whatever index or model is named.
	own bool
	// clicks and shown say what may answer.
	clicks, shown bool

	click, shownBy, skewed answer
}

// An answer is a candidate that a walk found. Its slices lie in the lookup's arena.
type answer struct {
	ok             bool
	time           int64
	place          querystore.Place
	ordinal        uint16
	position       int64
	queryID, index []byte
}

// lookup answers all wants of one message in one walk over the user's records.
type lookup struct {
	wants []want
	// wantMark asks whether a delivered message of this id is remembered.
	wantMark bool
	mark     [16]byte
	marked   bool

	at      int64 // the event's time
	rules   *rules
	sources *sources
	limits  []int64 // of each source, what lies below is seen
	arena   []byte
	seen    []rank // impressions at or before the event's time that the walk met
	cut     rank   // once 200 were seen: the oldest of the newest 200
	walk    func(*querystore.Record) bool
}

// A rank orders impressions: newer first, then higher place, then the earlier list.
type rank struct {
	time    int64
	place   querystore.Place
	ordinal uint16
}

func newLookup(r *rules, s *sources) *lookup {
	l := &lookup{rules: r, sources: s}
	l.walk = l.visit
	return l
}

func (l *lookup) reset(at int64) {
	l.wants, l.arena, l.seen = l.wants[:0], l.arena[:0], l.seen[:0]
	l.cut = rank{time: math.MinInt64}
	l.wantMark, l.marked, l.at = false, false, at
}

// run walks the user's records. Without wants it does nothing.
func (l *lookup) run(s querystore.Section, user []byte) error {
	if len(l.wants) == 0 && !l.wantMark {
		return nil
	}
	if err := s.Walk(user, l.walk); err != nil {
		return err
	}
	if len(l.seen) > newestImpressions {
		l.prune()
	}
	for i := range l.wants {
		a := &l.wants[i].shownBy
		if a.ok && l.newer(l.cut, rank{a.time, a.place, a.ordinal}) {
			a.ok = false // not among the newest of the user at that time
		}
	}
	return nil
}

// visit judges one record and says whether the walk must go on.
func (l *lookup) visit(r *querystore.Record) bool {
	if l.done(r.NewestBelow) {
		return false
	}
	if r.Kind == querystore.KindMark {
		if l.wantMark && r.Time >= l.at-l.rules.dedupeWindow && r.Time <= l.at+l.rules.dedupeWindow && r.Hash() == l.mark {
			l.marked = true
		}
		return true
	}
	if !l.sees(r.Place) {
		return true
	}
	switch r.Kind {
	case querystore.KindImpression:
		l.impression(r)
	case querystore.KindClick:
		if r.Time <= l.at && r.Time >= l.at-l.rules.clickWindow {
			l.click(r)
		}
	}
	return true
}

// sees says whether a record belongs to the part of the log that answers. What an earlier life of
// the task stored from further on does not.
func (l *lookup) sees(p querystore.Place) bool {
	return int(p.Source) >= len(l.limits) || p.Offset < l.limits[p.Source]
}

// done says whether nothing in the rest of the chain, whose newest record has the given time, can
// change an answer.
func (l *lookup) done(newest int64) bool {
	oldest := l.at - l.rules.longest
	if l.wantMark && !l.marked {
		oldest = min(oldest, l.at-l.rules.dedupeWindow)
	}
	if newest < oldest {
		return true
	}
	if l.wantMark && !l.marked && newest >= l.at-l.rules.dedupeWindow {
		return false
	}
	for i := range l.wants {
		if !l.settled(&l.wants[i], newest) {
			return false
		}
	}
	return true
}

func (l *lookup) settled(w *want, newest int64) bool {
	if w.clicks {
		if w.click.ok {
			return newest < w.click.time
		}
		if newest >= l.at-l.rules.clickWindow {
			return false
		}
	}
	if !w.shown {
		return true
	}
	if w.shownBy.ok {
		return newest < w.shownBy.time
	}
	return newest < l.at-l.rules.window || newest < l.cut.time
}

func (l *lookup) impression(r *querystore.Record) {
	if r.Time > l.at {
		if r.Time <= l.at+l.rules.skew {
			l.skewed(r)
		}
		return
	}
	k := rank{r.Time, r.Place, r.Ordinal}
	l.seen = append(l.seen, k)
	if len(l.seen) >= 2*newestImpressions {
		l.prune()
	}
	if r.Time < l.at-l.rules.window {
		return
	}
	for i := range l.wants {
		w := &l.wants[i]
		if !w.shown || (w.shownBy.ok && !l.newer(k, rank{w.shownBy.time, w.shownBy.place, w.shownBy.ordinal})) || !binds(w, r) {
			continue
		}
		if pos, ok := r.Find(w.hash, w.object); ok && pos <= math.MaxInt32 {
			l.take(&w.shownBy, r, pos)
		}
	}
}

// skewed keeps the earliest impression after the event; of equal times the one that would win before it.
func (l *lookup) skewed(r *querystore.Record) {
	for i := range l.wants {
		w := &l.wants[i]
		if !w.shown || w.own || !binds(w, r) {
			continue
		}
		if a := &w.skewed; a.ok && (r.Time > a.time || (r.Time == a.time && !l.newer(rank{r.Time, r.Place, r.Ordinal}, rank{a.time, a.place, a.ordinal}))) {
			continue
		}
		if pos, ok := r.Find(w.hash, w.object); ok && pos <= math.MaxInt32 {
			l.take(&w.skewed, r, pos)
		}
	}
}

func (l *lookup) click(r *querystore.Record) {
	for i := range l.wants {
		w := &l.wants[i]
		if !w.clicks || (w.index != nil && !bytes.Equal(w.index, r.Index())) || !bytes.Equal(w.object, r.ObjectID()) {
			continue
		}
		if a := &w.click; a.ok && !l.newer(rank{r.Time, r.Place, r.Ordinal}, rank{a.time, a.place, a.ordinal}) {
			continue
		}
		l.take(&w.click, r, 0)
	}
}

func binds(w *want, r *querystore.Record) bool {
	if w.own {
		return bytes.Equal(w.queryID, r.QueryID())
	}
	return (w.index == nil || bytes.Equal(w.index, r.Index())) && (w.model == nil || bytes.Equal(w.model, r.Model()))
}

func (l *lookup) take(a *answer, r *querystore.Record, position int64) {
	*a = answer{ok: true, time: r.Time, place: r.Place, ordinal: r.Ordinal, position: position,
		queryID: l.keep(r.QueryID()), index: l.keep(r.Index())}
}

// keep copies what a record lends. Earlier copies stay valid when the arena moves.
func (l *lookup) keep(b []byte) []byte {
	n := len(l.arena)
	l.arena = append(l.arena, b...)
	return l.arena[n:len(l.arena):len(l.arena)]
}

// newer orders by time, then by (topic, partition, offset), then the first list.
func (l *lookup) newer(a, b rank) bool {
	if a.time != b.time {
		return a.time > b.time
	}
	if a.place != b.place {
		return l.sources.after(a.place, b.place)
	}
	return a.ordinal < b.ordinal
}

// prune keeps the newest 200 impressions and remembers the oldest of them.
func (l *lookup) prune() {
	slices.SortFunc(l.seen, func(a, b rank) int {
		if l.newer(a, b) {
			return -1
		}
		return 1
	})
	l.seen = l.seen[:newestImpressions]
	l.cut = l.seen[newestImpressions-1]
}
