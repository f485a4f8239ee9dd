package consume

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// stamped produces messages with timestamps, each in a batch of its own.
func (w *world) stamped(topic string, partition int32, times ...time.Time) {
	w.t.Helper()
	cl := w.client()
	defer cl.Close()
	for _, at := range times {
		r := &kgo.Record{Topic: topic, Partition: partition, Value: []byte("v"), Timestamp: at}
		if err := cl.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestLagIsKnownInSecondsAlsoWhilePaused(t *testing.T) {
	inWorld(t, func(w *world) {
		base := time.Now().Add(-time.Hour)
		at := func(seconds int) time.Time { return base.Add(time.Duration(seconds) * time.Second) }
		w.stamped("events", 0, at(0), at(10), at(70))
		r := newRecorder()
		r.policy = func(c *Chunk, i int) {
			if c.Records[i].Offset == 0 {
				c.Settle(i)
			}
		}
		c := w.run(w.config("events"), r)
		only := func() PartitionStatus {
			if s := c.Status(); len(s.Partitions) == 1 {
				return s.Partitions[0]
			}
			return PartitionStatus{}
		}
		r.await(t, "the messages", func() bool { return r.count() == 3 })
		p := only()
		if p.Lag != 2 || p.LagSeconds != 60 || !p.OldestTime.Equal(at(10).Truncate(time.Millisecond)) {
			t.Errorf("lag of %d messages and %g s since %v, want 2 and 60 since %v", p.Lag, p.LagSeconds, p.OldestTime, at(10))
		}
		c.Pause("test")
		w.stamped("events", 0, at(130))
		time.Sleep(3 * lagEvery)
		if p = only(); p.Lag != 3 || p.LagSeconds != 120 {
			t.Errorf("paused: lag of %d messages and %g s, want 3 and 120", p.Lag, p.LagSeconds)
		}
		c.mustStop(t)

		// A worker that never fetched anything knows it too.
		r = newRecorder()
		cfg := w.config("events")
		cfg.StartOffset = Latest
		c2, cfg2 := w.run(cfg, r), cfg
		_ = cfg2
		c2.Pause("from the start")
		w.stamped("events", 0, at(200))
		r.await(t, "the lag", func() bool {
			s := c2.Status()
			return len(s.Partitions) == 1 && s.Partitions[0].LagSeconds == 190 || r.count() > 0
		})
		c = c2
		if p = only(); r.count() == 0 && p.Lag != 4 {
			t.Errorf("lag of %d messages, want 4", p.Lag)
		}
		c2.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}

func TestTheOldestUnsettledMessageIsNamedWithSince(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("m", 6)...)
		r := newRecorder()
		release := make(chan struct{})
		r.policy = func(c *Chunk, i int) {
			c.Tag("mine")
			switch c.Records[i].Offset {
			case 2:
				go func() { <-release; c.Settle(i) }()
			case 4:
			default:
				c.Settle(i)
			}
		}
		cfg := w.config("events")
		cfg.Why = func(_ *Partition, o *Oldest) string { return o.Chunk.Tagged().(string) }
		c := w.run(cfg, r)
		r.await(t, "the messages", func() bool { return r.count() == 6 })
		oldest := func() *OldestStatus { return c.Status().Partitions[0].Oldest }
		first := oldest()
		if first == nil || first.Offset != 2 || first.Why != "mine" {
			t.Fatalf("the oldest is %+v, want offset 2", first)
		}
		time.Sleep(time.Minute)
		if o := oldest(); o.Since != first.Since {
			t.Errorf("the oldest is so since %v, before it was %v", o.Since, first.Since)
		}
		close(release)
		r.await(t, "the next", func() bool { return oldest().Offset == 4 })
		if o := oldest(); !o.Since.After(first.Since.Add(59*time.Second)) || o.Fetched.After(first.Since) {
			t.Errorf("the next is the oldest since %v and was fetched at %v; the first was since %v", o.Since, o.Fetched, first.Since)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}
