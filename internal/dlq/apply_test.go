package dlq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
)

func deleteRecords(topic string, partition int32, offset int64) kmsg.Request {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 5000
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = partition, offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// once checks that the replay topic holds each source once.
func (o *office) once(n int) {
	o.Helper()
	seen := map[string]int{}
	for _, r := range o.replayed() {
		c, err := deadletter.DecodeReplayed(r.Headers)
		if err != nil {
			o.Fatal(err)
		}
		seen[deadletter.StateKey(c.Topic, c.Partition, c.Offset)]++
		if r.Partition != c.Partition {
			o.Errorf("%v lies in partition %d", c, r.Partition)
		}
	}
	for key, times := range seen {
		if times != 1 {
			o.Errorf("%s is there %d times", key, times)
		}
	}
	if len(seen) != n {
		o.Errorf("%d messages, want %d", len(seen), n)
	}
}

func TestAReplayKeepsKeyHeadersAndFirstLife(t *testing.T) {
	o := newOffice(t)
	o.dead(o.badPrice(1))
	plan := o.plan("", func(p *PlanOptions) { p.Edit = o.edit(mendPrices) })
	o.apply(plan)
	r := o.replayed()[0]
	c, err := deadletter.DecodeReplayed(r.Headers)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Key) != "user" || !bytes.Contains(r.Value, []byte(`"price":"11.90"`)) || r.Partition != 0 {
		t.Errorf("%s: %s", r.Key, r.Value)
	}
	if c.Topic != "shop" || c.Offset != 0 || c.Timestamp != o.now.UnixMilli() || c.ReplayID != plan.ID || c.ReplayCount != 1 || c.Edited != plan.Digests.Edit {
		t.Errorf("%+v", c)
	}
	if age := time.Since(r.Time); age > time.Minute {
		t.Errorf("the record is %v old: retention would take it", age)
	}
}

func TestAPlanThatIsAppliedTwiceDoesNothing(t *testing.T) {
	o := newOffice(t)
	o.dead(many(10, o.click)...)
	plan := o.plan("")
	if n := o.apply(plan); n.Written != 10 {
		t.Errorf("%+v", n)
	}
	if n := o.apply(plan); n.Written != 0 || n.Before != 10 {
		t.Errorf("again: %+v", n)
	}
	o.once(10)
	o.work(delivered)
	if n := o.apply(plan); n.Written != 0 || n.Before != 10 {
		t.Errorf("after it was settled: %+v", n)
	}
	if p := o.plan(""); p.Planned != 0 || p.counts()[ReplayedBefore] != 10 {
		t.Errorf("the next plan: %v", p.counts())
	}
	// Another plan of the same letters, made before, finds them gone.
	o.dead(many(3, o.click)...)
	one, other := o.plan(""), o.plan("")
	o.apply(one)
	if n := o.apply(other); n.Passed != 3 || n.Written != 0 {
		t.Errorf("the other plan: %+v", n)
	}
}

func TestADryRunWritesNothing(t *testing.T) {
	o := newOffice(t)
	o.dead(many(10, o.click)...)
	if n := o.apply(o.plan(""), func(a *ApplyOptions) { a.DryRun = true; a.Canary = 3 }); n.Written != 10 || !n.DryRun {
		t.Errorf("%+v", n)
	}
	if len(o.replayed()) != 0 {
		t.Error("something was written")
	}
	if states, err := o.desk.States(t.Context()); err != nil || states.Len() != 0 {
		t.Error(states, err)
	}
}

