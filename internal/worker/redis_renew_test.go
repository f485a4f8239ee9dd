package worker

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/config"
	"eventworker/internal/querystore"
	"eventworker/internal/realtest"
)

// startRestless starts a worker whose task counts as lost when nobody renews its beacon for eight seconds: less than
// may be configured.
func (w *world) startRestless(c *config.Config) *running {
	w.t.Helper()
	return startWorker(w.t, c, Options{}, func(worker *Worker) {
		o, err := RedisOptions(c)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := worker.store.Close(); err != nil {
			w.t.Fatal(err)
		}
		o.Standstill = 8 * time.Second
		if worker.store, err = querystore.OpenRedis(o); err != nil {
			w.t.Fatal(err)
		}
	})
}

// tells says how often a line of the log holds a text.
func (r *running) tells(text string) int { return strings.Count(r.lines(), text) }

// A quiet night is no loss: a worker that has read everything keeps what its task covers, and says nothing. What is
// clicked in the morning has its queryID.
func TestAQuietNightIsNoLossOfRedis(t *testing.T) {
	address, prefix := realtest.Redis(t), newPrefix()
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	w := newWorld(t)
	run := w.startRestless(w.config(onRedis(address, prefix)))
	w.send(record("u", shown("u", time.Now().Add(-time.Second), "a")))
	run.settles(1)
	left, renewed := time.Hour, 0
	run.await("two renewals of the beacon", func() bool {
		now := c.PTTL(t.Context(), prefix+"task:0").Val()
		if now > left+300*time.Millisecond {
			renewed++
		}
		left = now
		return renewed >= 2
	})
	w.send(record("u", bareClick("u", "a", time.Now())))
	run.settles(2)
	run.stop()
	if run.tells("must be opened anew") != 0 || run.tells("read again") != 0 {
		t.Errorf("a quiet task was taken for a loss:\n%s", run.lines())
	}
	w.lastWasAttributed()
}

// A worker that stands still while messages wait is not sure of what it holds when it goes on, and reads it again.
func TestAWorkerThatStoodStillRestoresFromKafka(t *testing.T) {
	address, prefix := realtest.Redis(t), newPrefix()
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	w := newWorld(t)
	run := w.startRestless(w.config(onRedis(address, prefix)))
	w.send(record("u", shown("u", time.Now().Add(-time.Second), "a")))
	run.settles(1)
	run.ready()
	if status, _ := run.post("/pause"); status != 200 {
		t.Fatalf("/pause: %d", status)
	}
	// A renewal would come sooner than that.
	if err := c.PExpire(t.Context(), prefix+"task:0", 3*time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	run.await("the end of the beacon", func() bool { return c.Exists(t.Context(), prefix+"task:0").Val() == 0 })
	w.send(record("u", bareClick("u", "a", time.Now())))
	if status, _ := run.post("/resume"); status != 200 {
		t.Fatalf("/resume: %d", status)
	}
	run.settlesSome(2)
	run.stop()
	if run.tells("must be opened anew") == 0 || run.tells("read again before delivery starts") == 0 {
		t.Errorf("nobody restored:\n%s", run.lines())
	}
	w.lastWasAttributed()
}

// So is a worker that was away for that long.
func TestAWorkerThatWasAwayRestoresFromKafka(t *testing.T) {
	address, prefix := realtest.Redis(t), newPrefix()
	c := redis.NewClient(&redis.Options{Addr: address})
	defer c.Close()
	w := newWorld(t)
	first := w.startRestless(w.config(onRedis(address, prefix)))
	w.send(record("u", shown("u", time.Now().Add(-time.Second), "a")))
	first.settles(1)
	first.stop()
	if err := c.PExpire(t.Context(), prefix+"task:0", time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	awaitFor(t, "the end of the beacon", func() bool { return c.Exists(t.Context(), prefix+"task:0").Val() == 0 }, func() string { return "" })
	second := w.startRestless(w.config(onRedis(address, prefix)))
	w.send(record("u", bareClick("u", "a", time.Now())))
	second.settlesSome(1)
	second.stop()
	if second.tells("read again before delivery starts") != 1 || second.tells("must be opened anew") != 0 {
		t.Errorf("it does not say that it restores:\n%s", second.lines())
	}
	w.lastWasAttributed()
}

// lastWasAttributed fails the test unless the last event was sent with its queryID.
func (w *world) lastWasAttributed() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.events[len(w.events)-1]; last.QueryID != query {
		w.t.Errorf("the click was sent as %+v", last)
	}
}
