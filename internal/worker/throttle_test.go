package worker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/config"
)

const (
	// heldBudget is the least memory.budget there is, and heldLimit what may wait of it with one task.
	heldBudget = 4 << 20
	heldLimit  = heldBudget / 2
	// heldFetch is what a fetch of each of two partitions comes to, unfolded and copied, where batches are
	// small: a fetch asks for a twelfth of the budget.
	heldFetch = heldBudget / 2
)

// crowd writes messages that have no impression, with event times that lie evenly in a span.
type crowd struct {
	random   *rand.Rand
	from     time.Time
	span     time.Duration
	id       string // of all; empty: none
	n, wrote int
}

func newCrowd(from time.Time, span time.Duration, n int) *crowd {
	return &crowd{random: rand.New(rand.NewPCG(1, 2)), from: from, span: span, n: n}
}

// next is the next message, of about 800 bytes that hardly shrink.
func (c *crowd) next(topic, kind string) *kgo.Record {
	at := c.from.Add(time.Duration(float64(c.span) * float64(c.wrote) / float64(c.n)))
	user := fmt.Sprint("u", c.wrote%50)
	if c.id != "" {
		user = "u" // whose copies they are
	}
	what := fmt.Sprintf(`"objectID":"%s-%d"`, topic, c.wrote)
	if kind == "addedToCart" {
		what = fmt.Sprintf(`"items":[{"objectID":"%s-%d"}]`, topic, c.wrote)
	}
	if c.id != "" {
		what += fmt.Sprintf(`,"id":%q`, c.id)
	}
	pad := make([]byte, 350)
	for i := range pad {
		pad[i] = byte(c.random.Uint32())
	}
	c.wrote++
	return &kgo.Record{Topic: topic, Key: []byte(user), Timestamp: at,
		Value: fmt.Appendf(nil, `{"type":"recommendation.%s","userToken":%q,"timestamp":%d,%s,"pad":"%x"}`, kind, user, at.UnixMilli(), what, pad)}
}

// crowded writes n messages of a type to a topic, in batches of 100.
func (w *world) crowded(topic, kind string, from time.Time, span time.Duration, n int) {
	w.t.Helper()
	w.crowd(newCrowd(from, span, n), topic, kind)
}

func (w *world) crowd(c *crowd, topic, kind string) {
	w.t.Helper()
	for c.wrote < c.n {
		var list []*kgo.Record
		for range min(100, c.n-c.wrote) {
			list = append(list, c.next(topic, kind))
		}
		w.send(list...)
	}
}

// lists writes a shown list for every 20 objects of a crowd of clicks, just before the first of them.
func (w *world) lists(topic, clicked string, from time.Time, span time.Duration, n int) {
	w.t.Helper()
	var list []*kgo.Record
	for first := 0; first < n; first += 20 {
		at := from.Add(time.Duration(float64(span)*float64(first)/float64(n)) - time.Second)
		for user := range 50 {
			var objects []string
			for i := first; i < min(first+20, n); i++ {
				if i%50 == user {
					objects = append(objects, fmt.Sprintf("%s-%d", clicked, i))
				}
			}
			if len(objects) > 0 {
				u := fmt.Sprint("u", user)
				list = append(list, &kgo.Record{Topic: topic, Key: []byte(u), Timestamp: at, Value: []byte(shown(u, at, objects...))})
			}
		}
	}
	w.send(list...)
}

// quiet makes a topic whose end is reached: one old list of a user whom nobody else knows.
func (w *world) quiet(topic string) {
	w.t.Helper()
	old := time.Now().Add(-3 * time.Hour)
	w.send(&kgo.Record{Topic: topic, Key: []byte("v"), Timestamp: old, Value: []byte(shown("v", old, "old"))})
}

