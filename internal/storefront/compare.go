package storefront

import (
	"fmt"
	"slices"

	"eventworker/internal/insightsfake"
)

// Accepted is the multiset of events that the API took; insightsfake.Accepted is one.
type Accepted interface {
	Count(insightsfake.Digest) int
	Each(func(d insightsfake.Digest, count int))
}

// Counts is an Accepted that is a map, such as insightsfake.ReadAccepted reads.
type Counts map[insightsfake.Digest]uint32

// Count is how often an event came.
func (c Counts) Count(d insightsfake.Digest) int { return int(c[d]) }

// Each calls f for each different event.
func (c Counts) Each(f func(d insightsfake.Digest, count int)) {
	for d, n := range c {
		f(d, int(n))
	}
}

// Known gives the events of a list by their digest, for Arrived.Event.
func Known(events []insightsfake.Event) func(insightsfake.Digest) (insightsfake.Event, bool) {
	by := make(map[insightsfake.Digest]insightsfake.Event, len(events))
	for i := range events {
		by[events[i].Digest()] = events[i]
	}
	return func(d insightsfake.Digest) (insightsfake.Event, bool) {
		e, known := by[d]
		return e, known
	}
}

// DeadLetter is what the comparison has to know of one dead letter.
type DeadLetter struct {
	Seq    uint64 // by its header SeqHeader
	Reason string
	// Parts are the places that were not delivered; nil: not held against the truth.
	Parts []int
}

// Arrived is what came of a log.
type Arrived struct {
	Accepted    Accepted
	DeadLetters []DeadLetter
	// InFlight says of a message whether it was on its way at a kill, which may repeat what came of
	// it; nil: none was.
	InFlight func(seq uint64) bool
	// Event gives an event that came by its digest, to tell what is wrong with it; nil: no event is known.
	Event func(insightsfake.Digest) (insightsfake.Event, bool)
}

// maxExplained bounds the events and messages that are looked at closely to explain differences.
const maxExplained = 1000

// Compare holds what arrived against the truth, message by message. At most explain differences are
// told in full. The truth must be sealed.
func (t *Truth) Compare(a Arrived, explain int) *Report {
	c := &comparison{truth: t, arrived: a, state: make([]state, len(t.codes)), report: newReport()}
	c.events()
	c.deadLetters()
	c.strangers()
	c.pair(min(explain, maxExplained))
	c.classify()
	c.tell(explain)
	return c.report
}

// state is what the comparison saw of one message.
type state uint8

const (
	sawMissing state = 1 << iota // an event that must come did not
	sawLetter                    // a dead letter came
	sawReason                    // with another reason or other parts than it must have
	sawWrong                     // an event came in place of a missing one
	sawSurplus                   // an event came that this message must not give
)

type comparison struct {
	truth   *Truth
	arrived Arrived
	state   []state
	report  *Report

	strange []stranger
	letters map[uint64]DeadLetter // those that are not as they must be
	again   map[uint64]*Verdict   // verdicts made once more, with their events
}

// stranger is an event that came and that no message must give.
type stranger struct {
	digest insightsfake.Digest
	count  int
	event  *insightsfake.Event
	seq    int64 // of the message it seems to come of; −1: unknown
}

// events counts what must come against what came.
func (c *comparison) events() {
	for i := range c.truth.expected.lists {
		for l := c.truth.expected.lists[i]; len(l) > 0; {
			n := 1
			for n < len(l) && l[n].digest == l[0].digest {
				n++
			}
			c.event(l[:n])
			l = l[n:]
		}
	}
}

// event takes the expectations of one digest.
func (c *comparison) event(same []expectation) {
	came := c.arrived.Accepted.Count(same[0].digest)
	e := &c.report.Events
	e.Expected += len(same)
	e.Arrived += came
	e.AsExpected += min(came, len(same))
	switch {
	case came < len(same):
		e.Missing += len(same) - came
		for _, x := range same {
			c.state[x.seq] |= sawMissing
		}
	case came > len(same):
		e.Duplicated += came - len(same)
		c.repeated(uint64(same[0].seq), came-len(same))
	}
}

