package deadletter

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The states of a dead letter. One without a record in the state topic is open.
const (
	// StateOpen waits for somebody to do something about it.
	StateOpen = "open"
	// StateReplayed was put on the replay topic. Outcome says what came of it, once that is known.
	StateReplayed = "replayed"
	// StateDiscarded was given up by a person, with a note.
	StateDiscarded = "discarded"
	// StateParked was replayed as often as it may be, and dead again each time.
	StateParked = "parked"
)

// What became of a replayed message.
const (
	OutcomeDelivered = "delivered"
	OutcomeDuplicate = "duplicate"
	OutcomeAbsorbed  = "absorbed"
	OutcomeDead      = "dead"
)

// stateVersion is the version of the state format that this package writes, and the newest it reads.
const stateVersion = 1

// State is what became of a dead letter: the value of a record of the state topic, as JSON. The record's
// key is [StateKey] of the message's first life; of the records of one key the last one counts.
type State struct {
	V      int    `json:"v"`
	Status string `json:"status"`
	// ReplayID is the replay that the status comes from, empty without one.
	ReplayID string `json:"replay_id,omitempty"`
	// Outcome is what the worker said of the replayed message, empty while it has said nothing.
	Outcome string `json:"outcome,omitempty"`
	// Note says why, By who, for what a person did.
	Note string    `json:"note,omitempty"`
	By   string    `json:"by,omitempty"`
	At   time.Time `json:"at"`
}

// Settled is the state of a replayed message that has its outcome. What is dead again is open: its new
// dead letter waits for somebody.
func Settled(replayID, outcome string, at time.Time) State {
	status := StateReplayed
	if outcome == OutcomeDead {
		status = StateOpen
	}
	return State{Status: status, ReplayID: replayID, Outcome: outcome, At: at}
}

// Encode gives the record's value. The version is set here, the time is cut to milliseconds, in UTC.
func (s State) Encode() []byte {
	s.V, s.At = stateVersion, s.At.UTC().Truncate(time.Millisecond)
	text, err := json.Marshal(s)
	if err != nil { // only a year above 9999 does this
		s.At = time.Time{}
		text, _ = json.Marshal(s)
	}
	return text
}

// ParseState reads the value of a record of the state topic. Fields that it does not know are ignored.
func ParseState(value []byte) (State, error) {
	var s State
	if err := json.Unmarshal(value, &s); err != nil {
		return State{}, fmt.Errorf("the state of a dead letter cannot be read: %w", err)
	}
	if s.V < 1 || s.V > stateVersion {
		return State{}, fmt.Errorf("the state of a dead letter has version %d, %d is the newest known: use a newer eventworker", s.V, stateVersion)
	}
	switch s.Status {
	case StateOpen, StateReplayed, StateDiscarded, StateParked:
	default:
		return State{}, fmt.Errorf("the state of a dead letter has the unknown status %q", cut(s.Status, 32))
	}
	switch s.Outcome {
	case "", OutcomeDelivered, OutcomeDuplicate, OutcomeAbsorbed, OutcomeDead:
	default:
		return State{}, fmt.Errorf("the state of a dead letter has the unknown outcome %q", cut(s.Outcome, 32))
	}
	return s, nil
}

// StateTopic is the compacted topic that holds the states of a dead-letter topic's letters.
func StateTopic(deadLetterTopic string) string { return deadLetterTopic + ".state" }

// StateKey is the key of a letter's state: topic/partition/offset of the message's first life.
func StateKey(topic string, partition int32, offset int64) string {
	key := make([]byte, 0, len(topic)+24)
	key = append(append(key, topic...), '/')
	key = strconv.AppendInt(key, int64(partition), 10)
	key = strconv.AppendInt(append(key, '/'), offset, 10)
	return string(key)
}

// ParseStateKey is the inverse of [StateKey].
func ParseStateKey(key string) (topic string, partition int32, offset int64, err error) {
	last := strings.LastIndexByte(key, '/')
	if last < 0 {
		return "", 0, 0, errStateKey
	}
	first := strings.LastIndexByte(key[:last], '/')
	if first < 1 {
		return "", 0, 0, errStateKey
	}
	p, errP := strconv.ParseUint(key[first+1:last], 10, 31)
	o, errO := strconv.ParseUint(key[last+1:], 10, 63)
	if errP != nil || errO != nil {
		return "", 0, 0, errStateKey
	}
	return key[:first], int32(p), int64(o), nil
}

var errStateKey = errors.New("the key of a dead letter's state is not topic/partition/offset")
