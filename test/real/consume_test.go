package real

import (
	"testing"
	"time"

	"eventworker/internal/demo"
	"eventworker/internal/insightsfake"
	"eventworker/internal/realtest"
	"eventworker/internal/storefront"
)

// TestWhatIsSettledBehindAStuckBatchIsNotSentAgain lets one request hang, everything else flow, and
// kills the worker: with the ranges in the commits' metadata a tenth, at most, of what is sent again
// without them.
func TestWhatIsSettledBehindAStuckBatchIsNotSentAgain(t *testing.T) {
	without := duplicatesBehindAStuckBatch(t, "-X", "eventworker/internal/worker.withoutRanges=yes")
	with := duplicatesBehindAStuckBatch(t)
	t.Logf("sent again: %d events without the ranges, %d with them", without, with)
	if without < 1000 {
		t.Errorf("only %d events were sent again without the ranges: the batch was not stuck", without)
	}
	if with*10 > without {
		t.Errorf("%d events were sent again with the ranges, more than a tenth of the %d without", with, without)
	}
}

// duplicatesBehindAStuckBatch is how many events a worker that was killed sends again.
func duplicatesBehindAStuckBatch(t *testing.T, link ...string) int64 {
	s := newShopAt(t, realtest.Kafka(t), link...)
	s.settings = []string{"delivery.timeout=5m"}
	n := messages(t) / 2
	g, err := storefront.NewGenerator(storefront.Config{Seed: 5, Messages: n, Topic: s.topic, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	s.rules = g.Config().Rules
	truth, err := storefront.NewTruthOf(g.Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Produce(t.Context(), []string{s.broker}, g, func(m *storefront.Message) {
		truth.Add(m)
		s.log[m.Partition] = append(s.log[m.Partition], uint32(m.Seq))
	}, func() {}); err != nil {
		t.Fatal(err)
	}
	s.fault(insightsfake.Fault{Kind: insightsfake.Latency, AfterRequests: 2, Count: 1, Delay: insightsfake.Duration(4 * time.Minute)})
	worker := s.startIn("queries")
	last, since := int64(-1), time.Now()
	s.await(worker, "everything but one batch", 5*time.Minute, func() bool {
		if now := s.api.Stats().Events.Accepted; now != last {
			last, since = now, time.Now()
		}
		return last > int64(n)/2 && time.Since(since) > 3*time.Second+5*time.Second // join.wait at the log's end
	})
	worker.kill()
	s.kills = append(s.kills, s.committed())
	s.fault()
	worker = s.startIn("queries")
	s.awaitCommitted(worker)
	worker.stop()
	truth.Seal()
	s.compare(truth)
	return s.api.Stats().Events.Duplicates
}

// fault sets what goes wrong at the API beside the objects that it always refuses.
func (s *shop) fault(more ...insightsfake.Fault) {
	s.t.Helper()
	refuse := insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: storefront.DefaultRules().RefusedObjects, For: insightsfake.Duration(24 * time.Hour)}
	if err := s.api.SetFaults(insightsfake.Faults{Faults: append(more, refuse)}); err != nil {
		s.t.Fatal(err)
	}
}

// awaitCommitted waits until the whole log is committed.
func (s *shop) awaitCommitted(p *process) {
	s.t.Helper()
	s.await(p, "all messages committed", 10*time.Minute, func() bool {
		for p, offset := range s.committed() {
			if offset < int64(len(s.log[p])) {
				return false
			}
		}
		return true
	})
}
