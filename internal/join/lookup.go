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
	model          uint8 // in Models; of a click: none
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
	// markAnyTime: the mark counts whenever it was left.
	markAnyTime bool

	at      int64 // the event's time
	rules   *rules
	sources *sources
	limits  []int64 // of each source, what lies below is seen
	arena   []byte
	seen    []rank // impressions at or before the event's time that the walk met
	cut     rank   // once 200 were seen: the oldest of the newest 200
	key     []byte
	asked   *want // whose clicks are walked

	// The visits, bound once.
	visitMark, visitClick, visitImpression func(*querystore.Record) bool
}

// A rank orders impressions: newer first, then higher place, then the earlier list.
type rank struct {
	time    int64
	place   querystore.Place
	ordinal uint16
}

func newLookup(r *rules, s *sources) *lookup {
	l := &lookup{rules: r, sources: s}
	l.visitMark, l.visitClick, l.visitImpression = l.judgeMark, l.judgeClick, l.judgeImpression
	return l
}

func (l *lookup) reset(at int64) {
	l.wants, l.arena, l.seen = l.wants[:0], l.arena[:0], l.seen[:0]
	l.cut = rank{time: math.MinInt64}
	l.wantMark, l.markAnyTime, l.marked, l.at = false, false, false, at
}

// run looks for answers. Without wants it does nothing. Clicks and marks have chains of their own, so
// that neither a user with a long history nor an object that nobody clicked makes a walk long.
func (l *lookup) run(s querystore.Section, user []byte) error {
	if l.wantMark {
		if err := s.Walk(l.markKey(user, &l.mark), l.visitMark); err != nil || l.marked {
			return err
		}
	}
	open := 0 // wants that impressions may answer
	for i := range l.wants {
		l.asked = &l.wants[i]
		if l.asked.clicks {
			if err := s.Walk(l.clickKey(user, l.asked.object), l.visitClick); err != nil {
				return err
			}
		}
		if l.asked.shown && !l.asked.click.ok {
			open++
		}
	}
	if open == 0 {
		return nil
	}
	return l.walkImpressions(s, user)
}

// clickKey is the key of the clicks of a user on an object, markKey that of the marks of an id. Both
// are valid until the next call of either.
func (l *lookup) clickKey(user, object []byte) []byte {
	l.key = querystore.AppendClickKey(l.key[:0], user, object)
	return l.key
}

func (l *lookup) markKey(user []byte, mark *[16]byte) []byte {
	l.key = querystore.AppendMarkKey(l.key[:0], user, mark)
	return l.key
}

func (l *lookup) judgeMark(r *querystore.Record) bool {
	if l.markAnyTime {
		l.marked = r.Kind == querystore.KindMark
		return !l.marked
	}
	if r.NewestBelow < l.at-l.rules.dedupeWindow {
		return false
	}
	l.marked = r.Kind == querystore.KindMark && r.Time >= l.at-l.rules.dedupeWindow && r.Time <= l.at+l.rules.dedupeWindow
	return !l.marked
}

func (l *lookup) judgeClick(r *querystore.Record) bool {
	w := l.asked
	if r.NewestBelow < l.at-l.rules.clickWindow || w.click.ok && r.NewestBelow < w.click.time {
		return false
	}
	if r.Kind == querystore.KindClick && r.Time <= l.at && r.Time >= l.at-l.rules.clickWindow && l.sees(r.Place) {
		l.click(w, r)
	}
	return true
}

func (l *lookup) walkImpressions(s querystore.Section, user []byte) error {
	if err := s.Walk(user, l.visitImpression); err != nil {
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

func (l *lookup) judgeImpression(r *querystore.Record) bool {
	if l.done(r.NewestBelow) {
		return false
	}
	if r.Kind == querystore.KindImpression && l.sees(r.Place) {
		l.impression(r)
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
	if newest < l.at-l.rules.window || newest < l.cut.time {
		return true
	}
	for i := range l.wants {
		if w := &l.wants[i]; w.shown && !w.click.ok && !(w.shownBy.ok && newest < w.shownBy.time) {
			return false
		}
	}
	return true
}

func (l *lookup) impression(r *querystore.Record) {
	if r.Time > l.at {
		if r.Time <= l.at+l.rules.skew {
			l.skewed(r)
		}
		return
	}
	k := rank{r.Time, r.Place, r.Ordinal}
	if l.newer(l.cut, k) {
		return
	}
	switch l.seen = append(l.seen, k); len(l.seen) {
	case newestImpressions, 2 * newestImpressions:
		l.prune()
	}
	if r.Time < l.at-l.rules.window {
		return
	}
	for i := range l.wants {
		w := &l.wants[i]
		if !w.shown || w.click.ok || (w.shownBy.ok && !l.newer(k, rank{w.shownBy.time, w.shownBy.place, w.shownBy.ordinal})) || !binds(w, r) {
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
		if !w.shown || w.own || w.click.ok || !binds(w, r) {
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

// click keeps the newest click on the object of the want.
func (l *lookup) click(w *want, r *querystore.Record) {
	if w.index != nil && !bytes.Equal(w.index, r.Index()) {
		return
	}
	if a := &w.click; a.ok && !l.newer(rank{r.Time, r.Place, r.Ordinal}, rank{a.time, a.place, a.ordinal}) {
		return
	}
	l.take(&w.click, r, 0)
}

func binds(w *want, r *querystore.Record) bool {
	if w.own {
		return bytes.Equal(w.queryID, r.QueryID())
	}
	return (w.index == nil || bytes.Equal(w.index, r.Index())) && (w.model == nil || bytes.Equal(w.model, r.Model()))
}

func (l *lookup) take(a *answer, r *querystore.Record, position int64) {
	*a = answer{ok: true, time: r.Time, place: r.Place, ordinal: r.Ordinal, position: position,
		model: modelNumber(r.Model()), queryID: l.keep(r.QueryID()), index: l.keep(r.Index())}
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
