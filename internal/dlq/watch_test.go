package dlq

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
)

// look makes a look that must work, and compares it with that of a watch that begins anew.
func look(t *testing.T, d *Desk, w *Watch) *Watched {
	t.Helper()
	found, err := w.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := NewWatch(d, w.o).Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fresh.Took, fresh.At = found.Took, found.At
	for i := range min(len(fresh.Top), len(found.Top)) {
		fresh.Top[i].First = found.Top[i].First // the topic may have forgotten the letter, the watch has not
	}
	if got, want := fmt.Sprintf("%+v", *found), fmt.Sprintf("%+v", *fresh); got != want {
		t.Errorf("what was read bit by bit\n%s\nwhat was read whole\n%s", got, want)
	}
	sum := int64(0)
	for _, n := range found.OpenByReason {
		sum += n
	}
	if found.Total != found.Open+found.Replayed+found.Discarded+found.Parked || sum != found.Open {
		t.Errorf("it does not add up: %+v", found)
	}
	return found
}

// counts are the numbers of a look that most tests are about.
type counts4 struct{ open, replayed, discarded, parked, returned int64 }

func (n *Watched) four() counts4 {
	return counts4{n.Open, n.Replayed, n.Discarded, n.Parked, n.Returned}
}

func TestAWatchFollowsLettersFromOpenToTheirEnd(t *testing.T) {
	o := newOffice(t)
	w := NewWatch(o.desk, WatchOptions{MaxAge: 95 * time.Hour})
	if n := look(t, o.desk, w); n.Total != 0 || n.Last.ID != "" || n.Causes != 0 {
		t.Errorf("of an empty topic: %+v", n)
	}
	o.dead(append(many(6, o.click), many(3, o.badPrice)...)...)
	n := look(t, o.desk, w)
	if n.four() != (counts4{open: 9}) || n.OpenByReason["rejected"] != 6 || n.OpenByReason["invalid"] != 3 || n.Causes != 2 || n.NewCauses != 2 || n.NewLargest != 6 {
		t.Errorf("after the deaths: %+v", n)
	}
	if n.Within24h != 0 || n.Unreplayable != 0 {
		t.Errorf("young events have deadlines far away: %+v", n)
	}

	plan := o.plan("reason:rejected")
	o.apply(plan)
	n = look(t, o.desk, w)
	if n.four() != (counts4{open: 3, replayed: 6}) || n.Replays != (ReplayOutcomes{Open: 6}) || n.Last.ID != plan.ID || n.Last.Planned != 6 || n.Last.Open != 6 {
		t.Errorf("while the replay runs: %+v", n)
	}
	o.work(func(r deadletter.Record) string {
		return []string{deadletter.OutcomeDelivered, deadletter.OutcomeDead, deadletter.OutcomeDuplicate}[r.Partition]
	})
	n = look(t, o.desk, w)
	if n.four() != (counts4{open: 5, replayed: 6, returned: 2}) || n.Total != 11 || n.Last.ReplayOutcomes != (ReplayOutcomes{Delivered: 2, Duplicate: 2, Dead: 2}) || n.Last.ReplayOutcomes != n.Replays {
		t.Errorf("after the replay: %+v", n)
	}
	if n.ReturnedCauses != 1 || len(n.Top) != 2 || n.Top[0].Returned+n.Top[1].Returned != 2 {
		t.Errorf("a cause is back: %+v", n)
	}

	discarding, err := o.desk.PlanDiscard(t.Context(), DiscardOptions{Filter: o.filter("reason:invalid")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.desk.Discard(t.Context(), discarding, "jane", "not worth it"); err != nil {
		t.Fatal(err)
	}
	n = look(t, o.desk, w)
	if n.four() != (counts4{open: 2, replayed: 6, discarded: 3, returned: 2}) || n.OpenByReason["invalid"] != 0 {
		t.Errorf("after discarding: %+v", n)
	}

	o.now = o.now.Add(time.Second)
	o.apply(o.plan("", func(p *PlanOptions) { p.MaxReplays = 1 }))
	n = look(t, o.desk, w)
	if n.Last.ID != plan.ID {
		t.Errorf("a plan of nothing is the newest replay: %+v", n.Last)
	}
	if n.four() != (counts4{replayed: 6, discarded: 3, parked: 2}) || n.ParkedLately != 2 || n.Replays.Dead != 2 || n.Causes != 0 || n.ReturnedCauses != 0 {
		t.Errorf("after parking: %+v", n)
	}
}

// What a watch makes of letters and states is what the other commands make of them.
func TestAWatchJudgesStatesAsTheDeskDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := NewWatch(&Desk{}, WatchOptions{})
		replays := rapid.SampledFrom([]string{"", "p-1", "p-2"})
		states := new(States)
		for offset := range int64(4) {
			if rapid.Bool().Draw(t, "noted") {
				s := deadletter.State{Status: rapid.SampledFrom(LetterStates[:4]).Draw(t, "status"), ReplayID: replays.Draw(t, "replay"),
					Outcome: rapid.SampledFrom(replayOutcomes).Draw(t, "outcome"), At: time.UnixMilli(1)}
				states.note(&noted{at: Coordinates{"shop", 0, offset}, value: s.Encode(), state: s})
				w.note(&consume.Record{Key: []byte(deadletter.StateKey("shop", 0, offset)), Value: s.Encode()})
			}
		}
		l := purchase(0, 0)
		l.Topic, l.Offset = "shop", rapid.Int64Range(0, 3).Draw(t, "offset")
		if id := replays.Draw(t, "letter's replay"); id != "" {
			l.Headers = append(l.Headers, deadletter.Header{Key: deadletter.HeaderReplayID, Value: []byte(id)})
		}
		letter := LetterOf(0, &consume.Record{Headers: deadletter.Encode(l, "g").Headers})
		s, current := StateOf(letter, states)
		if !current && s.Status != deadletter.StateDiscarded { // as [Desk.ByState]
			s.Status = deadletter.StateReplayed
		}
		got := w.state(&watchedLetter{message: w.message(letter.Source()), replay: w.replay(letter.ReplayID())})
		if LetterStates[got] != s.Status {
			t.Fatalf("%s, the desk says %s", LetterStates[got], s.Status)
		}
	})
}