// repeated notes that something of a message came too often.
func (c *comparison) repeated(seq uint64, times int) {
	d := &c.report.Duplicates
	if c.arrived.InFlight != nil && c.arrived.InFlight(seq) {
		d.InFlight += times
	} else {
		d.Unexplained += times
	}
	if len(d.Seqs) < maxExplained && !slices.Contains(d.Seqs[max(0, len(d.Seqs)-20):], seq) {
		d.Seqs = append(d.Seqs, seq)
	}
}

func (c *comparison) deadLetters() {
	c.letters = map[uint64]DeadLetter{}
	for _, l := range c.arrived.DeadLetters {
		c.report.DeadLetters.Arrived++
		if l.Seq >= uint64(len(c.state)) {
			c.report.DeadLetters.Unknown++
			continue
		}
		if c.state[l.Seq]&sawLetter != 0 {
			c.report.DeadLetters.Duplicated++
			c.repeated(l.Seq, 1)
			continue
		}
		c.state[l.Seq] |= sawLetter
		code := c.truth.codes[l.Seq]
		as := code.outcome() == DeadLettered && reasonNames[code] == l.Reason
		if parts := c.truth.refused[l.Seq]; as && l.Parts != nil && parts != nil {
			sorted := slices.Clone(l.Parts)
			slices.Sort(sorted)
			as = slices.Equal(sorted, parts)
		}
		if !as {
			c.state[l.Seq] |= sawReason
			if len(c.letters) < maxExplained {
				c.letters[l.Seq] = l
			}
		}
	}
}

// strangers finds the events that no message must give.
func (c *comparison) strangers() {
	c.arrived.Accepted.Each(func(d insightsfake.Digest, count int) {
		if count == 0 || len(c.truth.expected.of(d)) > 0 {
			return
		}
		c.report.Events.Arrived += count
		c.report.Events.Unexpected += count
		if len(c.strange) < maxExplained {
			s := stranger{digest: d, count: count, seq: -1}
			if c.arrived.Event != nil {
				if e, known := c.arrived.Event(d); known {
					s.event = &e
				}
			}
			c.strange = append(c.strange, s)
		}
	})
	slices.SortFunc(c.strange, func(a, b stranger) int {
		return compareExpectations(expectation{digest: a.digest}, expectation{digest: b.digest})
	})
}

// origin is what tells a message by its events: no two messages of a user have the same time.
type origin struct {
	userToken string
	timestamp int64
}

// pair makes the verdicts of what differs once more, with their events in full, and finds the
// message that each strange event seems to come of.
func (c *comparison) pair(explain int) {
	wanted := map[uint64]bool{}
	for seq := range c.state {
		if len(wanted) < explain && c.differs(uint64(seq)) {
			wanted[uint64(seq)] = true
		}
	}
	by := map[origin][]int{}
	for i := range c.strange {
		if e := c.strange[i].event; e != nil {
			o := origin{e.UserToken, e.Timestamp}
			by[o] = append(by[o], i)
		}
	}
	c.again = map[uint64]*Verdict{}
	if len(wanted)+len(by) == 0 {
		return
	}
	c.truth.repeat(func(o origin, v *Verdict) {
		for _, i := range by[o] {
			c.strange[i].seq = int64(v.Seq)
		}
		if wanted[v.Seq] || len(by[o]) > 0 {
			c.again[v.Seq] = v
		}
	})
	for i := range c.strange {
		s := &c.strange[i]
		if s.seq < 0 {
			continue
		}
		if c.state[s.seq]&sawMissing != 0 {
			c.state[s.seq] |= sawWrong
		} else {
			c.state[s.seq] |= sawSurplus
		}
	}
}

// differs says whether something of the message is not as it must be, repeats left aside.
func (c *comparison) differs(seq uint64) bool {
	s := c.state[seq]
	letter := c.truth.codes[seq].outcome() == DeadLettered
	return s&(sawMissing|sawReason|sawWrong|sawSurplus) != 0 || (s&sawLetter != 0) != letter
}

