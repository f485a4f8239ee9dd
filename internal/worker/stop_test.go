package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/config"
	"eventworker/internal/insightsfake"
	"eventworker/internal/querystore"
)

func slow(delay time.Duration) insightsfake.Fault {
	return insightsfake.Fault{Kind: insightsfake.Latency, Delay: insightsfake.Duration(delay)}
}

func TestAStopUnderLoadCommitsWhatIsSettledAndTheNextWorkerGoesOn(t *testing.T) {
	const n = 400
	w := newWorld(t)
	w.faults(slow(100 * time.Millisecond))
	w.send(clicks("u", "a", n)...)
	cfg := w.config(func(c *config.Config) {
		c.Batch.MaxEvents, c.Delivery.MaxInFlight = 10, 1 // one after the other: what is delivered is below the frontier
		c.DrainTimeout = 250 * time.Millisecond
	})
	run := w.start(cfg)
	run.settlesSome(10)
	run.stop()
	first := run.Ledger().Snapshot()
	if first.Released == 0 || first.Delivered == 0 || first.Received != first.Delivered+first.Released {
		t.Fatalf("the stop did not fall into the middle: %+v", first)
	}
	if c := w.committed(0); c != first.Delivered {
		t.Errorf("committed %d, delivered %d", c, first.Delivered)
	}

	w.faults()
	run = w.start(cfg)
	s := run.settles(n - first.Delivered)
	run.stop()
	if s.Delivered != n-first.Delivered {
		t.Errorf("%+v", s)
	}
	w.onceBut(10, numbered("a", n)...) // the request on the wire when the time was over may have been taken
}

func TestAStopWaitsForRequestsOnTheWireNoLongerThanItMay(t *testing.T) {
	w := newWorld(t)
	w.faults(slow(time.Hour))
	w.send(clicks("u", "a", 50)...)
	cfg := w.config(func(c *config.Config) { c.DrainTimeout = 300 * time.Millisecond })
	run := w.start(cfg)
	run.await("a request on the wire", func() bool { return run.Status().Applications[0].InFlight > 0 })
	began := time.Now()
	run.stop()
	if took := time.Since(began); took < 300*time.Millisecond || took > 3*time.Second {
		t.Errorf("stopped after %v, drain_timeout is 300ms", took)
	}
	if s := run.Ledger().Snapshot(); s.Released != s.Received || s.Received == 0 {
		t.Errorf("%+v", s)
	}
	if c := w.committed(0); c > 0 {
		t.Errorf("committed %d although nothing is settled", c)
	}

	w.faults()
	run = w.start(cfg)
	run.settles(50)
	run.stop()
	w.onlyOnce(numbered("a", 50)...)
}

func TestAStopWithDeadLettersThatWaitGivesTheirMessagesBack(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.topics = []string{topic} })
	w.send(record("u", "bad"), record("u", click("u", "a")))
	cfg := w.config(func(c *config.Config) { c.DrainTimeout = 200 * time.Millisecond })
	run := w.start(cfg)
	run.settlesSome(1)
	began := time.Now()
	run.stop()
	if took := time.Since(began); took > lettersTimeout {
		t.Errorf("stopped after %v: letters of messages that were given back are not to be waited for", took)
	}
	if s := run.Ledger().Snapshot(); s.Released != 1 || s.Delivered != 1 {
		t.Errorf("%+v", s)
	}
	w.create(letters, 1)
	run = w.start(cfg)
	run.settles(2)
	run.stop()
	if n := len(w.letters()); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

func TestAStopBeforeAnythingRanAndWhileWaitingIsClean(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.brokerAway = true })
	w.brokers = []string{freeAddress(t)}
	run := w.start(w.config())
	run.unready("kafka")
	run.stop()
	run = w.start(w.config())
	run.stop()
}

// TestWhatSettledAtTheLastMomentIsNotCountedAsReleased: a stop in the middle of absorbing.
func TestWhatSettledAtTheLastMomentIsNotCountedAsReleased(t *testing.T) {
	const n = 20_000
	w := newWorld(t)
	var records []*kgo.Record
	for range n {
		records = append(records, &kgo.Record{Topic: topic})
	}
	w.send(records...)
	run := w.start(w.config(func(c *config.Config) { c.Kafka.MaxFetchBytes = 64 << 10 }))
	run.await("the first of them", func() bool { return run.Ledger().Snapshot().Received > 0 })
	run.stop()
	s := run.Ledger().Snapshot()
	if c := max(0, w.committed(0)); c != s.TotalAbsorbed() {
		t.Errorf("committed %d, absorbed %d, released %d", c, s.TotalAbsorbed(), s.Released)
	}
}