// away lets the broker answer no fetch of a topic until it is called back.
func (w *world) away(topic string) (back func()) {
	var there atomic.Bool
	id := w.cluster.TopicInfo(topic).TopicID
	w.cluster.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		req := kreq.(*kmsg.FetchRequest)
		if there.Load() {
			return nil, nil, false
		}
		var rest []kmsg.FetchRequestTopic
		for _, rt := range req.Topics {
			if rt.Topic != topic && rt.TopicID != id {
				rest = append(rest, rt)
			}
		}
		if len(rest) > 0 || len(req.Topics) == 0 {
			req.Topics = rest
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewFetchResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewFetchResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.NotLeaderForPartition.Code
				sp.HighWatermark, sp.LastStableOffset = -1, -1
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	return func() { there.Store(true) }
}

// held is the most that was held at any look.
type held struct{ used, kept atomic.Int64 }

func (h *held) look(r *running) {
	h.kept.Store(max(h.kept.Load(), r.keptNow()))
	h.used.Store(max(h.used.Load(), r.kafka.Status().BudgetPeak))
}

// watchHeld looks at what is held until the test's end.
func (r *running) watchHeld() *held {
	h, over, done := &held{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				h.look(r)
			}
		}
	}()
	r.t.Cleanup(func() { close(over); <-done })
	return h
}

// stops waits until what waits holds its share and no partition of a topic is fetched for it.
func (r *running) stops(topic string) {
	r.t.Helper()
	r.await(topic+" waits", func() bool {
		for _, p := range r.kafka.Status().Partitions {
			if p.Topic == topic && p.Waiting && p.KeptBytes > 0 {
				return true
			}
		}
		return false
	})
}

// heldCase is something that messages wait for.
type heldCase struct {
	topics []string
	set    func(c *config.Config)
	// write fills the topics before the worker starts, and gives how many messages and objects there are.
	write func(w *world) (messages, objects int)
	// away is the topic whose leader comes back only when the partition of topic is stopped.
	away string
	// batch is the memory of the largest batch; 0: it is small beside a fetch.
	batch int64
	// apart is what lies within the lateness of the log, where that is more than the share.
	apart int64
	// matched: every event must carry the queryID.
	matched bool
}

const crowdSize = 6000 // about 7 MB

