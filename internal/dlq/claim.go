package dlq

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"eventworker/internal/deadletter"
)

// claim is a state that somebody wants to write of a message, because of what is known of it. Somebody else
// may do so at the same moment: of two, the one that comes first in the state topic has it.
type claim struct {
	source Coordinates
	replay string // that the letter came of
	// alone: whatever somebody else noted first counts, also what the letter itself says.
	alone bool
	state deadletter.State
	// lost: something else was decided about the message first.
	lost bool

	value []byte // as it is written: no two are the same
	seen  bool   // in the topic
	// first is the replay of what came first, once the claim is lost; other the last that was noted of it.
	first string
	other []byte
}

// claimAll writes the states of claims, reads on what the topic holds, and says of each whether it came
// first. Where one did not, what came first is written again: the last record of a message is what counts.
func claimAll(ctx context.Context, w *deadletter.StateWriter, states *States, claims []claim) error {
	if len(claims) == 0 {
		return nil
	}
	bySource := make(map[Coordinates]*claim, len(claims))
	records := make([]deadletter.StateRecord, len(claims))
	mark := newMark()
	for i := range claims {
		c := &claims[i]
		if _, _, _, err := deadletter.ParseStateKey(stateKey(c.source)); err != nil {
			return fmt.Errorf("%s: %w", stateKey(c.source), err) // the claim would not be found again
		}
		c.value = marked(c.state.Encode(), mark)
		bySource[c.source] = c
		records[i] = deadletter.StateRecord{Key: stateKey(c.source), Value: c.value}
	}
	if err := again(ctx, func() error { return w.Write(ctx, records) }); err != nil {
		return err
	}
	waiting := len(claims)
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := again(ctx, func() error {
			return states.read(ctx, func(one *noted) {
				if c := bySource[one.at]; c != nil && c.meet(one) {
					waiting--
				}
			})
		})
		if err != nil || waiting == 0 {
			return errors.Join(err, giveBack(ctx, w, claims))
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// meet takes what the topic has of the claim's message, in the order of the topic. It says whether that is
// the claim itself, for the first time.
func (c *claim) meet(one *noted) (own bool) {
	switch {
	case bytes.Equal(one.value, c.value):
		own, c.seen = !c.seen, true
		return own
	case c.seen && !c.lost:
		return false // who came second gives it back
	case one.value == nil:
		return false
	}
	s, current := stateUpon(c.replay, one.state)
	switch {
	case c.lost && (one.state.ReplayID != c.first || bytes.HasPrefix(one.value, claimStart)):
		return false // another one that came too late
	case !c.lost && !c.alone && current && s.Status == deadletter.StateOpen:
		return false // it says what the letter itself says
	}
	c.lost, c.first, c.other = true, one.state.ReplayID, bytes.Clone(one.value)
	return false
}

// giveBack writes again what came before lost claims.
func giveBack(ctx context.Context, w *deadletter.StateWriter, claims []claim) error {
	var records []deadletter.StateRecord
	for i := range claims {
		if c := &claims[i]; c.lost {
			records = append(records, deadletter.StateRecord{Key: stateKey(c.source), Value: c.other})
		}
	}
	if len(records) == 0 {
		return nil
	}
	return again(ctx, func() error { return w.Write(ctx, records) })
}

func stateKey(c Coordinates) string { return deadletter.StateKey(c.Topic, c.Partition, c.Offset) }

// newMark tells the claims of one moment from those of any other, of the same plan too.
func newMark() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// marked adds a field to a state, which its readers pass over.
func marked(state []byte, mark string) []byte {
	return slices.Concat(claimStart, []byte(mark+`",`), state[1:])
}

// claimStart begins the state of a claim.
var claimStart = []byte(`{"claim":"`)
