package dlq

import (
	"encoding/json"
	"time"
)

// Audit is the line that every action leaves that writes something.
type Audit struct {
	Schema string    `json:"schema"`
	Time   time.Time `json:"time"`
	By     string    `json:"by"`
	// Action is such as dlq.replay; Plan and Filter say on what.
	Action string `json:"action"`
	Plan   string `json:"plan,omitempty"`
	Filter string `json:"filter,omitempty"`
	Topic  string `json:"topic"`
	Target string `json:"target,omitempty"`
	Count  int64  `json:"count"`
	Note   string `json:"note,omitempty"`
	// Result is done, interrupted, stopped or failed.
	Result string `json:"result"`
}

// Line is the audit line as JSON, without a line feed.
func (a Audit) Line() []byte {
	a.Schema, a.Time = "eventworker.audit/v1", time.Now().UTC().Truncate(time.Millisecond)
	text, _ := json.Marshal(a) // plain values always marshal
	return text
}
