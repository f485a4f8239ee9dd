package dlq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"eventworker/internal/deadletter"
)

// Two people may see the same letters and replay them at once.
func TestPlansThatOverlapAreAppliedAtTheSameTimeAndEachLetterGoesOnce(t *testing.T) {
	const n = 90
	o := newOffice(t)
	for round := range 3 {
		o.dead(many(n, o.click)...)
		one, other := o.plan(""), o.plan("")
		if round == 2 {
			other = one // twice the same plan
		}
		results := o.applyBoth(one, other)
		written, left := int64(0), int64(0)
		for _, r := range results {
			written, left = written+r.Written, left+r.Left
		}
		if written != n || left != 0 && one != other {
			t.Errorf("round %d: %d letters were written, %d are left: %+v", round, written, left, results)
		}
		o.once(n * (round + 1))
		o.work(delivered)
		if round == 2 {
			if v := o.verify(one); !v.AllGood() {
				t.Errorf("%+v", v)
			}
			continue
		}
		good := int64(0)
		for _, p := range []*Plan{one, other} {
			v := o.verify(p)
			good += v.Good()
			if v.Good()+v.NotWritten != n {
				t.Errorf("round %d: %+v", round, v)
			}
		}
		if good != n {
			t.Errorf("round %d: %d letters ended well", round, good)
		}
	}
}

// applyBoth applies two plans at once, in small steps.
func (o *office) applyBoth(plans ...*Plan) []Applied {
	o.Helper()
	results := make([]Applied, len(plans))
	var running sync.WaitGroup
	for i, p := range plans {
		running.Go(func() {
			n, err := o.tryApply(o.Context(), p, func(a *ApplyOptions) { a.Rate = 100 })
			var twin *TwinError // of the same plan one may see the other
			if err != nil && !(errors.As(err, &twin) && plans[0] == plans[1]) {
				o.Error(err)
			}
			results[i] = n
		})
	}
	running.Wait()
	return results
}

// stateLog stands in for a partition of the state topic.
type stateLog []noted

func (l *stateLog) write(at Coordinates, value []byte) {
	s, err := deadletter.ParseState(value)
	if err != nil {
		panic(err)
	}
	*l = append(*l, noted{at, value, s})
}

// claimant does what claimAll and giveBack do, step by step.
type claimant struct {
	claim
	states States
	pos    int
	step   int
	giving bool // the next step writes what came first
	won    bool
}

// do makes the next step; false: it has ended.
func (c *claimant) do(log *stateLog) bool {
	if c.giving {
		c.giving = false
		c.first.begin(newMark())
		log.write(c.source, c.first.copy)
		return true
	}
	c.read(log)
	c.step++
	switch c.step {
	case 1:
		s, noted := c.states.Get(c.source)
		return !noted || standsUpon(c.replay, s) == stands
	case 2:
		log.write(c.source, c.value)
		return true
	case 3:
		c.won, c.giving = !c.lost, c.lost
	default:
		c.giving = c.first.anew
	}
	return c.giving
}

// read reads on; between the first look and the claim nothing is read.
func (c *claimant) read(log *stateLog) {
	if c.step == 1 {
		return
	}
	before := c.pos
	c.pos = len(*log)
	for i := range (*log)[before:] {
		one := &(*log)[before+i]
		c.states.note(one)
		switch c.step {
		case 0:
		case 2:
			c.meet(one)
		default:
			c.first.meet(one)
		}
	}
}