// classify puts each message in one class.
func (c *comparison) classify() {
	m := &c.report.Messages
	for seq, code := range c.truth.codes {
		m.Total++
		switch class := c.class(uint64(seq)); class {
		case asExpected:
			switch code.outcome() {
			case Delivered:
				m.Delivered++
			case DeadLettered:
				m.DeadLettered[reasonNames[code]]++
			case Absorbed:
				m.Absorbed[reasonNames[code]]++
			}
		default:
			m.Different[class]++
		}
	}
}

// Class is what a message is, held against the truth.
type Class string

// The classes of messages that are not as they must be.
const (
	asExpected Class = ""
	// Undecided: the truth has no verdict; the log that it read has a gap.
	Undecided Class = "undecided"
	// Missing: at least one event that must come did not, and none came in its place.
	Missing Class = "missing"
	// Wrong: an event came in place of one that must come.
	Wrong Class = "wrong"
	// Surplus: an event came that must not, and all that must.
	Surplus Class = "surplus"
	// LetterUnexpected: a dead letter of a message that must be delivered or absorbed.
	LetterUnexpected Class = "dead-lettered unexpectedly"
	// LetterMissing: no dead letter of a message that must have one.
	LetterMissing Class = "dead letter missing"
	// LetterWrong: a dead letter with another reason or other parts.
	LetterWrong Class = "dead letter wrong"
)

func (c *comparison) class(seq uint64) Class {
	s, letter := c.state[seq], c.truth.codes[seq].outcome() == DeadLettered
	switch {
	case c.truth.codes[seq] == undecided:
		return Undecided
	case s&sawLetter != 0 && !letter:
		return LetterUnexpected
	case s&sawLetter == 0 && letter:
		return LetterMissing
	case s&sawReason != 0:
		return LetterWrong
	case s&sawWrong != 0:
		return Wrong
	case s&sawMissing != 0:
		return Missing
	case s&sawSurplus != 0:
		return Surplus
	}
	return asExpected
}

// tell writes the first differences out.
func (c *comparison) tell(most int) {
	for seq := range c.state {
		if len(c.report.Differences) >= most {
			return
		}
		if class := c.class(uint64(seq)); class != asExpected {
			c.report.Differences = append(c.report.Differences, c.difference(uint64(seq), class))
		}
	}
	for i := range c.strange {
		if len(c.report.Differences) >= most {
			return
		}
		if s := &c.strange[i]; s.seq < 0 {
			c.report.Differences = append(c.report.Differences, Difference{
				Seq: -1, Class: "unexpected event", Got: []string{describe(s.event, s.digest, s.count)}})
		}
	}
}

func (c *comparison) difference(seq uint64, class Class) Difference {
	code := c.truth.codes[seq]
	d := Difference{Seq: int64(seq), Class: class, Expected: string(code.outcome())}
	if reason := reasonNames[code]; reason != "" {
		d.Expected += " (" + reason + ")"
	}
	if parts := c.truth.refused[seq]; parts != nil {
		d.Expected += fmt.Sprintf(", parts %v not delivered", parts)
	}
	if l, known := c.letters[seq]; known {
		d.DeadLetter = l.Reason
		if l.Parts != nil {
			d.DeadLetter += fmt.Sprintf(", parts %v", l.Parts)
		}
	}
	if v := c.again[seq]; v != nil {
		for i := range v.Events {
			e := &v.Events[i]
			digest := e.Digest()
			if c.arrived.Accepted.Count(digest) < len(c.truth.expected.of(digest)) {
				d.Missing = append(d.Missing, describe(e, digest, 1))
			}
		}
	}
	for i := range c.strange {
		if s := &c.strange[i]; s.seq == int64(seq) {
			d.Got = append(d.Got, describe(s.event, s.digest, s.count))
		}
	}
	return d
}

// repeat makes the log once more, if a generator made it, and visits its verdicts with their events.
func (t *Truth) repeat(visit func(o origin, v *Verdict)) {
	if t.config == nil {
		return
	}
	again, err := NewTruthOf(*t.config)
	if err != nil {
		return
	}
	g, err := NewGenerator(*t.config)
	if err != nil {
		return
	}
	again.visit = visit
	var m Message
	for g.Next(&m) {
		again.Add(&m)
	}
	again.Seal()
}