var heldCases = map[string]heldCase{
	"a quiet shown topic": {
		topics: []string{topic, "shown"},
		set:    func(c *config.Config) { c.Kafka.ShownTopics = []string{"shown"} },
		write: func(w *world) (int, int) {
			w.quiet("shown")
			w.crowded(topic, "clicked", time.Now().Add(-time.Hour), time.Hour, crowdSize)
			return crowdSize + 1, crowdSize
		},
	},
	"a topic for each type, shown and clicked quiet": {
		topics: []string{topic, "shown", "clicked"},
		set: func(c *config.Config) {
			c.Kafka.ShownTopics, c.Kafka.ClickedTopics = []string{"shown"}, []string{"clicked"}
		},
		write: func(w *world) (int, int) {
			w.quiet("shown")
			w.crowded("clicked", "clicked", time.Now().Add(-2*time.Hour), time.Hour, 100)
			w.crowded(topic, "addedToCart", time.Now().Add(-time.Hour), time.Hour, crowdSize)
			return crowdSize + 101, crowdSize + 100
		},
	},
	"a topic for each type, clicks far behind carts": {
		topics: []string{topic, "shown", "clicked"},
		set: func(c *config.Config) {
			c.Kafka.ShownTopics, c.Kafka.ClickedTopics = []string{"shown"}, []string{"clicked"}
		},
		write: func(w *world) (int, int) {
			w.quiet("shown")
			w.crowded("clicked", "clicked", time.Now().Add(-2*time.Hour), 2*time.Hour, crowdSize)
			w.crowded(topic, "addedToCart", time.Now().Add(-time.Hour), time.Hour, crowdSize)
			return 2*crowdSize + 1, 2 * crowdSize
		},
	},
	"the replay topic": {
		topics: []string{topic, "shown"},
		set:    func(c *config.Config) { c.Kafka.ShownTopics = []string{"shown"} },
		write: func(w *world) (int, int) {
			w.quiet("shown")
			w.crowded(replays, "clicked", time.Now().Add(-time.Hour), time.Hour, crowdSize)
			return crowdSize + 1, crowdSize
		},
	},
	"one mixed topic": {
		topics: []string{topic},
		set:    func(c *config.Config) { c.Join.AllowedLateness = 5 * time.Second },
		write: func(w *world) (int, int) {
			w.crowded(topic, "clicked", time.Now().Add(-time.Hour), time.Hour, crowdSize)
			return crowdSize, crowdSize
		},
	},
	"one mixed topic in which all lies within the lateness": {
		topics: []string{topic},
		set:    func(c *config.Config) { c.Join.AllowedLateness = time.Minute },
		write: func(w *world) (int, int) {
			w.crowded(topic, "clicked", time.Now().Add(-time.Hour), time.Second, crowdSize)
			return crowdSize, crowdSize
		},
		apart: crowdSize * 1400, // all of it: its own progress is what it waits for
	},
	"two mixed topics, one quiet": {
		topics: []string{topic, "other"},
		set:    func(c *config.Config) { c.Join.AllowedLateness = 5 * time.Second },
		write: func(w *world) (int, int) {
			w.quiet("other")
			w.crowded(topic, "clicked", time.Now().Add(-time.Hour), time.Hour, crowdSize)
			return crowdSize + 1, crowdSize
		},
	},
	"two mixed topics that wait for each other": {
		topics: []string{topic, "other"},
		set:    func(c *config.Config) { c.Join.AllowedLateness = 5 * time.Second },
		write: func(w *world) (int, int) {
			w.crowded(topic, "clicked", time.Now().Add(-time.Hour), time.Hour, crowdSize)
			w.crowded("other", "addedToCart", time.Now().Add(-90*time.Minute), 90*time.Minute, crowdSize)
			return 2 * crowdSize, 2 * crowdSize
		},
	},
	"batches larger than the share": {
		topics: []string{topic, "shown"},
		set:    func(c *config.Config) { c.Kafka.ShownTopics = []string{"shown"} },
		write: func(w *world) (int, int) {
			w.quiet("shown")
			c := newCrowd(time.Now().Add(-time.Hour), time.Hour, crowdSize)
			for range 2 {
				var list []*kgo.Record
				for range crowdSize / 2 {
					list = append(list, c.next(topic, "clicked"))
				}
				w.send(list...)
			}
			return crowdSize + 1, crowdSize
		},
		batch: crowdSize / 2 * 1400,
	},
	"copies of a message whose outcome is late": {
		topics: []string{topic, "shown"},
		set: func(c *config.Config) {
			c.Kafka.ShownTopics, c.Join.Wait = []string{"shown"}, time.Millisecond
		},
		write: func(w *world) (int, int) {
			w.faults(slow(time.Second))
			w.quiet("shown")
			c := newCrowd(time.Now().Add(-time.Hour), time.Hour, crowdSize)
			c.id = "order"
			w.crowd(c, topic, "addedToCart")
			return crowdSize + 1, 1
		},
	},
	"a slow API": {
		topics: []string{topic, "shown"},
		set: func(c *config.Config) {
			c.Kafka.ShownTopics, c.Join.Wait = []string{"shown"}, time.Millisecond
			c.Batch.MaxEvents, c.Delivery.MaxInFlight = 500, 1
		},
		write: func(w *world) (int, int) {
			w.faults(slow(50 * time.Millisecond))
			w.quiet("shown")
			w.crowded(topic, "clicked", time.Now().Add(-time.Hour), time.Hour, crowdSize)
			return crowdSize + 1, crowdSize
		},
	},
	"the leader of the shown topic is away": {
		topics: []string{topic, "shown"},
		set: func(c *config.Config) {
			c.Kafka.ShownTopics, c.Join.Wait = []string{"shown"}, time.Millisecond
		},
		away:    "shown",
		write:   writeMatched("shown"),
		matched: true,
	},
	"the leader of one of two mixed topics is away": {
		topics:  []string{topic, "other"},
		set:     func(c *config.Config) { c.Join.Wait = time.Millisecond },
		away:    "other",
		write:   writeMatched("other"),
		matched: true,
	},
}