func TestOfSeveralWhoClaimALetterExactlyOneHasIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		replay := rapid.SampledFrom([]string{"", "p-before"}).Draw(t, "replay")
		at := Coordinates{"shop", 0, 7}
		var log stateLog
		if replay != "" {
			log.write(at, deadletter.State{Status: deadletter.StateReplayed, ReplayID: replay}.Encode())
		}
		var running []*claimant
		for i := range rapid.IntRange(1, 4).Draw(t, "claimants") {
			status := rapid.SampledFrom([]string{deadletter.StateReplayed, deadletter.StateDiscarded}).Draw(t, "status")
			c := &claimant{claim: claim{source: at, replay: replay}}
			c.state = deadletter.State{Status: status, ReplayID: fmt.Sprintf("p-%d", i)}
			if status == deadletter.StateDiscarded {
				c.state = decided(replay, status, "jane", "")
			}
			c.value = marked(c.state.Encode(), claimStart, newMark())
			running = append(running, c)
		}
		all := append([]*claimant{}, running...)
		noted := replay == ""
		var settled []byte
		for len(running) > 0 {
			if settled == nil {
				settled = settle(t, &log, at, all)
			}
			if !noted && rapid.Bool().Draw(t, "the worker notes the letter's own end") {
				noted = true
				if last := log[len(log)-1].state; last.ReplayID == replay && last.Status == deadletter.StateReplayed {
					log.write(at, deadletter.Settled(replay, deadletter.OutcomeDead, time.Now()).Encode())
				}
			}
			i := rapid.IntRange(0, len(running)-1).Draw(t, "who")
			if !running[i].do(&log) {
				running = append(running[:i], running[i+1:]...)
			}
		}
		var winner *claimant
		for _, c := range all {
			if c.won && winner != nil {
				t.Fatal("two have the letter")
			}
			if c.won {
				winner = c
			}
		}
		if winner == nil {
			t.Fatal("nobody has the letter")
		}
		want := winner.value
		if settled != nil {
			want = settled
		}
		if last := log[len(log)-1]; !bytes.Equal(unmarked(last.value), unmarked(want)) {
			t.Fatalf("the topic ends with %s, not with %s", last.value, want)
		}
	})
}

// settle lets the worker say what became of the letter of who has it, at some time; nil: not yet.
func settle(t *rapid.T, log *stateLog, at Coordinates, all []*claimant) []byte {
	for _, c := range all {
		if c.won && c.state.Status == deadletter.StateReplayed && rapid.Bool().Draw(t, "the worker says what became of it") {
			outcome := rapid.SampledFrom([]string{deadletter.OutcomeDelivered, deadletter.OutcomeDead}).Draw(t, "outcome")
			value := deadletter.Settled(c.state.ReplayID, outcome, time.Now()).Encode()
			log.write(at, value)
			return value
		}
	}
	return nil
}

// A call that died between its claim and what it saw of it may have come second.
func TestALostClaimOfACallThatDiedIsGivenBackToWhoCameFirst(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.click)...)
	one, other := o.plan(""), o.plan("")
	for offset, claims := range map[int64][]*Plan{0: {one, other}, 1: {other}} {
		for _, p := range claims {
			o.putState("shop", 0, offset, p.claimed(time.Now()))
		}
	}
	if n := o.apply(other); n.Written != 5 || n.Passed != 1 {
		t.Errorf("%+v", n)
	}
	if s := o.state(0); !isClaim(&s, one.ID) {
		t.Errorf("%+v", s)
	}
	if n := o.apply(one); n.Written != 1 || n.Passed+n.Before != 5 {
		t.Errorf("%+v", n)
	}
	o.once(6)
}

func TestAPlanThatAnotherCallCarriesOutIsLeftToIt(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.click)...)
	plan := o.plan("")
	o.putState("shop", 0, 0, plan.claimed(time.Now()))
	ctx, stop := context.WithCancel(t.Context())
	var other sync.WaitGroup
	other.Go(func() {
		w, err := o.desk.stateWriter(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close(context.Background())
		s := plan.claimed(time.Now())
		for ctx.Err() == nil {
			_ = w.Write(ctx, []deadletter.StateRecord{{Key: deadletter.StateKey("shop", 1, 0), Value: s.Encode()}})
		}
	})
	n, err := o.tryApply(t.Context(), plan)
	stop()
	other.Wait()
	var twin *TwinError
	if !errors.As(err, &twin) || n.Written != 0 || len(o.replayed()) != 0 {
		t.Errorf("%+v, %v", n, err)
	}
}