// aged is a letter of an event and a failure that are that old at noon.
func aged(n int, event, failed time.Duration) *deadletter.Letter {
	l := purchase(int32(n%2), n)
	noon := morning.Add(2 * time.Hour)
	l.Failed, l.FirstFailed = noon.Add(-failed), noon.Add(-failed)
	l.Timestamp = noon.Add(-event).UnixMilli()
	l.Value = fmt.Appendf(nil, `{"timestamp":%d}`, l.Timestamp)
	return l
}

func TestAWatchKnowsDeadlinesAndWhatIsNew(t *testing.T) {
	r := newRig(t, 2)
	now := morning.Add(2 * time.Hour)
	w := NewWatch(r.desk, WatchOptions{MaxAge: 95 * time.Hour, Now: func() time.Time { return now }})
	returned := aged(5, time.Hour, 30*time.Minute)
	returned.Refusal.Rule = "price.positive"
	returned.Headers = append(returned.Headers, deadletter.Header{Key: deadletter.HeaderReplayID, Value: []byte("p-1")}, deadletter.Header{Key: deadletter.HeaderReplayCount, Value: []byte("1")})
	unknown := aged(6, time.Hour, 2*time.Hour)
	unknown.Refusal.Rule = "items.some"
	r.put(aged(0, 96*time.Hour, 3*time.Hour), aged(1, 92*time.Hour, 3*time.Hour), aged(2, 80*time.Hour, 3*time.Hour), aged(3, 70*time.Hour, time.Minute), returned, unknown)
	n := look(t, r.desk, w)
	if n.Unreplayable != 1 || n.Within4h != 1 || n.Within24h != 2 || n.Open != 6 {
		t.Errorf("%+v", n)
	}
	if n.Causes != 3 || n.NewCauses != 1 || n.NewLargest != 0 || n.ReturnedCauses != 1 {
		t.Errorf("the cause of half an hour ago is new and back, nothing came of it lately: %+v", n)
	}
	now = now.Add(2 * time.Hour)
	if n := look(t, r.desk, w); n.Unreplayable != 1 || n.Within4h != 1 || n.Within24h != 3 || n.NewCauses != 0 || n.ReturnedCauses != 0 || n.Returned != 1 {
		t.Errorf("two hours later: %+v", n)
	}
	now = now.Add(90 * time.Minute)
	if n := look(t, r.desk, w); n.Unreplayable != 2 || n.Within4h != 0 || n.Within24h != 2 {
		t.Errorf("and an hour and a half: %+v", n)
	}
	// kfake keeps records for seven days: the topic's end comes before the event's.
	w = NewWatch(r.desk, WatchOptions{Now: func() time.Time { return morning.Add(6*24*time.Hour + 21*time.Hour) }})
	if n := look(t, r.desk, w); n.Within24h != 6 || n.Within4h != 4 {
		t.Errorf("by the retention alone: %+v", n)
	}
}