func TestAReplayThatIsInterruptedGoesOnWhereItWas(t *testing.T) {
	o := newOffice(t)
	o.dead(many(60, o.click)...)
	plan := o.plan("")
	total := int64(0)
	for round := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		n, err := o.tryApply(ctx, plan, func(a *ApplyOptions) {
			a.Rate = 50 // 10 a batch
			a.Progress = func(n Applied) {
				if n.Written > 0 {
					cancel()
				}
			}
		})
		cancel()
		total += n.Written
		if n.Before+n.Written != total {
			t.Fatalf("round %d: %+v, %d written in all", round, n, total)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	o.once(60)
	if total != 60 {
		t.Errorf("%d written", total)
	}
}

// TestAReplayThatDiedBetweenStatesAndRecordsWritesTheRecords stands for SIGKILL: states are there, some
// records are, and an answer never came.
func TestAReplayThatDiedBetweenStatesAndRecordsWritesTheRecords(t *testing.T) {
	o := newOffice(t)
	o.dead(many(12, o.click)...)
	plan := o.plan("")
	for p := range int32(3) {
		for i := range int64(4) {
			o.putState("shop", p, i, plan.claimed(time.Now()))
		}
	}
	if n := o.apply(plan); n.Written != 12 {
		t.Errorf("%+v", n)
	}
	o.once(12)
	// The records of one partition are gone, as by retention: what was replayed is not replayed again.
	if _, err := o.client.Request(t.Context(), deleteRecords("shop.replay", 1, 4)); err != nil {
		t.Fatal(err)
	}
	if n := o.apply(plan); n.Written != 0 || n.Before != 12 {
		t.Errorf("%+v", n)
	}
}

// TestAnAnswerThatIsLostWritesNothingTwice lets the broker write the first batch, and say that it did not.
func TestAnAnswerThatIsLostWritesNothingTwice(t *testing.T) {
	o := newOffice(t)
	o.dead(many(9, o.click)...)
	plan := o.plan("")
	var lost, passing atomic.Bool
	o.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		o.cluster.KeepControl()
		produce := req.(*kmsg.ProduceRequest)
		if produce.Topics[0].Topic != "shop.replay" || passing.Load() || !lost.CompareAndSwap(false, true) {
			return nil, nil, false
		}
		passing.Store(true)
		own := kmsg.NewPtrProduceRequest()
		own.Version, own.Acks, own.TimeoutMillis, own.Topics = produce.Version, produce.Acks, produce.TimeoutMillis, produce.Topics
		o.cluster.SleepControl(func() {
			if _, err := o.client.Request(context.Background(), own); err != nil {
				o.Error(err)
			}
		})
		passing.Store(false)
		return refusal(produce, kerr.NotEnoughReplicasAfterAppend), nil, true
	})
	if n := o.apply(plan); n.Written != 9 {
		t.Errorf("%+v", n)
	}
	if !lost.Load() {
		t.Error("no answer was lost")
	}
	o.once(9)
}

// refusal is the answer to a produce request of one partition.
func refusal(req *kmsg.ProduceRequest, why *kerr.Error) kmsg.Response {
	res := req.ResponseKind().(*kmsg.ProduceResponse)
	rt := kmsg.NewProduceResponseTopic()
	rt.Topic = req.Topics[0].Topic
	rp := kmsg.NewProduceResponseTopicPartition()
	rp.Partition, rp.ErrorCode = req.Topics[0].Partitions[0].Partition, why.Code
	rt.Partitions = append(rt.Partitions, rp)
	res.Topics = append(res.Topics, rt)
	return res
}

// TestALetterThatIsTooLargeForTheTopicIsLeftOpen has a topic that takes no batch above a few letters, and one
// letter that is larger than any batch may be.
func TestALetterThatIsTooLargeForTheTopicIsLeftOpen(t *testing.T) {
	o := newOffice(t)
	large := strings.Replace(o.click(1), "{", `{"unknown":"`+strings.Repeat("x", 4000)+`",`, 1)
	o.dead(append([]string{o.click(0), large}, many(10, o.click)...)...)
	o.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		o.cluster.KeepControl()
		produce := req.(*kmsg.ProduceRequest)
		var batch kmsg.RecordBatch
		records := produce.Topics[0].Partitions[0].Records
		if produce.Topics[0].Topic != "shop.replay" || batch.ReadFrom(records) != nil {
			return nil, nil, false
		}
		// lz4 makes little of the letter: it is known by its neighbours, of which it has none at last.
		if batch.NumRecords > 2 || batch.NumRecords == 1 && produce.Topics[0].Partitions[0].Partition == 1 && refusedOne(records) {
			return refusal(produce, kerr.MessageTooLarge), nil, true
		}
		if batch.NumRecords == 2 && refusedOne(records) {
			return refusal(produce, kerr.MessageTooLarge), nil, true
		}
		return nil, nil, false
	})
	plan := o.plan("")
	n := o.apply(plan)
	if n.Written != 11 || n.Refused != 1 {
		t.Errorf("%+v", n)
	}
	o.once(11)
	states, err := o.desk.States(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := states.Get(Coordinates{"shop", 1, 0}); s.Status != deadletter.StateOpen || !strings.Contains(s.Note, "too large") {
		t.Errorf("%+v", s)
	}
	if p := o.plan(""); p.Planned != 1 {
		t.Errorf("the letter is not open for the next plan: %v", p.counts())
	}
}

