package dlq

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Filter says which dead letters are meant. Flags, queries and URLs all come to it by [Filter.Add], so
// that they mean the same. The zero value takes every letter.
type Filter struct {
	// Clauses hold together: a letter must keep all of them.
	Clauses []Clause
	// Since ≤ failed-at < Until, and EventSince ≤ the event's own time < EventUntil; zero: no bound.
	Since, Until, EventSince, EventUntil time.Time

	// Mask tells the mask of a token, so that user:u-3f… finds what a table showed; nil: masks find
	// nothing.
	Mask func(token []byte) string

	// byState is set by Desk.ByState; several goroutines call it.
	byState func(l *Letter) bool
}

// Clause is one key with the values of which one must apply, or none if Not is set.
type Clause struct {
	Key    string
	Not    bool
	Values []string // canonical, sorted, without repeats; at least one

	matches []matcher
	dear    bool          // the payload is looked at
	ranges  []OffsetRange // of the key offsets
	// fromEnd: a range counts from the end, which only a snapshot knows.
	fromEnd bool
}

// matcher tests one value of a clause.
type matcher func(f *Filter, l *Letter) bool

// Add adds a clause. values are separated by commas, of which one must apply; each further call
// must apply, too. Times and durations count from now. Its error is a [*CallError].
func (f *Filter) Add(key, values string, not bool, now time.Time) error {
	k, ok := filterKeys[key]
	if !ok {
		return unknownKey(key)
	}
	if k.bound != nil {
		if not {
			return callf("eventworker help filters", "-%s cannot be negated: use its opposite bound", key)
		}
		at, err := ParseTime(values, now)
		if err != nil {
			return callf("eventworker help filters", "%s: %v", key, err)
		}
		return k.bound(f, at.UTC())
	}
	c := Clause{Key: key, Not: not, dear: k.dear}
	for _, value := range split(values) {
		if value == "" {
			return callf("eventworker help filters", "%s wants a value: %s", key, k.wants)
		}
		if err := c.add(&k, value); err != nil {
			return err
		}
	}
	if len(c.Values) == 0 {
		return callf("eventworker help filters", "%s wants a value: %s", key, k.wants)
	}
	f.Clauses = append(f.Clauses, c)
	return nil
}

func (c *Clause) add(k *filterKey, value string) error {
	text, match, err := k.parse(value)
	if err != nil {
		return callf("eventworker help filters", "%s: %v", c.Key, err)
	}
	i, there := slices.BinarySearch(c.Values, text)
	if there {
		return nil
	}
	c.Values = slices.Insert(c.Values, i, text)
	c.matches = append(c.matches, match)
	if c.Key == keyOffsets {
		r, err := parseOffsets(text)
		if err != nil {
			return callf("eventworker help filters", "%s: %v", c.Key, err)
		}
		c.ranges = append(c.ranges, r)
		c.fromEnd = c.fromEnd || r.Last > 0
	}
	return nil
}

// Empty says whether the filter takes every letter.
func (f *Filter) Empty() bool {
	return len(f.Clauses) == 0 && f.Since.IsZero() && f.Until.IsZero() && f.EventSince.IsZero() && f.EventUntil.IsZero()
}

// String is the filter's canonical text, which [ParseQuery] reads back: keys in the order of help
// filters, values sorted, times absolute. It is empty for the filter that takes every letter.
func (f *Filter) String() string {
	var words []string
	for i := range f.Clauses {
		c := &f.Clauses[i]
		word := c.Key + ":"
		if c.Not {
			word = "-" + word
		}
		for j, v := range c.Values {
			if j > 0 {
				word += ","
			}
			word += quoteValue(v)
		}
		words = append(words, word)
	}
	slices.SortFunc(words, func(a, b string) int {
		ka, kb := keyOrder(a), keyOrder(b)
		if ka != kb {
			return ka - kb
		}
		return strings.Compare(a, b)
	})
	words = slices.Compact(words)
	for _, b := range []struct {
		key string
		at  time.Time
	}{{keySince, f.Since}, {keyUntil, f.Until}, {keyEventSince, f.EventSince}, {keyEventUntil, f.EventUntil}} {
		if !b.at.IsZero() {
			words = append(words, b.key+":"+b.at.UTC().Format(timeLayout))
		}
	}
	return strings.Join(words, " ")
}

