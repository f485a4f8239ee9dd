package storefront

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"eventworker/internal/insightsfake"
)

// Report is a comparison of what arrived with the truth.
type Report struct {
	Messages    MessageReport    `json:"messages"`
	Events      EventReport      `json:"events"`
	DeadLetters DeadLetterReport `json:"dead_letters"`
	Duplicates  DuplicateReport  `json:"duplicates"`
	// Differences are the first of them, in order of the log.
	Differences []Difference `json:"differences,omitempty"`
}

// MessageReport has each message once: Total = Delivered + Σ DeadLettered + Σ Absorbed + Σ Different.
type MessageReport struct {
	Total        int            `json:"total"`
	Delivered    int            `json:"delivered"`     // as expected, as are the next two
	DeadLettered map[string]int `json:"dead_lettered"` // by reason
	Absorbed     map[string]int `json:"absorbed"`      // by reason
	Different    map[Class]int  `json:"different"`
}

// EventReport counts Insights events: Expected = AsExpected + Missing, and
// Arrived = AsExpected + Duplicated + Unexpected.
type EventReport struct {
	Expected   int `json:"expected"`
	Arrived    int `json:"arrived"`
	AsExpected int `json:"as_expected"`
	Missing    int `json:"missing"`
	Duplicated int `json:"duplicated"` // beyond the number that must come
	Unexpected int `json:"unexpected"` // of no message
}

// DeadLetterReport counts dead letters.
type DeadLetterReport struct {
	Arrived    int `json:"arrived"`
	Duplicated int `json:"duplicated"` // beyond the first of a message
	Unknown    int `json:"unknown"`    // of no message of this log
}

// DuplicateReport counts what came too often, events and dead letters:
// InFlight + Unexplained = Events.Duplicated + DeadLetters.Duplicated.
type DuplicateReport struct {
	InFlight    int      `json:"in_flight"` // of messages on their way at a kill: allowed
	Unexplained int      `json:"unexplained"`
	Seqs        []uint64 `json:"seqs,omitempty"` // of the messages, at most 1,000
}

// Difference tells one message that is not as it must be.
type Difference struct {
	Seq        int64    `json:"seq"` // −1: not known
	Class      Class    `json:"class"`
	Expected   string   `json:"expected,omitempty"`
	DeadLetter string   `json:"dead_letter,omitempty"` // the reason that came
	Missing    []string `json:"missing,omitempty"`     // events that did not come, as JSON
	Got        []string `json:"got,omitempty"`         // events that must not come, as JSON where known
}

func newReport() *Report {
	return &Report{Messages: MessageReport{DeadLettered: map[string]int{}, Absorbed: map[string]int{}, Different: map[Class]int{}}}
}

// Matches says whether everything arrived as it must, and nothing else. Duplicates of messages that
// were in flight at a kill are allowed.
func (r *Report) Matches() bool {
	return len(r.Messages.Different) == 0 && r.Events.Missing == 0 && r.Events.Unexpected == 0 &&
		r.DeadLetters.Unknown == 0 && r.Duplicates.Unexplained == 0
}

// AddsUp says whether the report's own equations hold.
func (r *Report) AddsUp() bool {
	sum := r.Messages.Delivered
	for _, parts := range []map[string]int{r.Messages.DeadLettered, r.Messages.Absorbed} {
		for _, n := range parts {
			sum += n
		}
	}
	for _, n := range r.Messages.Different {
		sum += n
	}
	e := r.Events
	return sum == r.Messages.Total && e.Expected == e.AsExpected+e.Missing && e.Arrived == e.AsExpected+e.Duplicated+e.Unexpected &&
		r.Duplicates.InFlight+r.Duplicates.Unexplained == e.Duplicated+r.DeadLetters.Duplicated
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	m := r.Messages
	fmt.Fprintf(&b, "messages %d: delivered %d, dead-lettered %s, absorbed %s, different %s\n",
		m.Total, m.Delivered, counted(m.DeadLettered), counted(m.Absorbed), counted(m.Different))
	e := r.Events
	fmt.Fprintf(&b, "events expected %d: as expected %d, missing %d; beyond these: duplicated %d, unexpected %d\n",
		e.Expected, e.AsExpected, e.Missing, e.Duplicated, e.Unexpected)
	fmt.Fprintf(&b, "dead letters %d, of them duplicated %d, of unknown messages %d; duplicates in flight at a kill %d, unexplained %d\n",
		r.DeadLetters.Arrived, r.DeadLetters.Duplicated, r.DeadLetters.Unknown, r.Duplicates.InFlight, r.Duplicates.Unexplained)
	if n := len(r.Duplicates.Seqs); n > 0 {
		fmt.Fprintf(&b, "  duplicates of messages %v\n", r.Duplicates.Seqs[:min(n, 20)])
	}
	for _, d := range r.Differences {
		fmt.Fprintf(&b, "\nmessage %d: %s; expected: %s\n", d.Seq, d.Class, d.Expected)
		if d.DeadLetter != "" {
			fmt.Fprintf(&b, "  dead letter: %s\n", d.DeadLetter)
		}
		for _, s := range d.Missing {
			fmt.Fprintf(&b, "  missing: %s\n", s)
		}
		for _, s := range d.Got {
			fmt.Fprintf(&b, "  got:     %s\n", s)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// counted writes a sum and its parts, such as "7 (invalid 4, malformed 3)".
func counted[K ~string](m map[K]int) string {
	sum := 0
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		sum += m[k]
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	if sum == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", sum, strings.Join(parts, ", "))
}

// describe is an event as JSON, or its digest where no more is known.
func describe(e *insightsfake.Event, d insightsfake.Digest, count int) string {
	times := ""
	if count > 1 {
		times = fmt.Sprintf(" (%d times)", count)
	}
	if e == nil {
		return "an event of the digest " + d.String() + times
	}
	text, err := json.Marshal(compact(e))
	if err != nil {
		return err.Error()
	}
	return string(text) + times
}

// compact is an event as JSON would have it, without what is absent.
func compact(e *insightsfake.Event) any {
	type data struct {
		Price    string `json:"price,omitempty"`
		Discount string `json:"discount,omitempty"`
		Quantity int    `json:"quantity,omitempty"`
		QueryID  string `json:"queryID,omitempty"`
	}
	objectData := []data{}
	for _, d := range e.ObjectData {
		objectData = append(objectData, data(d))
	}
	return struct {
		EventType              string   `json:"eventType"`
		EventSubtype           string   `json:"eventSubtype,omitempty"`
		EventName              string   `json:"eventName"`
		Index                  string   `json:"index"`
		UserToken              string   `json:"userToken"`
		AuthenticatedUserToken string   `json:"authenticatedUserToken,omitempty"`
		Timestamp              int64    `json:"timestamp"`
		QueryID                string   `json:"queryID,omitempty"`
		ObjectIDs              []string `json:"objectIDs,omitempty"`
		Positions              []int    `json:"positions,omitempty"`
		Filters                []string `json:"filters,omitempty"`
		ObjectData             []data   `json:"objectData,omitempty"`
		Currency               string   `json:"currency,omitempty"`
		Value                  string   `json:"value,omitempty"`
	}{e.EventType, e.EventSubtype, e.EventName, e.Index, e.UserToken, e.AuthenticatedUserToken, e.Timestamp, e.QueryID,
		e.ObjectIDs, e.Positions, e.Filters, objectData, e.Currency, e.Value}
}