// refusedOne says whether a batch holds the large letter: its text, however often x stands in it, is in
// the batch as it is written.
func refusedOne(records []byte) bool { return bytes.Contains(records, []byte("unknown")) }

func TestWhatTheJoinHadFoundGoesWithALetterUnlessTheEditTouchesIt(t *testing.T) {
	o := newOffice(t)
	letter := func(value string) {
		var written sync.WaitGroup
		written.Add(1)
		l := o.letter(value, consume.Record{Offset: o.next[0], Time: o.now.UnixMilli(), Key: []byte("user"), Value: []byte(value)}, "shop", 0)
		l.Resolved = []deadletter.Resolved{{Index: 0, QueryID: strings.Repeat("a", 32), IndexName: "products", Position: 2}}
		l.Parts = []deadletter.Part{{Index: 0, Reason: event.Rejected}}
		o.letters.Put(l, written.Done)
		written.Wait()
		o.next[0]++
	}
	for range 4 {
		letter(strings.Replace(o.badPrice(0), ",90", ".90", 1))
	}
	for i, c := range []struct {
		edit     string
		resolved bool
		planned  int64
	}{
		{`[{"op":"replace","path":"/items/0/price","value":"5"}]`, true, 1},
		{`{"unknown":1}`, true, 1},
		{`[{"op":"replace","path":"/items/0/objectID","value":"sku-new"}]`, false, 1},
		{`[{"op":"add","path":"/items/-","value":{"objectID":"sku-more"}}]`, false, 0},
	} {
		plan := o.plan(fmt.Sprintf("offsets:0:%d", i), func(p *PlanOptions) { p.Edit = o.edit(c.edit) })
		if plan.Planned != c.planned {
			t.Errorf("%s: %d planned, %+v", c.edit, plan.Planned, plan.Verdicts)
			continue
		}
		o.apply(plan)
		if c.planned == 0 {
			continue
		}
		records := o.replayed()
		got, err := deadletter.DecodeReplayed(records[len(records)-1].Headers)
		if err != nil || (len(got.Resolved) == 1) != c.resolved || len(got.Parts) != 1 {
			t.Errorf("%s: %+v, %v", c.edit, got, err)
		}
	}
}

func TestVerifyFindsTheDeadWithoutTheirStates(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.click)...)
	plan := o.plan("")
	o.apply(plan)
	n := 0
	for _, r := range o.replayed() {
		if n++; n > 4 {
			break
		}
		var written sync.WaitGroup
		written.Add(1)
		own := consume.Record{Offset: r.Offset, Time: r.Time.UnixMilli(), Key: r.Key, Value: r.Value, Headers: r.Headers}
		o.letters.Put(o.letter(string(r.Value), own, "shop.replay", r.Partition), written.Done)
		written.Wait()
	}
	if v := o.verify(plan); v.Dead != 4 || v.Unsettled != 2 || len(v.Deaths) != 1 || v.Deaths[0].Count != 4 {
		t.Errorf("%+v", v)
	}
}

func TestWhatGotTooOldSinceThePlanStays(t *testing.T) {
	o := newOffice(t)
	o.dead(many(5, o.click)...)
	plan := o.plan("")
	n := o.apply(plan, func(a *ApplyOptions) { a.Clock = func() time.Time { return o.now.Add(96 * time.Hour) } })
	if n.TooOld != 5 || n.Written != 0 {
		t.Errorf("%+v", n)
	}
}

