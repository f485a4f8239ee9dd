package check

import (
	"fmt"

	"eventworker/internal/event"
	"eventworker/internal/join"
)

// explain keeps what the join says of the objects of the message that it just decided.
func (j *judge) explain(n int) {
	if !j.opts.Explain || j.err != nil {
		return
	}
	list, err := j.task.Explain()
	if err != nil {
		j.err = err
		return
	}
	m := &j.report.Messages[n]
	for i := range list {
		m.Objects = append(m.Objects, j.objectOf(n, &list[i]))
	}
}

func (j *judge) objectOf(n int, e *join.Explanation) Object {
	o := Object{Object: e.Object, ObjectID: e.ObjectID, QueryID: e.QueryID, Index: e.Index, Position: e.Position,
		From: e.From, IndexFrom: e.IndexFrom, PassedOver: []Candidate{}, More: e.More}
	if e.Chosen != nil {
		c := j.candidate(e.At, e.Chosen)
		o.Chosen = &c
	}
	for i := range e.PassedOver {
		o.PassedOver = append(o.PassedOver, j.candidate(e.At, &e.PassedOver[i]))
	}
	o.Text = remark(e)
	if e.Asked && !e.Own && e.Chosen == nil && len(e.PassedOver) == 0 {
		j.wonder(n, len(j.report.Messages[n].Objects), e.ObjectID)
	}
	return o
}

func (j *judge) candidate(at int64, c *join.Candidate) Candidate {
	kind := "impression"
	if c.Click {
		kind = "click"
	}
	r := &j.records[j.places[j.sources[c.Topic]][c.Offset]]
	return Candidate{Kind: kind, File: r.File, Line: r.Line, Time: instant(c.Time), Before: at - c.Time,
		QueryID: c.QueryID, Index: c.Index, Model: c.Model, Position: c.Position, Why: string(c.Why)}
}

// remark says what is special about an object.
func remark(e *join.Explanation) string {
	switch {
	case !e.Asked && e.QueryID != "":
		return "the message says all of it"
	case e.Own && e.QueryID == "" && e.Chosen == nil:
		return "its own queryID is left out: the click has no position, and no impression of that queryID lists the object"
	case e.Own && e.Chosen == nil:
		return "the queryID is its own; no impression of it lists the object"
	case e.QueryID == "" && e.Chosen != nil:
		return "the click had a message_ id, which an item of a purchase cannot have: it matched, and is sent without"
	case e.Chosen == nil && len(e.PassedOver) == 0:
		return "no impression or click of this user names it"
	case e.Chosen == nil:
		return "none of what names it answers"
	case e.From == "later-impression":
		return "nothing before the event answers; the impression lies within join.clock_skew after it"
	}
	return ""
}

// unanswered is an object that nothing of its user names.
type unanswered struct {
	message, object int
	user            string
	found           sight
}

// wonder notes an object for [checker.look].
func (c *checker) wonder(n, object int, id string) {
	if c.unanswered == nil {
		c.unanswered = map[string][]unanswered{}
	}
	// With so many alike, the first ones tell enough, and the search stays linear.
	if len(c.unanswered[id]) < 100 {
		c.unanswered[id] = append(c.unanswered[id], unanswered{message: n, object: object, user: c.known[n].user})
	}
}

// sight is where else an object was shown: the greater, the nearer.
type sight uint8

const (
	nowhere sight = iota
	toOtherUser
	inOtherApplication
	inOtherPartition
	longBefore
	after
	refused
	withoutQueryID
	tooLate
)

// look searches all shown messages for the objects that nothing answers for, and says what kept
// the nearest one from answering.
func (c *checker) look() {
	if len(c.unanswered) == 0 {
		return
	}
	decoder, ev := event.NewDecoder(event.Options{HashTokens: c.opts.Rules.HashTokens}), new(event.Event)
	for n := range c.records {
		if !c.known[n].valid || decoder.Decode(c.records[n].Value, ev) != nil || ev.Type != event.Shown {
			continue
		}
		for i := range ev.Lists {
			for _, id := range ev.Lists[i].ObjectIDs {
				for k := range c.unanswered[string(id)] {
					c.compare(&c.unanswered[string(id)][k], n, string(ev.UserToken), ev.Lists[i].QueryID == nil)
				}
			}
		}
	}
}

// compare judges one list that shows an unanswered object.
func (c *checker) compare(u *unanswered, n int, user string, plain bool) {
	m := &c.report.Messages[n]
	s, text := toOtherUser, "shows it to another userToken"
	at, rules := c.eventTime(u.message), &c.opts.Rules
	switch shown := c.eventTime(n); {
	case user != u.user:
	case c.known[n].application != c.known[u.message].application:
		s, text = inOtherApplication, fmt.Sprintf("shows it in application %q", c.known[n].application)
	case c.records[n].Partition != c.records[u.message].Partition:
		s, text = inOtherPartition, fmt.Sprintf("shows it, but is in partition %d: its key is not the userToken", c.records[n].Partition)
	case shown > at+rules.ClockSkew.Milliseconds():
		s, text = after, "shows it, but after the event"
	case shown < at-rules.Window.Milliseconds():
		s, text = longBefore, "shows it, but longer before the event than join.window allows"
	case plain:
		s, text = withoutQueryID, "shows it without a queryID, so it is no impression (was clickAnalytics off in the request?)"
	case m.Outcome == Refused && m.reason != event.TooOld && m.reason != event.Future:
		s, text = refused, "shows it, but is refused"
	default:
		s, text = tooLate, "shows it, but is read later than join.allowed_lateness allows"
	}
	if s <= u.found {
		return
	}
	u.found = s
	o := &c.report.Messages[u.message].Objects[u.object]
	o.Text = "no impression or click of this user names it; " + c.where(n) + " " + text
}

// eventTime is what the join takes for the time of a message.
func (c *checker) eventTime(n int) int64 { return min(c.report.Messages[n].time, c.known[n].time) }
