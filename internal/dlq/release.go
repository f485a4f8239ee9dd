package dlq

import (
	"context"
	"fmt"
	"time"

	"eventworker/internal/deadletter"
)

// ReleaseOptions say how to release letters.
type ReleaseOptions struct {
	// By is who does it.
	By string
	// Clock is what the age of claims is judged by; nil: time.Now.
	Clock func() time.Time
	// DryRun counts, and writes nothing.
	DryRun bool
}

// releaseAfter is how old the newest claim of a plan must be: a call may try to write a batch for putTime after
// it claimed it. As much again is for clocks that differ.
const releaseAfter = 2 * putTime

// BusyError says that a plan's claims are so new that a call may still write their letters.
type BusyError struct {
	ID   string
	Wait time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("a call may still write what plan %s claimed: wait %v", e.ID, e.Wait.Round(time.Second))
}

// Release gives up the letters that calls of a plan claimed and did not live to write: they are open again, and
// a new plan takes them. It is for plans that cannot go on, since the rules, the settings or the topics are
// others; what is on a target topic stays replayed. It gives how many letters are open again, also with an
// error. The error is a [*CallError] for a plan of another topic, and where nobody can know which letters were
// written, a [*TwinError] or a [*BusyError] where a call may still write them.
func (d *Desk) Release(ctx context.Context, p *Plan, o ReleaseOptions) (n int64, err error) {
	try := "eventworker dlq replay --help"
	switch {
	case p.Topic != d.Topics.DeadLetter:
		return 0, callf(try, "plan %s is for topic %s, kafka.dead_letter_topic is %s", p.ID, p.Topic, d.Topics.DeadLetter)
	case p.Partitions == nil && p.Planned > 0:
		return 0, callf(try, "plan %s is too large to be kept beside the states: give its file", p.ID)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	a := &apply{d: d, p: p, o: ApplyOptions{DryRun: o.DryRun}, states: d.newStates(p.ID), held: newHeld(d, p)}
	if a.writer, err = d.stateWriter(ctx); err != nil {
		return 0, err
	}
	defer a.writer.Close(context.Background()) // nothing is queued
	if err := a.known(ctx); err != nil || a.left.len() == 0 {
		return 0, err
	}
	if a.held.lost {
		return 0, callf("eventworker dlq verify "+p.ID, "the target topic of plan %s no longer holds all that was written since it was made: nobody knows which letters are not", p.ID)
	}
	if wait := releaseAfter - o.Clock().Sub(a.states.claimedLast()); wait > 0 && !o.DryRun {
		return 0, &BusyError{p.ID, wait}
	}
	for i := range p.Partitions {
		c := &reading{partition: p.Partitions[i].Partition, letters: p.Partitions[i].Letters}
		for more := len(c.letters) > 0; more; {
			var batch []*Letter
			if batch, more, _, err = d.next(ctx, p.Topic, c, maxStateBatch); err != nil {
				return n, err
			}
			released, err := a.release(ctx, batch, o.By)
			if n += released; err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// claimedLast is when own claimed a letter last, of those whose last state is a claim of it.
func (s *States) claimedLast() (at time.Time) {
	for i := range s.kinds {
		if isClaim(&s.kinds[i], s.own) && s.newest[i].After(at) {
			at = s.newest[i]
		}
	}
	return at
}

// release opens the letters of a batch that were claimed and not written. Before, it claims them itself, as a
// call that goes on would: of two, one gets each.
func (a *apply) release(ctx context.Context, batch []*Letter, by string) (n int64, err error) {
	var claims []claim
	for _, l := range batch {
		source := l.Source()
		if !a.dead(source) {
			continue
		}
		switch a.standing(source, l.ReplayID()) {
		case standsChanged:
			a.passed(source, l.ReplayID())
		case stands:
			claims = append(claims, claim{source: source, replay: l.ReplayID(), alone: true, state: a.p.claimed(time.Now())})
		}
	}
	if err := ctx.Err(); err != nil || a.o.DryRun {
		return int64(len(claims)), err
	}
	finish, cancel := outlive(ctx)
	defer cancel()
	if err := a.restore(finish); err != nil {
		return 0, err
	}
	if err := claimAll(finish, a.writer, a.states, claims); err != nil {
		return 0, err
	}
	var open []deadletter.StateRecord
	for i := range claims {
		if c := &claims[i]; !c.lost {
			s := decided(c.replay, deadletter.StateOpen, by, "released from plan "+a.p.ID)
			open = append(open, deadletter.StateRecord{Key: stateKey(c.source), Value: s.Encode()})
		}
	}
	if len(open) == 0 {
		return 0, nil
	}
	if err := again(finish, func() error { return a.writer.Write(finish, open) }); err != nil {
		return 0, err
	}
	return int64(len(open)), nil
}
