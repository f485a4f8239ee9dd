package dlq

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// The times that [Watched] speaks of.
const (
	// WatchLater and WatchSoon are how near a deadline is.
	WatchLater = 24 * time.Hour
	WatchSoon  = 4 * time.Hour
	// WatchRecent is how young a cause is to be new; also, what happened in it is recent.
	WatchRecent = time.Hour
	// WatchRush is the time in which the letters of a new cause are counted.
	WatchRush = 15 * time.Minute
)

// topCauses is how many causes are named.
const topCauses = 10

// Watched is what a look of a [Watch] found.
type Watched struct {
	// At is the moment that it holds for.
	At time.Time `json:"at"`
	// Took is how long it took to read what was new, and to count.
	Took time.Duration `json:"-"`
	// LeftOut is how many of the topic's oldest offsets were left out, since there are too many.
	LeftOut int64 `json:"left_out"`
	// Letters by what became of them: Total is their sum.
	Total     int64 `json:"letters"`
	Open      int64 `json:"open"`
	Replayed  int64 `json:"replayed"`
	Discarded int64 `json:"discarded"`
	Parked    int64 `json:"parked"`
	// ParkedLately were parked in the last hour.
	ParkedLately int64 `json:"parked_last_hour"`
	// OpenByReason has each of [Reasons], and other for what this version does not know.
	OpenByReason map[string]int64 `json:"open_by_reason"`
	// Of the open ones: can no longer be replayed, or only for less than 4 or 24 hours. Within24h includes
	// Within4h.
	Unreplayable int64 `json:"unreplayable"`
	Within4h     int64 `json:"unreplayable_within_4h"`
	Within24h    int64 `json:"unreplayable_within_24h"`
	// Returned are the open letters of messages that were replayed: they are dead again.
	Returned int64 `json:"returned"`
	// Causes is how many causes the open letters have; those beyond ten thousand are in no count of causes.
	Causes int64 `json:"causes"`
	// NewCauses have no letter that is older than an hour. NewLargest is how many letters came in the last 15
	// minutes of that one of them of which most came.
	NewCauses  int64 `json:"new_causes"`
	NewLargest int64 `json:"new_cause_letters"`
	// ReturnedCauses have open letters that came in the last hour of messages that were replayed.
	ReturnedCauses int64 `json:"returned_causes"`
	// Replays are all replayed messages by their last outcome, Last the newest replay; its ID is empty where
	// there was none.
	Replays ReplayOutcomes `json:"replays"`
	Last    LastReplay     `json:"last_replay"`
	// Top are the most frequent causes of open letters, at most ten.
	Top []WatchedCause `json:"top_causes"`
}

// ReplayOutcomes counts replayed messages by what became of them. Open ones have no outcome yet.
type ReplayOutcomes struct {
	Delivered int64 `json:"delivered"`
	Duplicate int64 `json:"duplicate"`
	Absorbed  int64 `json:"absorbed"`
	Dead      int64 `json:"dead"`
	Open      int64 `json:"open"`
}

// LastReplay is the newest replay. What a later replay has overwritten is not among its outcomes.
type LastReplay struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Planned int64     `json:"planned"`
	ReplayOutcomes
}

// WatchedCause is a cause of open letters.
type WatchedCause struct {
	Cause    string `json:"cause"`
	Reason   string `json:"reason"`
	Open     int64  `json:"open"`
	Returned int64  `json:"returned"`
	// First is when a message of it failed first, Last when one of the open letters did last.
	First time.Time `json:"first_failed_at"`
	Last  time.Time `json:"last_failed_at"`
	New   bool      `json:"new"`
}

// otherReason stands for reasons that this version does not know.
const otherReason = "other"

func reasonName(i uint8) string {
	if names := Reasons(); int(i) < len(names) {
		return names[i]
	}
	return otherReason
}

// causeTally counts the letters of a cause.
type causeTally struct {
	open, returned, lately, rush, last int64
}

// watchTally is one count.
type watchTally struct {
	*Watched

	now, maxAge, keeps int64 // milliseconds
	reasons            []int64
	causes             []causeTally
}

