package dlq

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"eventworker/internal/deadletter"
)

// CauseStats is what a scan found of one cause.
type CauseStats struct {
	Cause, Reason, Stage, Field, Rule string
	// Type and Application are those of the letter that was met first; all of a cause have the same.
	Type, Application string
	// What is one sentence about it, of that letter, masked; its field has no indexes.
	What string

	Count int64
	// First and Last are when messages of it failed first and last.
	First, Last time.Time
	// Newest is the address of the letter that failed last.
	Newest Address
	// Deadline is the next moment at which a letter of it can no longer be replayed, zero: there is none.
	Deadline time.Time
	// Soon counts those for which that is within a day, Past those for which it has been.
	Soon, Past int64
	// Replayed counts letters that had been replayed before: they are here again.
	Replayed int64
	// New: its first letter is less than a day old, and the topic holds older ones of other causes.
	New bool
}

// Returning says whether messages of it were replayed and are dead again.
func (c *CauseStats) Returning() bool { return c.Replayed > 0 }

// Stats are the letters of a scan by cause.
type Stats struct {
	// Causes are the most frequent first.
	Causes []CauseStats
	Count  int64
	// Beyond counts letters of causes beyond the first ten thousand that were met; they are in no other
	// number but Count.
	Beyond             int64
	First, Last        time.Time
	Soon, Past         int64
	Replayed           int64
	Objects, Unmatched int64 // that the join had looked up: in all, and those without a queryID
	// Now is what deadlines were compared with.
	Now time.Time
}

// StatsOptions say how to count.
type StatsOptions struct {
	ScanOptions
	Mask   *Masker
	Limits Limits
	// Now is what deadlines are compared with; zero: the clock.
	Now time.Time
}

const (
	maxCauses = 10_000
	// soon is how near a deadline must be to be warned of, fresh how young a new cause is.
	soon  = 24 * time.Hour
	fresh = 24 * time.Hour
)

// Stats counts the letters of the snapshot that the filter takes, by cause. It holds a few hundred
// bytes for each cause, of at most ten thousand.
func (d *Desk) Stats(ctx context.Context, s Snapshot, f *Filter, o StatsOptions) (*Stats, Report, error) {
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	atOnce := o.Partitions
	if atOnce <= 0 {
		atOnce = scanPartitions
	}
	counters := make([]*counter, atOnce)
	report, err := d.scan(ctx, s, f, o.ScanOptions, func(n int) func(*Letter) error {
		counters[n] = &counter{causes: map[string]*causeCount{}, now: now.UnixMilli(), options: &o}
		return counters[n].take
	})
	all := &counter{causes: map[string]*causeCount{}, now: now.UnixMilli(), options: &o}
	for _, c := range counters {
		if c != nil {
			all.merge(c)
		}
	}
	return all.stats(now, f), report, err
}

// counter counts letters; it belongs to one goroutine. Times are milliseconds.
type counter struct {
	options *StatsOptions
	now     int64
	causes  map[string]*causeCount
	beyond  int64

	objects, unmatched int64
}

type causeCount struct {
	CauseStats
	first, last, deadline int64 // deadline 0: none ahead
}

func (c *counter) take(l *Letter) error {
	one := c.causes[string(l.raw[slotCause])]
	if one == nil {
		if one = c.meet(l); one == nil {
			c.beyond++
			return nil
		}
	}
	one.Count++
	failed := l.failedMillis()
	if failed < one.first {
		one.first = failed
	}
	if failed >= one.last {
		one.last, one.Newest = failed, l.Address()
	}
	if l.raw[slotReplayCount] != nil && l.ReplayCount() > 0 {
		one.Replayed++
	}
	if resolved := l.raw[slotResolved]; resolved != nil {
		c.objects += int64(bytes.Count(resolved, []byte(`"object":`)))
		c.unmatched += int64(bytes.Count(resolved, []byte(`"queryID":null`)))
	}
	c.reckon(one, l)
	return nil
}

