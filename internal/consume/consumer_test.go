package consume

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

func TestMessagesArriveInOrderAndTheFrontierIsCommitted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 10)...)
		w.produce("events", 1, numbered("b", 5)...)
		r := newRecorder()
		c := w.run(w.config("events"), r)
		r.await(t, "15 messages", func() bool { return r.count() == 15 })
		r.await(t, "the commit", func() bool { return w.committed("events", 0) == 10 && w.committed("events", 1) == 5 })
		c.mustStop(t)
		next := map[int32]int64{}
		for _, s := range r.all() {
			if s.offset != next[s.partition] {
				t.Errorf("offset %d of partition %d came, want %d", s.offset, s.partition, next[s.partition])
			}
			next[s.partition]++
		}
	}, kfake.SeedTopics(2, "events"))
}

func TestRestartResumesAtTheFrontier(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 10)...)
		r := newRecorder()
		r.policy = func(c *Chunk, i int) {
			if c.Records[i].Offset != 4 { // 4 waits for ever
				c.Settle(i)
			}
		}
		c := w.run(w.config("events"), r)
		r.await(t, "the commit", func() bool { return w.committed("events", 0) == 4 })
		c.mustStop(t)
		if got := w.committed("events", 0); got != 4 {
			t.Fatalf("committed %d, want 4", got)
		}
		r = newRecorder()
		c = w.run(w.config("events"), r)
		r.await(t, "the rest", func() bool { return r.count() == 6 })
		if got := r.all()[0].offset; got != 4 {
			t.Errorf("resumed at %d, want 4", got)
		}
		c.mustStop(t)
		if got := w.committed("events", 0); got != 10 {
			t.Errorf("committed %d after the stop, want 10", got)
		}
	}, kfake.SeedTopics(1, "events"))
}

func TestStopCommitsWhatIsSettledDuringTheDrain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 10)...)
		r := newRecorder()
		var held []*Chunk
		r.policy = func(c *Chunk, i int) {
			if i == 0 {
				held = append(held, c)
			}
		}
		r.onDrain = func(g *Generation, cause error, ctx context.Context) {
			if cause != ErrShutdown {
				t.Errorf("cause %v, want %v", cause, ErrShutdown)
			}
			for _, c := range held {
				c.SettleAll()
			}
		}
		c := w.run(w.config("events"), r)
		r.await(t, "10 messages", func() bool { return r.count() == 10 })
		c.mustStop(t)
		if got := w.committed("events", 0); got != 10 {
			t.Errorf("committed %d, want 10", got)
		}
	}, kfake.SeedTopics(1, "events"))
}