func TestStatusAndMetricsCanBeReadAfterTheEnd(t *testing.T) {
	w := newWorld(t)
	w.send(clicks("u", "a", 1)...)
	run := w.start(w.config())
	run.settles(1)
	run.stop()
	if s := run.Status(); s.Messages.Delivered != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := run.metrics.Registry.Gather(); err != nil {
		t.Error(err)
	}
	run.checkHealth()
	if ready, _ := run.health.Ready(); ready {
		t.Error("ready after its end")
	}
}

func TestASecondWorkerOnTheSameFolderIsRefusedAndToldWhoHasIt(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	run := w.start(cfg)
	_, err := New(cfg, Options{})
	var locked *querystore.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("a second worker gets %v", err)
	}
	for _, word := range []string{fmt.Sprintf("process %d", os.Getpid()), cfg.Store.Path, "store.path"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not name %s", err, word)
		}
	}
	run.stop()
	again := w.start(cfg)
	again.ready()
	again.stop()
}

func TestARebalanceLosesNothingAndRepeatsNothingThatWasSettled(t *testing.T) {
	const users, each = 8, 60
	w := newWorld(t, func(s *setting) { s.partitions = 4 })
	w.faults(slow(5 * time.Millisecond))
	config := func(name string) *config.Config {
		return w.config(func(c *config.Config) {
			c.Store.Path = filepath.Join(w.dir, name)
			c.Batch.MaxEvents, c.Delivery.MaxInFlight = 20, 1
			c.Kafka.SessionTimeout = time.Second // heartbeats every 250 ms tell of the rebalance
		})
	}
	var want []string
	sendSome := func(round int) {
		for u := range users {
			user := fmt.Sprintf("user-%d", u)
			records := clicks(user, fmt.Sprintf("%s-%d", user, round), each)
			for _, r := range records {
				r.Partition = int32(u % 4)
			}
			w.send(records...)
			want = append(want, numbered(fmt.Sprintf("%s-%d", user, round), each)...)
		}
	}
	first := w.start(config("first"))
	sendSome(0)
	first.settlesSome(users * each / 4)
	second := w.start(config("second"))
	both := func(n int) func() bool {
		return func() bool {
			return len(first.assigned()) == n && len(first.assigned())+len(second.assigned()) == 4
		}
	}
	first.await("the partitions are shared", both(2))
	sendSome(1)
	second.settlesSome(20)
	second.stop()
	sendSome(2)
	first.await("all partitions are back", func() bool { return len(first.assigned()) == 4 })
	first.await("all is delivered", func() bool { return len(w.accepted()) == len(want) && first.Ledger().Snapshot().InFlight == 0 })
	first.stop()
	w.onceBut(2*20, want...) // a request on the wire at each of the two handovers
	if n := second.Ledger().Snapshot().Delivered; n == 0 {
		t.Error("the second worker delivered nothing")
	}
	if len(w.letters()) != 0 {
		t.Error("there are dead letters")
	}
}

// assigned are the partitions of the input topic that the worker has.
func (r *running) assigned() (list []int32) {
	for _, p := range r.Status().Kafka.Partitions {
		if p.Topic == topic {
			list = append(list, p.Partition)
		}
	}
	return list
}

func TestLargeMessagesStayWithinTheBudget(t *testing.T) {
	const n, size, budget = 40, 1 << 20, 8 << 20
	w := newWorld(t)
	w.faults(slow(5 * time.Millisecond))
	pad := strings.Repeat("x", size)
	for i := range n { // one batch each
		w.send(record("u", strings.Replace(click("u", fmt.Sprintf("a-%d", i)), "{", `{"unknown":"`+pad+`",`, 1)))
	}
	run := w.start(w.config(func(c *config.Config) { c.Memory.Budget = budget; c.Delivery.MaxInFlight = 1; c.Batch.MaxEvents = 1 }))
	peak := int64(0)
	run.await("all is delivered", func() bool {
		peak = max(peak, run.Status().Kafka.BudgetPeak)
		return run.Ledger().Snapshot().Delivered == n
	})
	// A partition that holds nothing may always take one batch, whatever the budget says.
	if peak == 0 || peak > budget+2*size {
		t.Errorf("%d bytes were held, the budget is %d", peak, budget)
	}
	run.await("all is given back", func() bool {
		held := int64(0)
		for _, p := range run.Status().Kafka.Partitions {
			held += p.HeldBytes
		}
		return held == 0
	})
	run.stop()
	w.onlyOnce(numbered("a", n)...)
}