func TestLettersAreParkedWhenTheyWereReplayedOften(t *testing.T) {
	o := newOffice(t)
	o.dead(many(4, o.click)...)
	deaths := func(deadletter.Record) string { return deadletter.OutcomeDead }
	for range 2 {
		o.apply(o.plan("", func(p *PlanOptions) { p.MaxReplays = 2 }))
		o.work(deaths)
	}
	plan := o.plan("", func(p *PlanOptions) { p.MaxReplays = 2 })
	if plan.Planned != 0 || plan.counts()[OverTheCap] != 4 {
		t.Fatalf("%v", plan.counts())
	}
	if n := o.apply(plan); n.Parked != 4 {
		t.Errorf("%+v", n)
	}
	states, err := o.desk.States(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for c, s := range states.All() {
		if s.Status != deadletter.StateParked || !strings.Contains(s.Note, "2 times") {
			t.Errorf("%v is %+v", c, s)
		}
	}
	if got := o.plan("", func(p *PlanOptions) { p.MaxReplays = 5 }).counts(); got[Parked] != 4 || got[Pass] != 0 {
		t.Errorf("a parked letter is planned: %v", got)
	}
}

func TestACanaryIsSpreadAndDecides(t *testing.T) {
	o := newOffice(t)
	o.dead(many(30, o.click)...)
	o.dead(many(30, o.badPrice)...)
	plan := o.plan("", func(p *PlanOptions) { p.Edit = o.edit(mendPrices) })
	half := 0
	stop := o.keepWorking(func(deadletter.Record) string {
		half++
		if half%2 == 0 {
			return deadletter.OutcomeDead
		}
		return deadletter.OutcomeDelivered
	})
	n, err := o.tryApply(t.Context(), plan, func(a *ApplyOptions) { a.Canary = 12 })
	stop()
	var failed *CanaryError
	if !errors.As(err, &failed) || n.Written != 12 || n.Left != 48 || n.Canary.Dead != 6 || len(n.Canary.Causes) != 2 {
		t.Fatalf("%+v, %v, %+v", n, err, n.Canary)
	}
	for _, c := range n.Canary.Causes {
		if c.Good+c.Dead != 6 {
			t.Errorf("%+v is not half of the canary", c)
		}
	}
	perPartition := map[int32]int{}
	for _, r := range o.replayed() {
		perPartition[r.Partition]++
	}
	if fmt.Sprint(perPartition) != "map[0:4 1:4 2:4]" {
		t.Errorf("%v", perPartition)
	}
	// The same letters are looked at again by the next call, which may ask for less.
	stop = o.keepWorking(delivered)
	defer stop()
	asked := 0
	n, err = o.tryApply(t.Context(), plan, func(a *ApplyOptions) {
		a.Canary, a.MinSuccess = 12, 0.5
		a.GoOn = func(*Verification) bool { asked++; return false }
	})
	if !errors.Is(err, ErrDeclined) || asked != 1 || n.Written != 0 || n.Left != 48 {
		t.Fatalf("%+v, %v, asked %d times", n, err, asked)
	}
	if n := o.apply(plan, func(a *ApplyOptions) { a.Canary, a.MinSuccess = 12, 0.5 }); n.Written != 48 {
		t.Errorf("%+v", n)
	}
	o.once(60)
}

func TestVerifyFollowsEachLetterToItsEnd(t *testing.T) {
	o := newOffice(t)
	o.dead(many(12, o.badPrice)...)
	plan := o.plan("", func(p *PlanOptions) { p.Edit = o.edit(mendPrices) })
	if v := o.verify(plan); v.NotWritten != 12 || v.AllGood() {
		t.Errorf("before: %+v", v)
	}
	o.apply(plan)
	if v := o.verify(plan); v.Unsettled != 12 {
		t.Errorf("before the worker: %+v", v)
	}
	i := 0
	outcomes := []string{deadletter.OutcomeDelivered, deadletter.OutcomeDuplicate, deadletter.OutcomeAbsorbed, deadletter.OutcomeDead, ""}
	o.work(func(deadletter.Record) string { i++; return outcomes[(i-1)%len(outcomes)] })
	v := o.verify(plan)
	if v.Delivered != 3 || v.Duplicate != 3 || v.Absorbed != 2 || v.Dead != 2 || v.Unknown != 2 || v.Good() != 8 {
		t.Errorf("%+v", v)
	}
	if len(v.Deaths) != 1 || v.Deaths[0].Old == v.Deaths[0].New || v.Deaths[0].New == "" || v.Deaths[0].Reason != "rejected" || v.Deaths[0].Count != 2 {
		t.Errorf("%+v", v.Deaths)
	}
	kept, err := o.desk.KeptPlan(t.Context(), plan.ID)
	if err != nil || kept.Planned != 12 {
		t.Fatal(kept, err)
	}
	if again := o.verify(kept); fmt.Sprint(again) != fmt.Sprint(v) {
		t.Errorf("%+v, want %+v", again, v)
	}
	list, err := o.desk.Replays(t.Context())
	if err != nil || len(list) != 1 || list[0].ID != plan.ID || list[0].Delivered != 3 || list[0].Dead != 2 || list[0].Open != 2 || list[0].Note != "a bad deploy" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := o.desk.KeptPlan(t.Context(), "p-none"); err == nil {
		t.Error("a replay that never was")
	}
}

// TestWhatTheReplayTopicForgotIsUnknown has a worker that noted nothing, and a replay topic whose records are
// gone.
func TestWhatTheReplayTopicForgotIsUnknown(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.click)...)
	plan := o.plan("")
	o.apply(plan)
	if _, err := o.client.Request(t.Context(), deleteRecords("shop.replay", 1, 2)); err != nil {
		t.Fatal(err)
	}
	if v := o.verify(plan); v.Unknown != 2 || v.Unsettled != 4 {
		t.Errorf("%+v", v)
	}
	if _, err := o.client.Request(t.Context(), deleteRecords("shop.dead", 0, 1)); err != nil {
		t.Fatal(err)
	}
	if v := o.verify(plan); v.Unknown != 3 || v.Unsettled != 3 {
		t.Errorf("without a letter: %+v", v)
	}
}

