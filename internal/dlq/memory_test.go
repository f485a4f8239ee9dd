//go:build unix

package dlq

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"eventworker/internal/check"
	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
)

// inUse is the heap that is in use, in bytes.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// bytesALetter is how much fill leaves in use for each of n letters.
func bytesALetter(n int, fill func() (keep any)) float64 {
	before := inUse()
	keep := fill()
	after := inUse()
	runtime.KeepAlive(keep)
	return float64(after-before) / float64(n)
}

var memoryDesk = &Desk{Group: "g", Topics: Topics{DeadLetter: "shop.dead", Replay: "shop.replay", Inputs: []string{"shop"}}}

// sourceOf is the place of the n-th message: twelve partitions in which every seventh message is dead.
func sourceOf(n int) Coordinates { return Coordinates{"shop", int32(n % 12), int64(n/12) * 7} }

// deadRecord is the n-th dead letter of a click that the API refused, and may be replayed.
func deadRecord(n int, replay string) *consume.Record {
	c := sourceOf(n)
	l := &deadletter.Letter{Topic: c.Topic, Partition: c.Partition, Offset: c.Offset, Timestamp: time.Now().UnixMilli(), Type: "recommendation.clicked", HTTPStatus: 422, Attempts: 1,
		Value:   fmt.Appendf(nil, `{"type":"recommendation.clicked","userToken":"user-%d","timestamp":%d,"objectID":"sku-%d","index":"products"}`, n, time.Now().UnixMilli(), n),
		Refusal: event.Refusal{Reason: event.Rejected, Stage: event.StageDeliver, Message: "refused"}}
	if replay != "" {
		l.Headers = []deadletter.Header{{Key: deadletter.HeaderReplayID, Value: []byte(replay)}}
	}
	m := deadletter.Encode(l, "g")
	return &consume.Record{Offset: int64(n/12) * 2, Time: time.Now().UnixMilli(), Key: m.Key, Value: m.Value, Headers: m.Headers}
}

// The most that commands keep in mind, each for n letters of which no two are neighbours.
func statesInMind(n int) any {
	s := memoryDesk.newStates("")
	for i := range n {
		state := deadletter.Settled(fmt.Sprintf("p-%08d", i%20), deadletter.OutcomeDelivered, time.Now())
		s.note(&noted{at: sourceOf(i), value: []byte("{}"), state: state})
	}
	return s
}

func planInMind(tb testing.TB, n int) any {
	o := &PlanOptions{Max: int64(n), Check: check.Options{AnyApplication: true, Now: time.Now()}}
	w := newPlanner(memoryDesk, &Plan{Group: "g", MaxReplays: 3}, o, nil)
	for i := range n {
		if err := w.take(tb.Context(), LetterOf(int32(i%12), deadRecord(i, ""))); err != nil {
			tb.Fatal(err)
		}
	}
	if w.planned != int64(n) {
		tb.Fatalf("%d letters are planned: %+v", w.planned, w.list)
	}
	return w
}

func verificationInMind(n int) any {
	f := newFollower(memoryDesk, &Plan{ID: "p-00000001"}, nil)
	for i := range n {
		c := sourceOf(i)
		f.follow(c, "c1-9f2ab01c")
		f.held.land(c, target{"shop.replay", int(c.Partition)}, int64(i))
		if i%3 == 0 {
			f.letter(c.Partition, deadRecord(i, f.p.ID))
		}
		f.state(0, &consume.Record{Key: []byte(stateKey(c)), Value: deadletter.Settled(f.p.ID, deadletter.OutcomeDelivered, time.Now()).Encode()})
	}
	if v := f.verdict(); v.Planned != int64(n) || !v.AllGood() {
		panic(fmt.Sprintf("%+v", v))
	}
	return f
}

// A million letters have to fit into the memory of a small Job: the chart gives it 256 MiB.
func TestAMillionLettersFitIntoASmallJob(t *testing.T) {
	const n = 50_000
	for name, c := range map[string]struct {
		most float64
		fill func(int) any
	}{
		"states":   {45, statesInMind},
		"planning": {85, func(n int) any { return planInMind(t, n) }},
		"verify":   {110, verificationInMind},
	} {
		got := bytesALetter(n, func() any { return c.fill(n) })
		t.Logf("%s: %.0f bytes a letter", name, got)
		if got > c.most {
			t.Errorf("%s: %.0f bytes a letter, at most %.0f", name, got, c.most)
		}
	}
}

// BenchmarkMemory is what a million letters take.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct {
		name string
		fill func(int) any
	}{{"states", statesInMind}, {"plan", func(n int) any { return planInMind(b, n) }}, {"verify", verificationInMind}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(bytesALetter(*million, func() any { return c.fill(*million) }), "B/letter")
			}
		})
	}
}