// reckon notes the letter's deadline.
func (c *counter) reckon(one *causeCount, l *Letter) {
	limits := &c.options.Limits
	deadline := int64(0)
	if t := l.EventTime(); t > 0 && t < math.MaxInt64-limits.MaxAge.Milliseconds() && limits.MaxAge > 0 {
		deadline = t + limits.MaxAge.Milliseconds()
	}
	if limits.Retention > 0 {
		if gone := l.Time.UnixMilli() + limits.Retention.Milliseconds(); deadline == 0 || gone < deadline {
			deadline = gone
		}
	}
	switch {
	case deadline == 0:
	case deadline <= c.now:
		one.Past++
	default:
		if deadline-c.now <= soon.Milliseconds() {
			one.Soon++
		}
		if one.deadline == 0 || deadline < one.deadline {
			one.deadline = deadline
		}
	}
}

func (l *Letter) failedMillis() int64 {
	if at, ok := parseInstant(l.raw[slotFailed]); ok {
		return at.UnixMilli()
	}
	return l.Time.UnixMilli()
}

// meet makes the count of a cause that was not met before; nil: there are too many.
func (c *counter) meet(l *Letter) *causeCount {
	if len(c.causes) >= maxCauses {
		return nil
	}
	p := l.Payload()
	failed := l.failedMillis()
	one := &causeCount{first: failed, last: failed}
	one.CauseStats = CauseStats{Cause: l.Cause(), Reason: l.ReasonText(), Stage: string(l.Stage()), Field: deadletter.BareField(l.Field()), Rule: l.Rule(),
		Type: string(p.Type), Application: string(p.Application), Newest: l.Address()}
	one.What = c.options.Mask.Text(l.Message(), l.Tokens()...)
	if one.Field != "" {
		one.What = one.Field + ": " + strings.TrimPrefix(one.What, one.Field+": ")
	}
	c.causes[one.Cause] = one
	return one
}

// merge adds what another goroutine counted.
func (c *counter) merge(other *counter) {
	c.beyond += other.beyond
	c.objects += other.objects
	c.unmatched += other.unmatched
	for id, o := range other.causes {
		one := c.causes[id]
		if one == nil {
			if len(c.causes) >= maxCauses {
				c.beyond += o.Count
				continue
			}
			c.causes[id] = o
			continue
		}
		one.Count += o.Count
		one.Soon += o.Soon
		one.Past += o.Past
		one.Replayed += o.Replayed
		one.first = min(one.first, o.first)
		if o.last > one.last || o.last == one.last && o.Newest.Partition > one.Newest.Partition {
			one.last, one.Newest = o.last, o.Newest
		}
		if o.What < one.What { // whatever partition was read first
			one.What = o.What
		}
		if one.deadline == 0 || o.deadline != 0 && o.deadline < one.deadline {
			one.deadline = o.deadline
		}
	}
}

func (c *counter) stats(now time.Time, f *Filter) *Stats {
	s := &Stats{Now: now.UTC(), Beyond: c.beyond, Count: c.beyond, Objects: c.objects, Unmatched: c.unmatched}
	for _, one := range c.causes {
		one.First, one.Last = time.UnixMilli(one.first).UTC(), time.UnixMilli(one.last).UTC()
		if one.deadline > 0 {
			one.Deadline = time.UnixMilli(one.deadline).UTC()
		}
		s.Count += one.Count
		s.Soon += one.Soon
		s.Past += one.Past
		s.Replayed += one.Replayed
		if s.First.IsZero() || one.First.Before(s.First) {
			s.First = one.First
		}
		if one.Last.After(s.Last) {
			s.Last = one.Last
		}
		s.Causes = append(s.Causes, one.CauseStats)
	}
	// With a bound of time or offset nobody knows what was there before.
	if f.Since.IsZero() && f.EventSince.IsZero() && !f.names(keyOffsets) && now.Sub(s.First) > fresh {
		for i := range s.Causes {
			s.Causes[i].New = now.Sub(s.Causes[i].First) <= fresh
		}
	}
	slices.SortFunc(s.Causes, func(a, b CauseStats) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause))
	})
	return s
}

func (f *Filter) names(key string) bool {
	return slices.ContainsFunc(f.Clauses, func(c Clause) bool { return c.Key == key })
}
