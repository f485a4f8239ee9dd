package check

import (
	"encoding/json"
	"regexp"
	"slices"
	"time"

	"eventworker/internal/event"
)

// Schema names the form of the reports that programs read; [JSONSchema] publishes it.
const Schema = "eventworker.check/v1"

// Outcome is what would become of a message.
type Outcome string

// The outcomes. Delivered supposes that the API takes what keeps its published rules.
const (
	Delivered Outcome = "delivered"
	Refused   Outcome = "refused"
	Absorbed  Outcome = "absorbed"
)

// Message says what would become of one message. It holds what the events hold, user tokens
// included; everything else of it holds none.
type Message struct {
	File string `json:"file"`
	Line int    `json:"line"`
	// Type is such as recommendation.clicked; empty where the message has no known one.
	Type        string `json:"type"`
	Application string `json:"application"`

	Outcome Outcome `json:"outcome"`
	// Reason is that of the dead letter or of the absorption; Stage, Field and Rule belong to a dead
	// letter. Text tells a person why.
	Reason string `json:"reason"`
	Stage  string `json:"stage"`
	Field  string `json:"field"`
	Rule   string `json:"rule"`
	Text   string `json:"message"`

	// Hints are what the worker counts, but does not refuse.
	Hints []Hint `json:"hints"`
	// Events are the Insights events, byte for byte as they would be sent.
	Events []json.RawMessage `json:"events"`
	// Objects are explained on request, for clicks, add-to-carts and purchases.
	Objects []Object `json:"objects,omitempty"`

	reason event.Reason
	time   int64 // its own or its record's, milliseconds
}

// Hint is something about a message that does no harm, but may not be meant.
type Hint struct {
	Rule string `json:"rule"`
	Text string `json:"message"`
}

// Object says how an object of a message came by its queryID and index.
type Object struct {
	Object   int    `json:"object"` // its place in the message, from 0
	ObjectID string `json:"objectID"`
	// QueryID, Index and Position are what it ends with; empty and 0: none.
	QueryID  string `json:"queryID"`
	Index    string `json:"index"`
	Position int32  `json:"position"`
	// From is message, click, impression, later-impression, or empty for none; IndexFrom is message,
	// click, impression, default-index, or empty.
	From      string `json:"from"`
	IndexFrom string `json:"indexFrom"`
	// Text tells a person why it has none, or what is special.
	Text       string      `json:"message"`
	Chosen     *Candidate  `json:"chosen"`
	PassedOver []Candidate `json:"passedOver"`
	// More is how many more were passed over.
	More int `json:"more"`
}

// Candidate is an impression or a remembered click that names the object.
type Candidate struct {
	Kind string `json:"kind"` // impression or click
	File string `json:"file"`
	Line int    `json:"line"`
	// Time is its event time, and Before how long before the event that is; below 0: after it.
	Time     string `json:"time"`
	Before   int64  `json:"beforeMilliseconds"`
	QueryID  string `json:"queryID"`
	Index    string `json:"index"`
	Model    string `json:"model"`
	Position int64  `json:"position"`
	// Why it was passed over, as join.Why; empty for the one that answered.
	Why string `json:"why"`
}

// Summary adds the messages up: Messages = Delivered + Refused + Absorbed.
type Summary struct {
	Messages  int            `json:"messages"`
	Delivered int            `json:"delivered"`
	Refused   int            `json:"refused"`
	Absorbed  int            `json:"absorbed"`
	Events    int            `json:"events"`
	Reasons   map[string]int `json:"reasons"`
}

// Report is what [Run] found.
type Report struct {
	// Now is the clock that ages were judged by.
	Now time.Time
	// Assumed are the applications of the messages, where none was configured.
	Assumed  []string
	Messages []Message // in the order of the records
	Summary  Summary
}

// Only is the report with the messages of one outcome alone, if one is given; its summary is of all.
func (r *Report) Only(o Outcome) *Report {
	if o == "" {
		return r
	}
	some := *r
	some.Messages = nil
	for i := range r.Messages {
		if r.Messages[i].Outcome == o {
			some.Messages = append(some.Messages, r.Messages[i])
		}
	}
	return &some
}

// Newest is the latest time of a message that is refused for a reason; the zero time if none is.
func (r *Report) Newest(reason event.Reason) (at time.Time) {
	for i := range r.Messages {
		if m := &r.Messages[i]; m.reason == reason && (at.IsZero() || m.time > at.UnixMilli()) {
			at = time.UnixMilli(m.time).UTC()
		}
	}
	return at
}

// A Cause is what is wrong with some messages.
type Cause struct {
	Reason event.Reason
	// Field is without the places in lists: items[].price.
	Field, Rule string
	Application string
	Count       int
	FirstOfFile string
	FirstLine   int
}

var placeInList = regexp.MustCompile(`\[\d+\]`)

// Causes groups the refused messages, the largest group first.
func (r *Report) Causes() []Cause {
	groups := map[Cause]*Cause{}
	var list []*Cause
	for i := range r.Messages {
		m := &r.Messages[i]
		if m.Outcome != Refused {
			continue
		}
		key := Cause{Reason: m.reason, Field: placeInList.ReplaceAllString(m.Field, "[]"), Rule: m.Rule, Application: m.Application}
		c := groups[key]
		if c == nil {
			c = new(Cause)
			*c = key
			c.FirstOfFile, c.FirstLine = m.File, m.Line
			groups[key] = c
			list = append(list, c)
		}
		c.Count++
	}
	slices.SortStableFunc(list, func(a, b *Cause) int { return b.Count - a.Count })
	causes := make([]Cause, len(list))
	for i := range list {
		causes[i] = *list[i]
	}
	return causes
}

func (r *Report) sum() {
	s := &r.Summary
	s.Messages, s.Reasons = len(r.Messages), map[string]int{}
	for i := range r.Messages {
		m := &r.Messages[i]
		switch m.Outcome {
		case Delivered:
			s.Delivered++
		case Refused:
			s.Refused++
		case Absorbed:
			s.Absorbed++
		}
		s.Events += len(m.Events)
		if m.Events == nil {
			m.Events = []json.RawMessage{}
		}
		if m.Reason != "" {
			s.Reasons[m.Reason]++
		}
	}
}

// instant writes a time as reports have it.
func instant(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}
