package dlq

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/deadletter"
)

// putValue writes a value as the state of shop/0/offset.
func (o *office) putValue(offset int64, value []byte) {
	o.Helper()
	w, err := o.desk.stateWriter(o.Context())
	if err != nil {
		o.Fatal(err)
	}
	defer w.Close(context.Background())
	if err := w.Write(o.Context(), []deadletter.StateRecord{{Key: deadletter.StateKey("shop", 0, offset), Value: value}}); err != nil {
		o.Fatal(err)
	}
}

// state is the state of shop/0/offset.
func (o *office) state(offset int64) deadletter.State {
	o.Helper()
	states, err := o.desk.States(o.Context())
	if err != nil {
		o.Fatal(err)
	}
	s, _ := states.Get(Coordinates{"shop", 0, offset})
	return s
}

// claimOf is a claim of a plan, as it is written.
func claimOf(p *Plan) []byte { return marked(p.claimed(time.Now()).Encode(), claimStart, newMark()) }

// The winner dies after the loser gave its claim back: the topic has it twice, around that of the loser.
func TestALetterOfAWinnerThatDiedIsWrittenAlsoAfterTheLoserGaveItBack(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.dead(many(1, o.click)...)
	winner, loser := o.plan(""), o.plan("")
	first := claimOf(winner)
	o.putValue(0, first)
	o.putValue(0, claimOf(loser))
	o.putValue(0, first)
	if n := o.apply(loser); n.Passed != 1 {
		t.Errorf("the loser: %+v", n)
	}
	if n := o.apply(winner); n.Written != 1 {
		t.Errorf("the winner: %+v", n)
	}
	o.once(1)
}

func TestOfTwoPlansThatBothDiedTheFirstWritesTheLetterWhoeverIsResumedFirst(t *testing.T) {
	t.Parallel()
	for _, loserFirst := range []bool{false, true} {
		o := newOffice(t)
		o.dead(many(1, o.click)...)
		winner, loser := o.plan(""), o.plan("")
		o.putValue(0, claimOf(winner))
		o.putValue(0, claimOf(loser))
		order := []*Plan{winner, loser}
		if loserFirst {
			order = []*Plan{loser, winner}
		}
		for _, p := range order {
			if n := o.apply(p); (n.Written == 1) != (p == winner) {
				t.Errorf("the loser is resumed first: %t; %+v", loserFirst, n)
			}
		}
		o.once(1)
	}
}

func TestADiscardIsGivenBackByAPlanThatCameSecondAndDied(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.dead(many(1, o.click)...)
	plan := o.plan("")
	discard := decided("", deadletter.StateDiscarded, "jane", "not wanted")
	o.putValue(0, marked(discard.Encode(), claimStart, newMark()))
	o.putValue(0, claimOf(plan))
	if n := o.apply(plan); n.Passed != 1 {
		t.Errorf("%+v", n)
	}
	if s := o.state(0); !sameState(s, o.read(discard)) {
		t.Errorf("%+v", s)
	}
	o.once(0)
}

// read is a state as its readers have it.
func (o *office) read(s deadletter.State) deadletter.State {
	o.Helper()
	s, err := deadletter.ParseState(s.Encode())
	if err != nil {
		o.Fatal(err)
	}
	return s
}

// While one gives a claim back the worker, or the winner itself, says what became of it.
func TestWhatWasSaidMeanwhileIsNotLostWhenAClaimIsGivenBack(t *testing.T) {
	for name, said := range map[string]func(p *Plan) deadletter.State{
		"delivered": func(p *Plan) deadletter.State {
			return deadletter.Settled(p.ID, deadletter.OutcomeDelivered, time.Now())
		},
		"too large": func(p *Plan) deadletter.State {
			return decided("", deadletter.StateOpen, p.By, "too large for topic shop.replay")
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.dead(many(1, o.click)...)
			winner, loser := o.plan(""), o.plan("")
			first, at := claimOf(winner), Coordinates{"shop", 0, 0}
			states := o.desk.newStates(loser.ID)
			if err := states.read(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			want := said(winner)
			o.putValue(0, first)
			o.putValue(0, claimOf(loser))
			o.putValue(0, want.Encode())
			w, err := o.desk.stateWriter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close(context.Background())
			list := []upheld{{noted: noted{at, first, o.read(winner.claimed(time.Now()))}}}
			if err := giveBack(t.Context(), w, states, list); err != nil {
				t.Fatal(err)
			}
			if s := o.state(0); !sameState(s, o.read(want)) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The replay topic takes nothing while two plans claim the same letters; both are stopped, and called again.
func TestOverlappingPlansThatWereBothInterruptedLoseNoLetter(t *testing.T) {
	t.Parallel()
	const n = 90
	o := newOffice(t)
	o.dead(many(n, o.click)...)
	plans := []*Plan{o.plan(""), o.plan("")}
	var down atomic.Bool
	down.Store(true)
	refused := make(chan struct{}, 1)
	o.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		o.cluster.KeepControl()
		r := req.(*kmsg.ProduceRequest)
		if !down.Load() || r.Topics[0].Topic != "shop.replay" {
			return nil, nil, false
		}
		select {
		case refused <- struct{}{}:
		default:
		}
		return notEnoughReplicas(r), nil, true
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, p := range plans {
		running.Go(func() {
			if _, err := o.tryApply(ctx, p); err == nil {
				t.Error("it was not interrupted")
			}
		})
	}
	<-refused
	stop()
	running.Wait()
	down.Store(false)
	for range 2 {
		for _, p := range plans {
			if _, err := o.tryApply(t.Context(), p); err != nil {
				t.Error(err)
			}
		}
	}
	o.once(n)
}

func notEnoughReplicas(r *kmsg.ProduceRequest) kmsg.Response {
	res := r.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range r.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = topic.Topic
		for _, one := range topic.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode = one.Partition, kerr.NotEnoughReplicas.Code
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return res
}
