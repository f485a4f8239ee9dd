package worker

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"eventworker/internal/deadletter"
	"eventworker/internal/telemetry"
)

// causes remembers of dead letters what people ask first: which causes there are, and what the API said
// last. It is bounded, holds no payload, and is safe for concurrent use.
type causes struct {
	mu       sync.Mutex
	known    map[string]*telemetry.Cause
	refusals []telemetry.Refusal // the oldest first
}

const (
	mostCauses   = 200 // remembered: about 100 KiB
	shownCauses  = 20
	mostRefusals = 20
)

// note takes a letter that is about to be written.
func (c *causes) note(l *deadletter.Letter) {
	now, id := time.Now(), deadletter.Cause(l)
	words := deadletter.BareWords(l.APIWords)
	c.mu.Lock()
	defer c.mu.Unlock()
	if words != "" || l.HTTPStatus > 0 {
		if len(c.refusals) == mostRefusals {
			c.refusals = slices.Delete(c.refusals, 0, 1)
		}
		c.refusals = append(c.refusals, telemetry.Refusal{At: now, Application: l.Application, Status: l.HTTPStatus, Words: words})
	}
	k := c.known[id]
	if k == nil {
		if c.known == nil {
			c.known = make(map[string]*telemetry.Cause)
		}
		if len(c.known) >= mostCauses {
			c.drop()
		}
		k = &telemetry.Cause{ID: id, Reason: l.Refusal.Reason.String(), Stage: string(l.Refusal.Stage), What: what(l, words), First: now}
		c.known[id] = k
	}
	k.Count++
	k.Last = now
}

// what says shortly what is wrong with a letter, without any of its values.
func what(l *deadletter.Letter, words string) string {
	text := l.Refusal.Rule
	if field := deadletter.BareField(l.Refusal.Field); field != "" {
		text = field + ": " + text
	}
	if words != "" {
		text += ": " + words
	}
	const longest = 200
	if len(text) > longest {
		text = string([]rune(text)[:min(longest, len([]rune(text)))]) + "…"
	}
	return text
}

// drop forgets the cause that was seen least recently.
func (c *causes) drop() {
	oldest := ""
	for id, k := range c.known {
		if oldest == "" || k.Last.Before(c.known[oldest].Last) {
			oldest = id
		}
	}
	delete(c.known, oldest)
}

// top are the most frequent causes, and the last refusals, the newest first.
func (c *causes) top() (list []telemetry.Cause, refusals []telemetry.Refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list = []telemetry.Cause{}
	for _, k := range c.known {
		list = append(list, *k)
	}
	slices.SortFunc(list, func(a, b telemetry.Cause) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.ID, b.ID)) })
	refusals = slices.Clone(c.refusals)
	slices.Reverse(refusals)
	return list[:min(len(list), shownCauses)], refusals
}

// lastRequests are how long the last requests of an application took and how they were answered.
type lastRequests struct {
	mu      sync.Mutex
	n       int // of all
	took    [recentRequests]time.Duration
	classes [recentRequests]string
}

const recentRequests = 256

func (l *lastRequests) note(took time.Duration, class string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took[l.n%recentRequests], l.classes[l.n%recentRequests] = took, class
	l.n++
}

// summary gives quantiles in seconds, and the answers by class, the most frequent first.
func (l *lastRequests) summary() (median, p99 float64, answers []telemetry.Count) {
	l.mu.Lock()
	n := min(l.n, recentRequests)
	took := slices.Clone(l.took[:n])
	counts := make(map[string]int64)
	for _, class := range l.classes[:n] {
		counts[class]++
	}
	l.mu.Unlock()
	answers = []telemetry.Count{}
	if n == 0 {
		return 0, 0, answers
	}
	slices.Sort(took)
	for class, count := range counts {
		answers = append(answers, telemetry.Count{Name: class, Count: count})
	}
	slices.SortFunc(answers, func(a, b telemetry.Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name))
	})
	return took[(n-1)/2].Seconds(), took[(n-1)*99/100].Seconds(), answers
}
