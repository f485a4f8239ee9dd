package storefront

import (
	"eventworker/internal/insightsfake"
)

// Outcome is what becomes of a message.
type Outcome string

// The outcomes of messages.
const (
	Delivered    Outcome = "delivered"
	DeadLettered Outcome = "dead-lettered"
	Absorbed     Outcome = "absorbed"
)

// Verdict is what must become of one message.
type Verdict struct {
	Seq     uint64
	Outcome Outcome
	// Reason is that of the dead letter, or why the message is absorbed; empty for delivered ones.
	Reason string
	// Events are those that must arrive, in no order; also those of a dead-lettered message which
	// the API takes while it refuses others of it.
	Events []insightsfake.Event
	// Parts are the places of the items or clicked objects that are not delivered, where the API
	// refuses some of a message; nil otherwise, and nil for shown messages.
	Parts []int
}

// verdictCode is an outcome and its reason in one byte.
type verdictCode uint8

const (
	undecided verdictCode = iota
	delivered
	stored
	duplicate
	tombstone
	dropped
	malformed
	unknownType
	invalid
	unknownApplication
	future
	tooOld
	noIndex
	unmatched
	tooLarge
	rejected
	expired
)

var reasonNames = [...]string{"", "", "stored", "duplicate", "tombstone", "dropped", "malformed", "unknown-type", "invalid",
	"unknown-application", "future", "too-old", "no-index", "unmatched", "too-large", "rejected", "expired"}

func (c verdictCode) outcome() Outcome {
	switch {
	case c == undecided:
		return ""
	case c == delivered:
		return Delivered
	case c < malformed:
		return Absorbed
	}
	return DeadLettered
}

// codeOf is the inverse of outcome and reasonNames; undecided if there is no such pair.
func codeOf(o Outcome, reason string) verdictCode {
	for c := delivered; int(c) < len(reasonNames); c++ {
		if c.outcome() == o && reasonNames[c] == reason {
			return c
		}
	}
	return undecided
}