func writeMatched(other string) func(w *world) (int, int) {
	return func(w *world) (int, int) {
		from := time.Now().Add(-time.Hour)
		w.lists(other, topic, from, time.Hour, crowdSize)
		w.crowded(topic, "clicked", from, time.Hour, crowdSize)
		return crowdSize + crowdSize, crowdSize
	}
}

func TestWhatWaitsIsBoundedAndEverythingArrives(t *testing.T) {
	for name, c := range heldCases {
		t.Run(name, func(t *testing.T) { c.run(t) })
	}
}

func (c *heldCase) run(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.topics = append(append([]string{}, c.topics...), letters, replays) })
	messages, objects := c.write(w)
	var back func()
	if c.away != "" {
		back = w.away(c.away)
	}
	run := w.start(w.config(func(cfg *config.Config) {
		cfg.Kafka.Topics, cfg.Kafka.MaxFetchBytes, cfg.Memory.Budget = c.topics, 1<<20, heldBudget
		cfg.Store.Kind, cfg.Views.Send = "memory", false
		cfg.Join.Wait = 200 * time.Millisecond
		c.set(cfg)
	}))
	h := run.watchHeld()
	if back != nil {
		run.stops(topic)
		run.saysWhatWaits()
		back()
	}
	run.await("everything", func() bool {
		s := run.Ledger().Snapshot()
		return s.Settled() >= int64(messages)
	})
	run.await("nothing kept", func() bool { return run.keptNow() == 0 })
	batch := max(c.batch, heldFetch)
	limit := max(heldLimit, c.apart) + batch
	t.Logf("kept %d of at most %d, used %d of %d", h.kept.Load(), limit, h.used.Load(), heldBudget)
	if kept := h.kept.Load(); kept > limit {
		t.Errorf("what waits held %d bytes, %.1f times its share", kept, float64(kept)/heldLimit)
	}
	if used := h.used.Load(); used > 2*heldBudget+2*batch+c.apart { // with what is encoded and not sent
		t.Errorf("%d bytes were held in all, %.1f times the budget", used, float64(used)/heldBudget)
	}
	run.stop()
	for _, r := range run.current.Load().runners {
		if r.waits.bytes != 0 {
			t.Errorf("%d bytes count as waiting when nothing does", r.waits.bytes)
		}
	}
	w.checkArrived(objects, c.matched)
}

// saysWhatWaits fails unless the status page and the metrics name the reason why nothing is fetched.
func (r *running) saysWhatWaits() {
	r.t.Helper()
	facts := fmt.Sprint(r.Page().Facts)
	if want := "1 partition not fetched: " + stoppedWhy; !strings.Contains(facts, want) {
		r.t.Errorf("the status page does not say %q: %s", want, facts)
	}
	_, metrics := r.get("/metrics")
	if want := fmt.Sprintf(`eventworker_partition_waiting{partition="0",topic=%q} 1`, topic); !strings.Contains(metrics, want) {
		r.t.Errorf("the metrics do not say %s", want)
	}
	r.await("eventworker_fetch_paused is 1", func() bool {
		_, metrics := r.get("/metrics")
		return strings.Contains(metrics, "eventworker_fetch_paused 1")
	})
}

func (r *running) keptNow() (n int64) {
	for _, p := range r.kafka.Status().Partitions {
		n += p.KeptBytes
	}
	return n
}

// checkArrived fails unless so many objects arrived, once each, and with the queryID if they must match.
func (w *world) checkArrived(objects int, matched bool) {
	w.t.Helper()
	n := w.accepted()
	if len(n) != objects {
		w.t.Errorf("%d objects arrived, not %d", len(n), objects)
	}
	for o, times := range n {
		if times != 1 {
			w.t.Fatalf("object %s arrived %d times", o, times)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if matched && e.QueryID != query {
			w.t.Fatalf("an event was decided before its impression was read: %+v", e)
		}
	}
}
