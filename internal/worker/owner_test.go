package worker

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"eventworker/internal/config"
	"eventworker/internal/querystore"
)

// A trial in shadow mode marks messages as delivered that nobody has sent. The group that sends them must not
// take its store for its own: it is refused, and sends everything from a store of its own, or from a new one.
func TestOrdersAreNeverAbsorbedByTheMarksOfATrial(t *testing.T) {
	for name, c := range map[string]struct {
		trial func(*config.Config)
		mend  func(*config.Config) error
	}{
		"a store of its own": {
			func(c *config.Config) { c.Delivery.Mode, c.Kafka.Group = "shadow", "trial" },
			func(c *config.Config) error { c.Store.Path += "-2"; return nil },
		},
		"the folder removed": {
			func(c *config.Config) { c.Delivery.Mode, c.Kafka.Group = "shadow", "trial" },
			func(c *config.Config) error { return os.RemoveAll(c.Store.Path) },
		},
		"another group that sent": {
			func(c *config.Config) { c.Kafka.Group, c.Insights.Endpoint = "other", c.Insights.Endpoint+"/elsewhere" },
			func(c *config.Config) error { return os.RemoveAll(c.Store.Path) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.send(record("u", cart("u", "order-1", "a")), record("u", cart("u", "order-2", "b")))
			cfg := w.config()
			trial := w.config(c.trial)
			r := w.start(trial)
			if trial.Delivery.Mode == "shadow" {
				r.settles(2)
			} else {
				r.await("a section", func() bool { _, err := os.Stat(filepath.Join(cfg.Store.Path, "task-00000")); return err == nil })
			}
			r.stop()
			var refused *querystore.OwnerError
			if _, err := New(cfg, Options{}); !errors.As(err, &refused) || refused.Have.Group != trial.Kafka.Group || refused.Have.Mode != trial.Delivery.Mode || refused.Want.Group != group {
				t.Fatalf("the folder of the trial is not refused: %v", err)
			}
			if n := w.accepted(); len(n) != 0 {
				t.Fatalf("sent before: %v", n)
			}
			if err := c.mend(cfg); err != nil {
				t.Fatal(err)
			}
			r = w.start(cfg)
			if s := r.settles(2); s.Delivered != 2 {
				t.Errorf("delivered %d, absorbed %v", s.Delivered, s.Absorbed)
			}
			r.stop()
			w.onlyOnce("a", "b")
		})
	}
}

// The same group in another mode: its offsets are committed, but copies and replays would be absorbed.
func TestAFolderBelongsToAModeOfDelivery(t *testing.T) {
	w := newWorld(t)
	w.send(record("u", cart("u", "order-1", "a")))
	r := w.start(w.config())
	r.settles(1)
	r.stop()
	var refused *querystore.OwnerError
	if _, err := New(w.config(func(c *config.Config) { c.Delivery.Mode = "shadow" }), Options{}); !errors.As(err, &refused) || refused.Have.Mode != "send" || refused.Want.Mode != "shadow" {
		t.Errorf("shadow mode opens what sends: %v", err)
	}
	r = w.start(w.config()) // a refusal changes nothing
	r.stop()
}
