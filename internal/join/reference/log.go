// Package reference says what must become of every message of a log: docs/contract.md, section 2 and the
// Attribution part of section 9, as lists and linear scans over the whole log. It shares nothing with the
// join but the decoder of messages and the configuration, and exists for tests to compare the join with.
//
// It is slow, by design: what it does must be readable beside the contract.
package reference

import (
	"eventworker/internal/join"
)

// A Source is one partition of the task.
type Source struct {
	Topic          string
	Shown, Clicked bool // what it may carry
}

// A Record is one message of a source; its offset is its place in the source's records.
type Record struct {
	// Time is the record's timestamp in milliseconds; negative: it has none.
	Time int64
	Key  []byte
	// Value is nil for a tombstone.
	Value []byte
}

// An ID names a record of the log.
type ID struct {
	Source int
	Offset int
}

// A Step is one thing that happened while the log was read.
type Step struct {
	Kind StepKind
	// Source is the one that was read or whose end was told of.
	Source int
}

// StepKind says what a Step is.
type StepKind uint8

// The kinds of steps.
const (
	Read   StepKind = iota // the next record of the source was read
	End                    // the source was read to its end
	NotEnd                 // it is not at its end any more
	Tick                   // join.wait passed for everything that waits
)

// An Input is all that an answer may depend on.
type Input struct {
	Config  *join.Config
	Now     int64 // the clock, in milliseconds
	Sources []Source
	Records [][]Record // by source, by offset
	// Steps are how the log was read. Only the ends told before everything was read can make a
	// difference.
	Steps []Step
	// Delivered says whether the events of a message were all delivered; nil: all are.
	Delivered func(ID) bool
}

// An Outcome is what becomes of one message.
type Outcome struct {
	// Events are those sent, in the canonical form of [Canonical]; empty for other outcomes.
	Events []string
	// Absorbed is the reason of an absorption, Refused that of a dead letter; both are empty where
	// events are sent.
	Absorbed, Refused string
	// Claimed: the message's id is de-duplicated, and it is not known to be a copy.
	Claimed bool
	// Copied: an earlier message of the same id, whose events could be sent, lies within dedupe.window,
	// whether or not it was delivered.
	Copied bool
	// Own is the outcome a copy has if it goes its own way; nil where that is this outcome.
	Own *Outcome
}

// Whole is the reading of a log without ends told early: source after source, then the ends.
func Whole(records [][]Record) (steps []Step) {
	for s := range records {
		for range records[s] {
			steps = append(steps, Step{Read, s})
		}
	}
	return append(steps, Finish(len(records))...)
}

// Finish tells the ends of all sources and lets join.wait pass.
func Finish(sources int) (steps []Step) {
	for s := range sources {
		steps = append(steps, Step{End, s})
	}
	return append(steps, Step{Kind: Tick})
}
