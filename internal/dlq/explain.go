package dlq

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"eventworker/internal/check"
	"eventworker/internal/event"
	"eventworker/internal/join"
)

// ExplainOptions say by which rules a letter is judged anew.
type ExplainOptions struct {
	// Rules are those of the worker as it is configured now.
	Rules join.Config
	// AnyApplication, ShownTopics and ClickedTopics as in [check.Options].
	AnyApplication             bool
	ShownTopics, ClickedTopics []string
	// Now is the clock that ages are judged by; zero: the clock.
	Now    time.Time
	Mask   *Masker
	Limits Limits
}

// Outcome of a step.
type Outcome string

// The outcomes of steps.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "not-reached"
	// Unknown: nobody can tell without doing it.
	Unknown Outcome = "unknown"
)

// Step is one step of the pipeline, judged by today's rules.
type Step struct {
	Name    string  `json:"step"`
	Outcome Outcome `json:"outcome"`
	// Field, Rule and Text say what broke, or what is to be known. They are masked.
	Field string `json:"field"`
	Rule  string `json:"rule"`
	Text  string `json:"message"`
}

// Explanation is what a letter's message comes to by today's rules, without what other messages left.
type Explanation struct {
	Row Row
	// Steps are those of the pipeline, in order.
	Steps []Step
	// Today is delivered, refused or absorbed, as check says it; Reason that of a refusal or absorption.
	Today, Reason string
	// Hints are what the worker counts, but does not refuse.
	Hints []check.Hint
	// Objects say how each object came by its queryID: from the message alone, since no store is asked.
	Objects []check.Object
	// Events are the Insights events that would be sent, masked.
	Events []json.RawMessage
	// Changed: it would not end as it did, as far as can be told without the API.
	Changed bool
}

// Explain judges a letter's message as a worker with today's configuration would, alone: no impression
// or click of the user is known.
func Explain(ctx context.Context, l *Letter, o ExplainOptions) (*Explanation, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	source := l.Source()
	at := l.Timestamp()
	if at == 0 {
		at = -1
	}
	report, err := check.Run(ctx, check.Options{Rules: o.Rules, AnyApplication: o.AnyApplication, ShownTopics: o.ShownTopics,
		ClickedTopics: o.ClickedTopics, Now: o.Now, Explain: true},
		[]check.Record{{File: l.Address().String(), Line: 1, Topic: source.Topic, Partition: source.Partition, Key: l.Key, Value: l.Value, Time: at}})
	if err != nil {
		return nil, err
	}
	m := &report.Messages[0]
	x := &Explanation{Row: l.Row(o.Mask, o.Limits), Today: string(m.Outcome), Reason: m.Reason, Hints: m.Hints, Objects: m.Objects}
	if l.Stage() == event.StageDeliver {
		x.Changed = m.Outcome != check.Delivered // the API is not asked
	} else {
		x.Changed = m.Outcome != check.Refused || m.Reason != l.ReasonText()
	}
	tokens := l.Tokens()
	for _, e := range m.Events {
		x.Events = append(x.Events, json.RawMessage(o.Mask.Text(string(e), tokens...)))
	}
	for i := range x.Hints {
		x.Hints[i].Text = o.Mask.Text(x.Hints[i].Text, tokens...)
	}
	x.steps(l, m, o.Mask, tokens)
	return x, nil
}

// steps says how far the message comes.
func (x *Explanation) steps(l *Letter, m *check.Message, mask *Masker, tokens [][]byte) {
	reached := true
	for _, name := range Stages() {
		s := Step{Name: name, Outcome: Passed}
		switch {
		case !reached:
			s.Outcome = Skipped
		case m.Outcome == check.Refused && m.Stage == name:
			s.Outcome, s.Field, s.Rule, s.Text = Failed, m.Field, m.Rule, m.Text
			reached = false
		case m.Outcome == check.Absorbed && name == string(event.StageJoin):
			s.Text = "absorbed (" + m.Reason + "): " + m.Text
			reached = false
		case name == string(event.StageJoin):
			s.Text = joined(m.Objects) + resolved(l)
		case name == string(event.StageEncode):
			s.Text = counted(len(m.Events), "event")
		case name == string(event.StageDeliver):
			s.Outcome, s.Text = Unknown, "the API is not asked"
			if status := l.Status(); status > 0 {
				s.Text += fmt.Sprintf("; it answered %d: %s", status, l.Message())
			}
		}
		s.Text = mask.Text(s.Text, tokens...)
		x.Steps = append(x.Steps, s)
	}
}

func joined(objects []check.Object) string {
	matched := 0
	for i := range objects {
		if objects[i].QueryID != "" {
			matched++
		}
	}
	if len(objects) == 0 {
		return "nothing to look up"
	}
	return fmt.Sprintf("%d of %s with a queryID of the message itself; what the store knows is not counted in", matched, counted(len(objects), "object"))
}

// resolved tells what the join found in the letter's own time, which a replay keeps to.
func resolved(l *Letter) string {
	c, _ := l.Context()
	if c == nil || len(c.Resolved) == 0 {
		return ""
	}
	matched := 0
	for _, r := range c.Resolved {
		if r.QueryID != "" {
			matched++
		}
	}
	return fmt.Sprintf("; a replay keeps to what the join found then: %d of %s with a queryID", matched, counted(len(c.Resolved), "object"))
}

func counted(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