// Told is the canonical text with masks for users' tokens and e-mail addresses, which can be told and kept.
// user finds a mask; where other values hold what is masked, the text finds less than the filter.
func (f *Filter) Told(mask *Masker) string {
	if mask == nil {
		return f.String()
	}
	told := *f
	told.Clauses = slices.Clone(f.Clauses)
	for i := range told.Clauses {
		c := &told.Clauses[i]
		c.Values = slices.Clone(c.Values)
		for j, v := range c.Values {
			switch {
			case c.Key != keyUser:
				c.Values[j] = mask.Text(v)
			case !isMask(v):
				c.Values[j] = mask.Token([]byte(v))
			}
		}
		slices.Sort(c.Values)
	}
	return told.String()
}

const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// Match says whether a letter is meant. What the headers tell is tested before the payload is looked
// at. Offsets that count from the end are not tested here: a [Snapshot] has resolved them.
func (f *Filter) Match(l *Letter) bool {
	return f.match(l) && (f.byState == nil || f.byState(l))
}

func (f *Filter) match(l *Letter) bool {
	if !f.matchTimes(l) {
		return false
	}
	for _, dear := range [2]bool{false, true} {
		for i := range f.Clauses {
			if c := &f.Clauses[i]; c.dear == dear && !f.matchClause(c, l) {
				return false
			}
		}
	}
	if f.EventSince.IsZero() && f.EventUntil.IsZero() {
		return true
	}
	at := l.EventTime()
	return at > 0 && (f.EventSince.IsZero() || at >= f.EventSince.UnixMilli()) && (f.EventUntil.IsZero() || at < f.EventUntil.UnixMilli())
}

func (f *Filter) matchTimes(l *Letter) bool {
	if f.Since.IsZero() && f.Until.IsZero() {
		return true
	}
	at := l.FailedAt()
	return (f.Since.IsZero() || !at.Before(f.Since)) && (f.Until.IsZero() || at.Before(f.Until))
}

func (f *Filter) matchClause(c *Clause, l *Letter) bool {
	if c.fromEnd {
		return true
	}
	for _, m := range c.matches {
		if m(f, l) {
			return !c.Not
		}
	}
	return c.Not
}

// split separates values at commas outside of quotes, and takes the quotes off.
func split(values string) (list []string) {
	var b strings.Builder
	quoted, had := false, false
	for i := 0; i < len(values); i++ {
		switch c := values[i]; {
		case c == '\\' && quoted && i+1 < len(values):
			i++
			b.WriteByte(values[i])
		case c == '"':
			quoted, had = !quoted, true
		case c == ',' && !quoted:
			list = append(list, finish(&b, had))
			had = false
		default:
			b.WriteByte(c)
		}
	}
	return append(list, finish(&b, had))
}

func finish(b *strings.Builder, quoted bool) string {
	s := b.String()
	b.Reset()
	if !quoted {
		s = strings.TrimSpace(s)
	}
	return s
}

func quoteValue(v string) string {
	if !strings.ContainsAny(v, " \t\r\n,\"\\") {
		return v
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
}

// OffsetRange is one value of the key offsets.
type OffsetRange struct {
	// Partition is of the dead-letter topic; -1: all.
	Partition int32
	// From ≤ offset < To; To -1: to the end. Last > 0 instead: the last so many.
	From, To, Last int64
}

func (r *OffsetRange) covers(l *Letter) bool {
	return (r.Partition < 0 || r.Partition == l.Partition) && l.Offset >= r.From && (r.To < 0 || l.Offset < r.To)
}

func (r *OffsetRange) String() string {
	text := ""
	if r.Partition >= 0 {
		text = fmt.Sprintf("%d:", r.Partition)
	}
	switch {
	case r.Last > 0:
		return text + fmt.Sprintf("-%d", r.Last)
	case r.To < 0:
		return text + fmt.Sprintf("%d-end", r.From)
	}
	return text + fmt.Sprintf("%d-%d", r.From, r.To)
}

// containsFold says whether text holds word, letters of ASCII in either case.
func containsFold(text, lowerWord []byte) bool {
	if len(lowerWord) == 0 {
		return true
	}
	first := []byte{lowerWord[0]}
	upper := bytes.ToUpper(first)
	for i := 0; i+len(lowerWord) <= len(text); i++ {
		if (text[i] == first[0] || text[i] == upper[0]) && equalFold(text[i:i+len(lowerWord)], lowerWord) {
			return true
		}
	}
	return false
}

func equalFold(a, lower []byte) bool {
	for i := range lower {
		c := a[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