// count counts what is in mind.
func (w *Watch) count(keeps time.Duration) *Watched {
	now := w.o.Now()
	t := watchTally{Watched: &Watched{At: now.UTC(), OpenByReason: map[string]int64{}, Top: []WatchedCause{}}, now: now.UnixMilli(), maxAge: w.o.MaxAge.Milliseconds(),
		keeps: keeps.Milliseconds(), reasons: make([]int64, numReasons), causes: make([]causeTally, len(w.causes))}
	for _, p := range w.letters {
		for i := range p.letters {
			t.letter(&p.letters[i], w.state(&p.letters[i]))
		}
	}
	for i, n := range t.reasons {
		t.OpenByReason[reasonName(uint8(i))] = n
	}
	t.tellCauses(w.causes)
	w.countReplays(t.Watched)
	return t.Watched
}

func (t *watchTally) letter(l *watchedLetter, state uint8) {
	t.Total++
	cause := &t.causes[l.cause]
	if t.now-l.failed <= WatchRush.Milliseconds() {
		cause.rush++
	}
	switch state {
	case stateReplayed:
		t.Replayed++
		return
	case stateDiscarded:
		t.Discarded++
		return
	case stateParked:
		t.Parked++
		return
	}
	t.Open++
	t.reasons[l.reason]++
	cause.open++
	cause.last = max(cause.last, l.failed)
	if l.again {
		t.Returned++
		cause.returned++
		if t.now-l.failed <= WatchRecent.Milliseconds() {
			cause.lately++
		}
	}
	t.reckon(l)
}

// reckon counts an open letter by how near its deadline is, which is that of [Letter.Deadline].
func (t *watchTally) reckon(l *watchedLetter) {
	left, bounded := int64(0), false
	if l.event > 0 && t.maxAge > 0 { // times far ahead must not overflow
		left, bounded = l.event-t.now+t.maxAge, true
	}
	if t.keeps > 0 {
		if gone := l.written - t.now + t.keeps; !bounded || gone < left {
			left, bounded = gone, true
		}
	}
	switch {
	case !bounded:
	case left <= 0:
		t.Unreplayable++
	case left <= WatchSoon.Milliseconds():
		t.Within4h++
		t.Within24h++
	case left <= WatchLater.Milliseconds():
		t.Within24h++
	}
}

// tellCauses adds up by cause; the first stands for those that are not told apart.
func (t *watchTally) tellCauses(causes []watchedCause) {
	for i := 1; i < len(causes); i++ {
		c, n := &causes[i], &t.causes[i]
		fresh := t.now-c.first <= WatchRecent.Milliseconds()
		if fresh {
			t.NewCauses++
			t.NewLargest = max(t.NewLargest, n.rush)
		}
		if n.lately > 0 {
			t.ReturnedCauses++
		}
		if n.open == 0 {
			continue
		}
		t.Causes++
		t.Top = append(t.Top, WatchedCause{Cause: c.id, Reason: reasonName(c.reason), Open: n.open, Returned: n.returned,
			First: time.UnixMilli(c.first).UTC(), Last: time.UnixMilli(n.last).UTC(), New: fresh})
	}
	slices.SortFunc(t.Top, func(a, b WatchedCause) int { return cmp.Or(cmp.Compare(b.Open, a.Open), cmp.Compare(a.Cause, b.Cause)) })
	t.Top = slices.Clone(t.Top[:min(topCauses, len(t.Top))])
}

// countReplays adds up the outcomes of replayed messages.
func (w *Watch) countReplays(found *Watched) {
	newest := uint64(0)
	for id, p := range w.plans {
		later := cmp.Or(p.Created.Compare(found.Last.Created), cmp.Compare(p.ID, found.Last.ID)) > 0
		if p.Planned > 0 && later { // one of nothing parks letters that were replayed often, at most
			newest, found.Last = id, p
		}
	}
	now := found.At.UnixMilli()
	for _, s := range w.states {
		if s.status == stateParked && now-s.at <= WatchRecent.Milliseconds() {
			found.ParkedLately++
		}
		if s.replay == 0 {
			continue
		}
		found.Replays.add(&s)
		if s.replay == newest {
			found.Last.add(&s)
		}
	}
}

// add counts a message.
func (o *ReplayOutcomes) add(s *watchedState) {
	*[...]*int64{&o.Delivered, &o.Duplicate, &o.Absorbed, &o.Dead, &o.Open}[s.outcome]++
}

// notePlan takes the plan of a replay that was begun; nil: it is forgotten.
func (w *Watch) notePlan(id string, text []byte) {
	var p struct {
		Created time.Time `json:"created"`
		Planned int64     `json:"planned"`
	}
	key := w.replay(id)
	switch {
	case text == nil:
		delete(w.plans, key)
	case json.Unmarshal(text, &p) == nil:
		w.plans[key] = LastReplay{ID: id, Created: p.Created, Planned: p.Planned}
	}
}