func TestAWatchLeavesOutTheOldestOfTooMany(t *testing.T) {
	r := newRig(t, 2)
	for n := range 30 {
		r.put(purchase(0, n))
	}
	r.put(purchase(1, 0), malformed(1, 1))
	w := NewWatch(r.desk, WatchOptions{MaxLetters: 16})
	n := look(t, r.desk, w)
	if n.LeftOut != 16 || n.Total != 16 || n.OpenByReason["malformed"] != 1 {
		t.Errorf("%+v", n)
	}
	r.put(malformed(1, 2), malformed(1, 3))
	n, err := w.Look(t.Context())
	if err != nil || n.Total+n.LeftOut != 34 || n.Total > 16 || n.OpenByReason["malformed"] < 1 {
		t.Errorf("%+v, %v", n, err)
	}
}

func TestAWatchForgetsWhatTheTopicForgot(t *testing.T) {
	r := newRig(t, 1)
	for n := range 10 {
		r.put(purchase(0, n))
	}
	w := NewWatch(r.desk, WatchOptions{})
	look(t, r.desk, w)
	if _, err := r.client.Request(t.Context(), deleteRecords(deadTopic, 0, 7)); err != nil {
		t.Fatal(err)
	}
	if n := look(t, r.desk, w); n.Total != 3 {
		t.Errorf("%+v", n)
	}

	remake(t, r.client, deadTopic)
	r.put(malformed(0, 1))
	if n := look(t, r.desk, w); n.Total != 1 || n.OpenByReason["malformed"] != 1 {
		t.Errorf("of the topic that was made anew: %+v", n)
	}
}

// A topic that was made anew may be longer by now than what was read of the old one.
func TestAWatchKnowsATopicThatWasMadeAnewByItsPartitionsAndItsStart(t *testing.T) {
	o := newOffice(t)
	o.dead(many(9, o.click)...)
	w := NewWatch(o.desk, WatchOptions{})
	if n := look(t, o.desk, w); n.Total != 9 {
		t.Fatalf("%+v", n)
	}
	remake(t, o.client, "shop.dead")
	for range 5 {
		o.raw("reason", "invalid")
	}
	if n := look(t, o.desk, w); n.Total != 5 {
		t.Errorf("with fewer partitions: %+v", n)
	}
	if _, err := o.client.Request(t.Context(), deleteRecords("shop.dead", 0, 4)); err != nil {
		t.Fatal(err)
	}
	if n := look(t, o.desk, w); n.Total != 1 {
		t.Errorf("after retention: %+v", n)
	}
	remake(t, o.client, "shop.dead")
	for range 6 {
		o.raw("reason", "invalid")
	}
	if n := look(t, o.desk, w); n.Total != 6 {
		t.Errorf("with an earlier start: %+v", n)
	}
}

func TestAWatchForgetsTheStatesOfATopicThatIsGone(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.click)...)
	o.apply(o.plan(""))
	w := NewWatch(o.desk, WatchOptions{})
	if n := look(t, o.desk, w); n.Replayed != 6 || n.Last.ID == "" {
		t.Fatalf("%+v", n)
	}
	remake(t, o.client, "shop.dead.state") // one partition
	for i := range 20 {                    // longer than any that was read
		o.putState("elsewhere", 0, int64(i), deadletter.State{Status: deadletter.StateDiscarded, At: time.UnixMilli(1)})
	}
	if n := look(t, o.desk, w); n.Open != 6 || n.Last.ID != "" {
		t.Errorf("of the topic that was made anew: %+v", n)
	}
	o.putState("shop", 0, 0, deadletter.State{Status: deadletter.StateDiscarded, At: time.UnixMilli(1)})
	if n := look(t, o.desk, w); n.Discarded != 1 {
		t.Errorf("%+v", n)
	}
	remove(t, o.client, "shop.dead.state")
	if n := look(t, o.desk, w); n.Open != 6 || n.Discarded != 0 {
		t.Errorf("of the topic that is gone: %+v", n)
	}
}

