package real

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"eventworker/internal/insightsfake"
	"eventworker/internal/realtest"
	"eventworker/internal/storefront"
)

// arrivals remembers when events arrived at the API.
type arrivals struct {
	mu    sync.Mutex
	times []time.Time
}

func (a *arrivals) note() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times = append(a.times, time.Now())
}

// longest is the longest time without an event since some moment.
func (a *arrivals) longest(since time.Time) (gap time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := since
	for _, at := range a.times {
		if at.After(since) {
			gap = max(gap, at.Sub(last))
			last = at
		}
	}
	return max(gap, time.Since(last))
}

// TestHowLongARebalanceStopsDelivery measures, under a steady stream of messages, the longest time in
// which nothing at all arrived at the API around each change of the group. The figures that it prints
// stand in docs/operations-kafka.md. What it proves is that nothing is lost.
func TestHowLongARebalanceStopsDelivery(t *testing.T) {
	s := newSwarm(t, realtest.Kafka(t))
	const rate, window = 2000, 12 * time.Second // messages a second; the time in which a change is watched
	n := uint64(rate * 70)
	g, err := storefront.NewGenerator(storefront.Config{Seed: 3, Messages: n, Topic: s.topic, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	s.rules = g.Config().Rules
	truth, err := storefront.NewTruthOf(g.Config())
	if err != nil {
		t.Fatal(err)
	}
	s.fault(insightsfake.Fault{Kind: insightsfake.Latency, Delay: insightsfake.Duration(20 * time.Millisecond), For: insightsfake.Duration(time.Hour)})
	var seen arrivals
	s.accepted = seen.note
	s.settings = append(s.base(), "join.wait=20m", "batch.linger=50ms")
	for k := range s.workers {
		s.launch(k)
	}
	steady := make(chan struct{})
	go func() {
		defer close(steady)
		for tick := time.NewTicker(100 * time.Millisecond); s.cast.Load() < n; <-tick.C {
			s.produce(g, truth, rate/10)
			if t.Context().Err() != nil {
				return
			}
		}
	}()
	s.awaitAll("a steady stream", func() bool { return s.api.Stats().Events.Distinct > 2*rate })
	s.sleep(window / 2)
	t.Logf("nothing happens: at most %v without an event", seen.longest(time.Now().Add(-window/2)).Round(time.Millisecond))
	watch := func(what string, do func()) {
		began := time.Now()
		do()
		s.sleep(window)
		t.Logf("%s: at most %v without an event", what, seen.longest(began).Round(time.Millisecond))
	}
	watch("a worker leaves (SIGTERM)", func() { s.workers[0].stop() })
	watch("a worker joins", func() { s.launch(0) })
	watch("a worker is killed (SIGKILL, session time-out 6s) and started again", func() { s.workers[1].kill(); s.launch(1) })
	watch("a worker stops answering (SIGSTOP, session time-out 6s)", func() { s.signal(s.workers[2], syscall.SIGSTOP) })
	s.signal(s.workers[2], syscall.SIGCONT)
	<-steady
	s.finish(truth)
}
