package main

import (
	"encoding/json"
	"slices"

	"eventworker/internal/deadletter"
	"eventworker/internal/dlq"
)

// shownLetters is the document of dlq show.
type shownLetters struct {
	Schema  string        `json:"schema"`
	Letters []shownLetter `json:"letters"`
}

// shownLetter is a letter: the fields that lists have, and these.
type shownLetter struct {
	row     []byte // the fields of a list, as an object
	details letterDetails
}

type letterDetails struct {
	Key     dlq.ExportedBytes    `json:"key"`
	Value   dlq.ExportedBytes    `json:"value"`
	Headers []dlq.ExportedHeader `json:"headers"` // the record's own
	// NotDelivered are the parts of the message that are dead, where others were delivered.
	NotDelivered []shownPart     `json:"parts_not_delivered"`
	Resolved     []shownResolved `json:"resolved"`
	Traceparent  string          `json:"traceparent"`
	// Problem says what is wrong with the letter's own headers.
	Problem string `json:"problem"`
}

type shownPart struct {
	Index  int    `json:"index"`
	Reason string `json:"reason"`
}

type shownResolved struct {
	Object   int    `json:"object"`
	QueryID  string `json:"query_id"`
	Index    string `json:"index"`
	Position int32  `json:"position"`
}

// MarshalJSON joins the two objects.
func (s shownLetter) MarshalJSON() ([]byte, error) {
	details, err := json.Marshal(&s.details)
	if err != nil {
		return nil, err
	}
	return slices.Concat(s.row[:len(s.row)-1], []byte{','}, details[1:]), nil
}

func letterDocument(l *dlq.Letter, d *openDesk) shownLetter {
	r := l.Row(d.mask, d.limits)
	s := shownLetter{row: object(rowColumns, &r, "")}
	s.details = letterDetails{Headers: []dlq.ExportedHeader{}, NotDelivered: []shownPart{}, Resolved: []shownResolved{}}
	x := dlq.ExportOf(l, d.mask)
	s.details.Key, s.details.Value = x.Key, x.Value
	for i, h := range x.Headers {
		if len(deadletter.Originals([]deadletter.Header{{Key: h.Name}})) > 0 {
			s.details.Headers = append(s.details.Headers, x.Headers[i])
		}
	}
	c, err := l.Context()
	if err != nil {
		s.details.Problem = err.Error()
	}
	if c == nil {
		return s
	}
	s.details.Traceparent = c.Traceparent
	for _, p := range c.Parts {
		s.details.NotDelivered = append(s.details.NotDelivered, shownPart{p.Index, p.Reason.String()})
	}
	for _, one := range c.Resolved {
		s.details.Resolved = append(s.details.Resolved, shownResolved{one.Index, one.QueryID, one.IndexName, one.Position})
	}
	return s
}