func TestNoTimeOfALetterIsTooOddForTheWatch(t *testing.T) {
	for _, failed := range []string{"9999-12-31T23:59:59-10:00", "0000-01-01T00:00:00+10:00", "not a time"} {
		o := newOffice(t)
		o.raw("reason", "invalid", "cause", "c1-1", "failed-at", failed)
		n := look(t, o.desk, NewWatch(o.desk, WatchOptions{MaxAge: time.Hour}))
		if text, err := json.Marshal(n); err != nil || n.Open != 1 || len(n.Top) != 1 {
			t.Errorf("%s: %s, %v", failed, text, err)
		}
	}
	for _, written := range []int64{math.MinInt64, math.MaxInt64} {
		w := NewWatch(&Desk{}, WatchOptions{})
		w.letters[0] = &watchedPartition{}
		if err := w.take(LetterOf(0, &consume.Record{Time: written})); err != nil {
			t.Fatal(err)
		}
		n := w.count(time.Hour)
		if text, err := json.Marshal(n); err != nil || n.Open != 1 || (n.Unreplayable == 1) != (written < 0) {
			t.Errorf("%d: %s, %v", written, text, err)
		}
	}
}

// remove deletes a topic.
func remove(t *testing.T, client *kgo.Client, topic string) {
	t.Helper()
	gone := kmsg.NewPtrDeleteTopicsRequest()
	gone.TopicNames = []string{topic}
	one := kmsg.NewDeleteTopicsRequestTopic()
	one.Topic = &topic
	gone.Topics = append(gone.Topics, one)
	if _, err := client.Request(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	client.PurgeTopicsFromClient(topic)
}

// remake deletes a topic and makes it again, with one partition.
func remake(t *testing.T, client *kgo.Client, topic string) {
	t.Helper()
	remove(t, client, topic)
	made := kmsg.NewPtrCreateTopicsRequest()
	again := kmsg.NewCreateTopicsRequestTopic()
	again.Topic, again.NumPartitions, again.ReplicationFactor = topic, 1, 1
	made.Topics = append(made.Topics, again)
	if _, err := client.Request(t.Context(), made); err != nil {
		t.Fatal(err)
	}
}

func TestALookThatFailedIsMadeUpForByTheNext(t *testing.T) {
	r := newRig(t, 3)
	for n := range 9 {
		r.put(purchase(int32(n%3), n))
	}
	w := NewWatch(r.desk, WatchOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Look(ctx); err == nil {
		t.Fatal("a look without a broker found something")
	}
	// One that failed half-way had read some letters already.
	taken := false
	_, err := r.desk.Scan(t.Context(), r.snapshot(new(Filter)), new(Filter), ScanOptions{Partitions: 1}, func(l *Letter) error {
		if taken {
			return &Stop{Why: "half-way"}
		}
		w.letters[l.Partition] = &watchedPartition{}
		taken = true
		return w.take(l)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := look(t, r.desk, w); n.Total != 9 {
		t.Errorf("%+v", n)
	}
}

func TestAWatchReadsEverythingAnewOnceADay(t *testing.T) {
	r := newRig(t, 1)
	r.put(purchase(0, 1))
	now := morning
	w := NewWatch(r.desk, WatchOptions{Now: func() time.Time { return now }})
	look(t, r.desk, w)
	w.letters[0].letters = nil // what went wrong
	if n, err := w.Look(t.Context()); err != nil || n.Total != 0 {
		t.Fatal(n, err)
	}
	now = now.Add(watchWhole)
	if n := look(t, r.desk, w); n.Total != 1 {
		t.Errorf("%+v", n)
	}
}

func TestReasonsThatAreNotKnownAreOther(t *testing.T) {
	w := NewWatch(&Desk{}, WatchOptions{})
	w.letters[0] = &watchedPartition{}
	m := deadletter.Encode(purchase(0, 1), "g")
	for i := range m.Headers {
		if m.Headers[i].Key == deadletter.HeaderReason {
			m.Headers[i].Value = []byte("of-tomorrow")
		}
	}
	if err := w.take(LetterOf(0, &consume.Record{Headers: m.Headers})); err != nil {
		t.Fatal(err)
	}
	n := w.count(0)
	if n.OpenByReason[otherReason] != 1 || len(n.OpenByReason) != len(Reasons())+1 {
		t.Errorf("%v", n.OpenByReason)
	}
	for _, name := range slices.Concat(Reasons(), []string{otherReason}) {
		if _, ok := n.OpenByReason[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}
