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
	// lost: something else was decided about the message first, first.
	lost  bool
	first upheld

	value []byte // as it is written: no two are the same
	seen  bool   // in the topic
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
		c.value = marked(c.state.Encode(), claimStart, mark)
		bySource[c.source] = c
		records[i] = deadletter.StateRecord{Key: stateKey(c.source), Value: c.value}
	}
	if err := again(ctx, func() error { return w.Write(ctx, records) }); err != nil {
		return err
	}
	err := readUntil(ctx, states, len(claims), func(one *noted) bool {
		c := bySource[one.at]
		return c != nil && c.meet(one)
	})
	var lost []upheld
	for i := range claims {
		if claims[i].lost {
			lost = append(lost, claims[i].first)
		}
	}
	return errors.Join(err, giveBack(ctx, w, states, lost))
}

// readUntil reads on until as many records were there of which is says that they are waited for.
func readUntil(ctx context.Context, states *States, waiting int, is func(*noted) bool) error {
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := again(ctx, func() error {
			return states.read(ctx, func(one *noted) {
				if is(one) {
					waiting--
				}
			})
		})
		if err != nil || waiting == 0 {
			return err
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
	case c.lost:
		c.first.follow(one)
		return false
	case c.seen: // who came second gives it back
		return false
	case one.value == nil:
		return false
	}
	s, current := stateUpon(c.replay, one.state)
	if !c.alone && current && s.Status == deadletter.StateOpen {
		return false // it says what the letter itself says
	}
	c.lost, c.first = true, upheld{noted: noted{one.at, bytes.Clone(one.value), one.state}, replay: c.replay}
	return false
}

// upheld is the record of a message that counts, where another one was written after it.
type upheld struct {
	noted
	replay string // that the letter came of
	copy   []byte // as it is written again: no two are the same
	seen   bool   // the copy, in the topic
	anew   bool   // another record counts than the one that was copied
}

// follow takes what came after the record and before its copy.
func (u *upheld) follow(one *noted) {
	open := u.state.Status == deadletter.StateOpen && u.state.ReplayID == u.replay // since then it may be claimed
	late := one.claims() && !open
	if one.value == nil || late || endOf(&one.state, u.replay) {
		return
	}
	u.anew = u.anew || !sameState(one.state, u.state)
	u.value, u.state = bytes.Clone(one.value), one.state
}

// endOf says that a state is what the worker notes when a replay ends with a new letter; it does so a moment
// later than it writes the letter.
func endOf(s *deadletter.State, replay string) bool {
	return replay != "" && s.ReplayID == replay && s.Status == deadletter.StateOpen && s.Note == ""
}

func sameState(a, b deadletter.State) bool {
	a.At, b.At = time.Time{}, time.Time{}
	return a == b
}

// giveBack writes records again that count. What came to count before its copy was there, such as what the
// worker said of a replay meanwhile, is written in its place.
func giveBack(ctx context.Context, w *deadletter.StateWriter, states *States, list []upheld) error {
	for len(list) > 0 {
		bySource := make(map[Coordinates]*upheld, len(list))
		records := make([]deadletter.StateRecord, len(list))
		mark := newMark()
		for i := range list {
			list[i].begin(mark)
			bySource[list[i].at] = &list[i]
			records[i] = deadletter.StateRecord{Key: stateKey(list[i].at), Value: list[i].copy}
		}
		if err := again(ctx, func() error { return w.Write(ctx, records) }); err != nil {
			return err
		}
		err := readUntil(ctx, states, len(list), func(one *noted) bool {
			u := bySource[one.at]
			return u != nil && u.meet(one)
		})
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(u upheld) bool { return !u.anew })
	}
	return nil
}

// begin makes the copy.
func (u *upheld) begin(mark string) {
	start := backStart
	if u.claims() {
		start = claimStart
	}
	u.copy, u.seen, u.anew = marked(unmarked(u.value), start, mark), false, false
}

// meet takes what the topic has of the message. It says whether that is the copy, for the first time.
func (u *upheld) meet(one *noted) (own bool) {
	if bytes.Equal(one.value, u.copy) {
		own, u.seen = !u.seen, true
		return own
	}
	before := u.anew
	u.follow(one)
	u.anew = before || u.anew && !u.seen // what comes after the copy counts by itself
	return false
}

func stateKey(c Coordinates) string { return deadletter.StateKey(c.Topic, c.Partition, c.Offset) }

// newMark tells the claims of one moment from those of any other, of the same plan too.
func newMark() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// marked adds a field to a state, which its readers pass over.
func marked(state, start []byte, mark string) []byte {
	return slices.Concat(start, []byte(mark+`",`), state[1:])
}

// unmarked is a state without such a field.
func unmarked(state []byte) []byte {
	if bytes.HasPrefix(state, claimStart) || bytes.HasPrefix(state, backStart) {
		if _, rest, found := bytes.Cut(state, []byte(`",`)); found {
			return slices.Concat([]byte("{"), rest)
		}
	}
	return state
}

// claimStart begins the state of a claim, backStart that of anything else that is written again.
var (
	claimStart = []byte(`{"claim":"`)
	backStart  = []byte(`{"back":"`)
)
