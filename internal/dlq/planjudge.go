package dlq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"eventworker/internal/check"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/join"
)

// judge says of a letter what a replay would come to: by the edit, and by the worker's own rules. It is
// for one goroutine.
type judge struct {
	opts check.Options
	edit *Edit // nil for none
}

// judged is what a replay of a letter would come to.
type judged struct {
	// value is what would be replayed; edited says that it is not the letter's own.
	value  []byte
	edited bool
	// missed says that the edit did not fit.
	missed bool
	// refusal is why it would be refused again, nil if it would not be.
	refusal *event.Refusal
	// cause is the refusal's.
	cause string
	// absorbed is set where the worker would absorb it without sending anything.
	absorbed string
	// dropResolved says that the edit touches what the join looked up.
	dropResolved bool
	eventTime    int64
}

// letter judges one letter. The value that it gives is valid as long as the letter is.
func (j *judge) letter(ctx context.Context, l *Letter) (judged, error) {
	out := judged{value: l.Value, eventTime: l.EventTime()}
	if j.edit != nil && !j.mend(l, &out) {
		return out, nil
	}
	report, err := check.Run(ctx, j.opts, []check.Record{{
		Topic: l.Source().Topic, Key: l.Key, Value: out.value, Time: cmpTime(l.Timestamp()),
	}})
	if err != nil {
		return out, err
	}
	m := &report.Messages[0]
	switch m.Outcome {
	case check.Absorbed:
		out.absorbed = m.Reason
	case check.Refused:
		reason, _ := event.ParseReason(m.Reason)
		if doubtful(reason, l) {
			break
		}
		out.refusal = &event.Refusal{Reason: reason, Stage: event.Stage(m.Stage), Field: m.Field, Rule: m.Rule, Message: m.Text}
		out.cause = deadletter.Cause(&deadletter.Letter{Refusal: *out.refusal, Type: m.Type, Application: m.Application})
	}
	if out.edited {
		edited := *l
		edited.Value, edited.peeked = out.value, false
		out.eventTime = edited.EventTime()
	}
	return out, nil
}

// mend applies the edit; false: no more is to be said.
func (j *judge) mend(l *Letter, out *judged) bool {
	edited, err := j.edit.Apply(l.Value)
	if err != nil {
		out.missed = true
		return true
	}
	var plain bytes.Buffer
	if json.Compact(&plain, l.Value) == nil && bytes.Equal(plain.Bytes(), edited) {
		return true // only written differently
	}
	out.value, out.edited = edited, true
	if !j.edit.touch {
		return true
	}
	changes := Diff(l.Value, edited, nil)
	out.dropResolved = touchesJoin(changes)
	if restructures(changes) && len(l.raw[slotParts]) > 0 {
		out.refusal = &event.Refusal{Reason: event.Invalid, Stage: event.StageValidate, Rule: "edit.parts",
			Message: "a part of the message is delivered: an edit may not add or remove objects"}
		return false
	}
	return true
}

// doubtful says that a refusal is for want of the store, which a plan does not have: an index or an
// impression may be found by the worker. What the join itself had refused for it before stays refused,
// unless a later impression could answer.
func doubtful(reason event.Reason, l *Letter) bool {
	return (reason == event.NoIndex || reason == event.Unmatched) && l.Reason() != reason
}

func cmpTime(ms int64) int64 {
	if ms <= 0 {
		return -1
	}
	return ms
}

// joinNames are the members that decide what the join finds for a message.
var joinNames = []string{"type", "userToken", "timestamp", "application", "index", "queryID", "model",
	"objectID", "objectIDs", "lists", "recommend", "facets", "position", "positions"}

// touchesJoin says whether a change may change what the join finds.
func touchesJoin(changes []Change) bool {
	for _, c := range changes {
		for segment := range strings.SplitSeq(c.Path, ".") {
			name, _, _ := strings.Cut(segment, "[")
			if slices.Contains(joinNames, name) {
				return true
			}
		}
	}
	return restructures(changes)
}

// restructures says whether a change adds or removes an object of the message.
func restructures(changes []Change) bool {
	for _, c := range changes {
		name, rest, _ := strings.Cut(c.Path, "[")
		whole := rest == "" || strings.HasSuffix(rest, "]") && strings.Count(rest, "[") == 0
		if slices.Contains([]string{"items", "objectIDs", "objectID", "lists", "facets", "recommend"}, name) && whole &&
			(c.Before == "" || c.After == "") {
			return true
		}
	}
	return false
}

// otherApplication is the absorption of what insights.only leaves to other groups.
var otherApplication = join.OtherApplication.String()

var errStop = errors.New("enough was read")