func TestDiscardMarksWhatWasCountedAndNothingElse(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.badPrice)...)
	o.dead(many(3, o.click)...)
	d, err := o.desk.PlanDiscard(t.Context(), DiscardOptions{Filter: o.filter("reason:invalid")})
	if err != nil || d.Count != 6 || len(d.Causes) != 1 || !d.Complete {
		t.Fatalf("%+v, %v", d, err)
	}
	o.dead(many(3, o.badPrice)...) // later ones wait for the next call
	if _, err := o.desk.Discard(t.Context(), d, "jane", ""); err == nil {
		t.Error("without a note")
	}
	done, err := o.desk.Discard(t.Context(), d, "jane", "test orders")
	if err != nil || done != 6 {
		t.Fatal(done, err)
	}
	p := o.plan("", func(p *PlanOptions) { p.Edit = o.edit(mendPrices) })
	if got := p.counts(); got[Discarded] != 6 || got[Pass] != 3 || got[PassAfterEdit] != 3 {
		t.Errorf("%v", got)
	}
	d, err = o.desk.PlanDiscard(t.Context(), DiscardOptions{Filter: o.filter("reason:invalid")})
	if err != nil || d.Count != 3 || d.Already != 6 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestToTheOriginalTopicOnlyOnRequest(t *testing.T) {
	o := newOffice(t)
	o.dead(many(4, o.click)...)
	plan := o.plan("", func(p *PlanOptions) { p.ToOriginal = true })
	if plan.Target != "" {
		t.Error(plan.Target)
	}
	o.apply(plan)
	n := 0
	err := deadletter.Read(t.Context(), o.cluster.ListenAddrs(), "shop", func(r deadletter.Record) {
		n++
		if r.Time.UnixMilli() != o.now.UnixMilli() {
			t.Errorf("the record's time is %v", r.Time)
		}
	})
	if err != nil || n != 4 || len(o.replayed()) != 0 {
		t.Error(n, err)
	}
	other := *o.desk
	other.Topics.Inputs = []string{"shop.replay"}
	p, _, err := other.Plan(t.Context(), PlanOptions{Filter: o.filter(""), Check: o.check(), ToOriginal: true})
	if err != nil || p.counts()[Pass] != 0 {
		t.Errorf("%v, %v", p, err)
	}
}

func TestAReplayYieldsToLiveTraffic(t *testing.T) {
	p := newPacer(1000, 100)
	p.look(Lag{Active: true, Inputs: 900})
	if p.rate != 1000 || p.why != "" || p.hold {
		t.Errorf("%+v", p)
	}
	for lag := int64(2000); lag < 6000; lag += 1000 {
		p.look(Lag{Active: true, Inputs: lag})
	}
	if p.rate != 1000/16.0 || p.why == "" {
		t.Errorf("while the lag grows: %+v", p)
	}
	p.look(Lag{Active: true, Inputs: 4000})
	if p.rate != 1000/16.0 {
		t.Errorf("while it shrinks: %+v", p)
	}
	for range 20 {
		p.look(Lag{Active: true})
	}
	if p.rate != 1000 || p.why != "" {
		t.Errorf("afterwards: %+v", p)
	}
	p.look(Lag{Active: true, Replays: 10_001})
	if !p.hold {
		t.Errorf("%+v", p)
	}
	p.look(Lag{Replays: 10_001, Inputs: 1e6})
	if p.hold || p.rate != 1000 {
		t.Errorf("without a worker nobody is waited for: %+v", p)
	}
	if n := p.batch(); n != 200 {
		t.Error(n)
	}
}
