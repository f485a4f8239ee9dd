package insightsfake

import (
	"maps"
	"strconv"
	"sync"
	"time"
)

// Stats is what a [Server] did since it was made or reset. Every request of the
// API is counted once:
//
//	Requests = Σ ByStatus + Reset + AnswersLost + Abandoned
//
// once all of them are done. The fake's own endpoints are not counted.
type Stats struct {
	Since time.Time `json:"since"`

	Requests    int64            `json:"requests"`
	ByStatus    map[string]int64 `json:"by_status"`    // answers sent, by HTTP status
	Reset       int64            `json:"reset"`        // connections cut by script before anything was taken
	AnswersLost int64            `json:"answers_lost"` // connections cut by script after the events were taken
	Abandoned   int64            `json:"abandoned"`    // the client went away first; nothing was taken
	BodyBytes   int64            `json:"body_bytes"`   // of the bodies that were accepted

	Events    EventStats       `json:"events"`
	RefusedBy map[string]int64 `json:"refused_by"` // requests answered 422, by the first rule broken

	Faults        map[string]int64 `json:"faults"`         // how often each kind of fault struck
	TokensDeleted int64            `json:"tokens_deleted"` // DELETE /1/usertokens answered 204
}

// EventStats counts events.
type EventStats struct {
	Accepted  int64 `json:"accepted"`
	Refused   int64 `json:"refused"` // in requests answered 422, good ones among them; each try counts
	LargestOK int64 `json:"largest_accepted_batch"`

	Kept       bool  `json:"kept"`       // whether the two following are counted
	Distinct   int64 `json:"distinct"`   // different accepted events
	Duplicates int64 `json:"duplicates"` // accepted events that were accepted before

	ByType           map[string]int64 `json:"by_type"`        // view, click, conversion, addToCart, purchase
	ByApplication    map[string]int64 `json:"by_application"` // at most 1,000 of them, the rest under "(other)"
	WithoutTimestamp int64            `json:"without_timestamp"`
	WithQueryID      int64            `json:"with_query_id"` // of the event, or of any item
	WithPositions    int64            `json:"with_positions"`
}

const (
	maxApplications   = 1000
	otherApplications = "(other)"
)

// tally counts the events of one request by what [EventStats] tells apart.
type tally struct {
	byType                                 [5]int64
	withoutTimestamp, withQuery, positions int64
}

var typeNames = [...]string{"view", "click", "conversion", "addToCart", "purchase"}

func (t *tally) add(v *view) {
	name := v.eventType
	if len(v.eventSubtype) > 0 {
		name = v.eventSubtype
	}
	for i, known := range typeNames {
		if string(name) == known {
			t.byType[i]++
		}
	}
	if v.timestamp == 0 {
		t.withoutTimestamp++
	}
	if v.positionCount > 0 {
		t.positions++
	}
	query := v.has&hasQueryID != 0
	for i := range v.items {
		query = query || v.items[i].has&hasQueryID != 0
	}
	if query {
		t.withQuery++
	}
}

// counters is the Server's Stats under a lock.
type counters struct {
	mu sync.Mutex
	Stats
}

func (c *counters) reset(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Stats = Stats{
		Since:     now,
		ByStatus:  map[string]int64{},
		RefusedBy: map[string]int64{},
		Faults:    map[string]int64{},
		Events:    EventStats{ByType: map[string]int64{}, ByApplication: map[string]int64{}},
	}
}

func (c *counters) request()          { c.count(func(s *Stats) { s.Requests++ }) }
func (c *counters) status(status int) { c.count(func(s *Stats) { s.ByStatus[strconv.Itoa(status)]++ }) }
func (c *counters) fault(k Kind)      { c.count(func(s *Stats) { s.Faults[string(k)]++ }) }

func (c *counters) count(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.Stats)
}

func (c *counters) refused(r rule, events int) {
	c.count(func(s *Stats) {
		s.RefusedBy[rules[r].name]++
		s.Events.Refused += int64(events)
	})
}

func (c *counters) accepted(application string, bytes, events int, t *tally) {
	c.count(func(s *Stats) {
		s.BodyBytes += int64(bytes)
		e := &s.Events
		e.Accepted += int64(events)
		e.LargestOK = max(e.LargestOK, int64(events))
		for i, n := range t.byType {
			if n > 0 {
				e.ByType[typeNames[i]] += n
			}
		}
		e.WithoutTimestamp += t.withoutTimestamp
		e.WithQueryID += t.withQuery
		e.WithPositions += t.positions
		if _, known := e.ByApplication[application]; !known && len(e.ByApplication) >= maxApplications {
			application = otherApplications
		}
		e.ByApplication[application] += int64(events)
	})
}

// Stats gives a copy of the counts at this instant.
func (s *Server) Stats() Stats {
	s.counters.mu.Lock()
	out := s.counters.Stats
	out.ByStatus = copied(out.ByStatus)
	out.RefusedBy = copied(out.RefusedBy)
	out.Faults = copied(out.Faults)
	out.Events.ByType = copied(out.Events.ByType)
	out.Events.ByApplication = copied(out.Events.ByApplication)
	s.counters.mu.Unlock()
	if s.opts.Keep {
		out.Events.Kept = true
		out.Events.Distinct = s.kept.Distinct()
		out.Events.Duplicates = s.kept.Total() - out.Events.Distinct
	}
	return out
}

func copied(m map[string]int64) map[string]int64 {
	out := make(map[string]int64, len(m))
	maps.Copy(out, m)
	return out
}
