package worker

import (
	"path/filepath"
	"testing"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/insightsfake"
)

// TestACopyIsKnownAfterItsFirstWasDeliveredElsewhere: a worker that had a message in flight when its task
// went to another worker gets the task back. The other one delivered the message, and left its mark in
// its own store.
func TestACopyIsKnownAfterItsFirstWasDeliveredElsewhere(t *testing.T) {
	w := newWorld(t)
	at := func(folder string) func(*config.Config) {
		return func(c *config.Config) {
			c.Store.Path = filepath.Join(w.dir, folder)
			c.DrainTimeout = 100 * time.Millisecond
		}
	}
	w.faults(insightsfake.Fault{Kind: insightsfake.Latency, Delay: insightsfake.Duration(time.Minute), For: insightsfake.Duration(time.Hour)})
	w.send(record("u", cart("u", "id-1", "a")))
	first := w.start(w.config(at("one")))
	first.await("the request on the wire", func() bool { return first.Status().Applications[0].InFlight == 1 })
	first.stop()
	if n := w.committed(0); n > 0 {
		t.Fatalf("committed %d while the message was in flight", n)
	}

	w.faults()
	second := w.start(w.config(at("two")))
	second.settles(1)
	second.await("the commit", func() bool { return w.committed(0) == 1 })
	second.stop()

	w.send(record("u", cart("u", "id-1", "a")))
	third := w.start(w.config(at("one")))
	s := third.settles(1)
	third.stop()
	if s.TotalAbsorbed() != 1 {
		t.Errorf("the copy was not absorbed: %+v", s)
	}
	w.onlyOnce("a")
}
