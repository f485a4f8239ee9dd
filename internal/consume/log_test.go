package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestTransactions: what was aborted is not seen, what is open is waited for, and a tail of control
// records is committed past.
func TestTransactions(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx := context.Background()
		cl := w.client(kgo.TransactionalID("tx"))
		defer cl.Close()
		transaction := func(end kgo.TransactionEndTry, values ...string) {
			t.Helper()
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "events", Value: []byte(v)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			if err := cl.EndTransaction(ctx, end); err != nil {
				t.Fatal(err)
			}
		}
		r := newRecorder()
		c := w.run(w.config("events"), r)
		r.await(t, "a generation", func() bool { return c.Status().Ready })

		transaction(kgo.TryCommit, "a", "b")
		transaction(kgo.TryAbort, "x", "y")
		w.produce("events", 0, "c")
		transaction(kgo.TryCommit, "d")
		transaction(kgo.TryAbort, "z")
		r.await(t, "the commit of everything", func() bool { return w.committed("events", 0) == 11 })

		// An open transaction holds back what is behind it.
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "events", Value: []byte("e")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		w.produce("events", 0, "f")
		time.Sleep(5 * time.Second)
		p := r.generation().Tasks[0].Partitions[0]
		if n := r.count(); n != 4 || !p.AtEnd() {
			t.Errorf("%d messages, at end %v, while a transaction is open", n, p.AtEnd())
		}
		if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		r.await(t, "the rest", func() bool { return r.count() == 6 && w.committed("events", 0) == 14 })
		got := ""
		for _, s := range r.all() {
			got += s.value
		}
		if got != "abcdef" {
			t.Errorf("got %q, want abcdef", got)
		}
		if s := c.Stats(); s.AbortedRecords != 3 || s.ControlBatches == 0 {
			t.Errorf("stats %+v", s)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}

// TestNullAndEmptyAreToldApart through the whole way, with headers, for every codec.
func TestNullAndEmptyAreToldApart(t *testing.T) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				cl := w.client(kgo.ProducerBatchCompression(codec))
				defer cl.Close()
				long := make([]byte, 5000) // so that the client does compress
				if err := cl.ProduceSync(context.Background(),
					&kgo.Record{Topic: "events", Key: []byte("k"), Value: nil},
					&kgo.Record{Topic: "events", Key: nil, Value: []byte{}, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}, {Key: "none"}}},
					&kgo.Record{Topic: "events", Key: []byte{}, Value: long},
				).FirstErr(); err != nil {
					t.Fatal(err)
				}
				r := newRecorder()
				var got []string
				r.policy = func(c *Chunk, i int) {
					rec := &c.Records[i]
					s := fmt.Sprintf("key %v value %v time %v", rec.Key == nil, rec.Value == nil, rec.Time > 0)
					for _, h := range rec.Headers {
						s += fmt.Sprintf(" %s=%s/%v", h.Key, h.Value, h.Value == nil)
					}
					got = append(got, s)
					c.Settle(i)
				}
				c := w.run(w.config("events"), r)
				r.await(t, "three messages", func() bool { return r.count() == 3 })
				c.mustStop(t)
				want := []string{"key false value true time true", "key true value false time true h=v/false none=/true", "key false value false time true"}
				for i := range want {
					if got[i] != want[i] {
						t.Errorf("message %d: %s, want %s", i, got[i], want[i])
					}
				}
			}, kfake.SeedTopics(1, "events"))
		})
	}
}

// TestRetentionThatIsFasterIsCountedAndNamed, at the start and under way.
func TestRetentionThatIsFasterIsCountedAndNamed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 5)...)
		cfg := w.config("events")
		r := newRecorder()
		c := w.run(cfg, r)
		r.await(t, "the commit", func() bool { return w.committed("events", 0) == 5 })
		c.mustStop(t)

		w.produce("events", 0, numbered("b", 10)...) // 5 … 14
		if err := w.cluster.DeleteRecords("events", 0, 9); err != nil {
			t.Fatal(err)
		}
		r = newRecorder()
		c = w.run(cfg, r)
		r.await(t, "what is left", func() bool { return r.count() == 6 })
		if got := r.all()[0].offset; got != 9 {
			t.Errorf("started at %d, want 9", got)
		}
		if n := c.Stats().LostMessages; n != 4 {
			t.Errorf("%d lost, want 4", n)
		}
		if n := c.said("removed by retention"); n != 1 {
			t.Errorf("said %d times", n)
		}

		c.Pause("test")
		time.Sleep(2 * time.Second)
		w.produce("events", 0, numbered("c", 10)...) // 15 … 24
		if err := w.cluster.DeleteRecords("events", 0, 20); err != nil {
			t.Fatal(err)
		}
		c.Resume("test")
		r.await(t, "what is left", func() bool { return r.count() == 11 && w.committed("events", 0) == 25 })
		if n := c.Stats().LostMessages; n != 9 {
			t.Errorf("%d lost, want 9", n)
		}
		if n := c.Stats().Generations; n != 1 {
			t.Errorf("%d generations, want 1", n)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}

// TestATopicMadeAnewIsReadFromItsStart, loudly: the committed offset lies beyond its end.
func TestATopicMadeAnewIsReadFromItsStart(t *testing.T) {
	recreate := func(w *world) {
		t.Helper()
		if err := errors.Join(w.cluster.DeleteTopic("events"), w.cluster.CreateTopic("events", 1, nil)); err != nil {
			t.Fatal(err)
		}
		w.produce("events", 0, "new")
	}
	t.Run("while stopped", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.produce("events", 0, numbered("a", 5)...)
			r := newRecorder()
			c := w.run(w.config("events"), r)
			r.await(t, "5 messages", func() bool { return r.count() == 5 })
			c.mustStop(t)
			recommit(w, 5, func() { recreate(w) })
			r = newRecorder()
			c = w.run(w.config("events"), r)
			r.await(t, "the new message", func() bool { return r.count() == 1 && w.committed("events", 0) == 1 })
			if n := c.said("beyond the end"); n != 1 || c.Stats().Resets != 1 || c.Stats().Generations != 1 {
				t.Errorf("said %d times, stats %+v", n, c.Stats())
			}
			c.mustStop(t)
		}, kfake.SeedTopics(1, "events"))
	})
	t.Run("under way", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.produce("events", 0, numbered("a", 5)...)
			r := newRecorder()
			c := w.run(w.config("events"), r)
			r.await(t, "5 messages", func() bool { return r.count() == 5 && w.committed("events", 0) == 5 })
			recommit(w, 5, func() { recreate(w) })
			r.await(t, "the new message", func() bool { return r.count() == 6 && w.committed("events", 0) == 1 })
			if c.Stats().Resets == 0 {
				t.Error("nothing was said")
			}
			c.mustStop(t)
		}, kfake.SeedTopics(1, "events"))
	})
}

// recommit runs f and makes sure that the group's commit survives it: Kafka forgets the commits of a
// deleted topic only after a while.
func recommit(w *world, offset int64, f func()) {
	w.t.Helper()
	var keep atomic.Bool
	keep.Store(true)
	w.cluster.ControlKey(9, func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		if !keep.Load() {
			return nil, nil, false
		}
		in := req.(*kmsg.OffsetFetchRequest)
		if in.Version < 2 || in.Version > 7 { // the library asks with v1
			return nil, nil, false
		}
		keep.Store(false)
		out := in.ResponseKind().(*kmsg.OffsetFetchResponse)
		for _, topic := range in.Topics {
			rt := kmsg.NewOffsetFetchResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				rp := kmsg.NewOffsetFetchResponseTopicPartition()
				rp.Partition, rp.Offset = p, offset
				rt.Partitions = append(rt.Partitions, rp)
			}
			out.Topics = append(out.Topics, rt)
		}
		return out, nil, true
	})
	f()
}

// TestLeadersMove: each message comes once, in order, whoever leads.
func TestLeadersMove(t *testing.T) {
	inWorld(t, func(w *world) {
		cl := w.client()
		defer cl.Close()
		r := newRecorder()
		c := w.run(w.config("events"), r)
		const rounds = 12
		for round := range rounds {
			for p := range int32(4) {
				if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: "events", Partition: p, Value: []byte("v")}).FirstErr(); err != nil {
					t.Fatal(err)
				}
				if round%2 == 1 {
					if err := w.cluster.MoveTopicPartition("events", p, (int32(round)+p)%3); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(time.Duration(round) * 137 * time.Millisecond)
		}
		r.await(t, "everything", func() bool {
			for p := range int32(4) {
				if w.committed("events", p) != rounds {
					return false
				}
			}
			return true
		})
		next := map[int32]int64{}
		for _, s := range r.all() {
			if s.offset != next[s.partition] {
				t.Errorf("partition %d: offset %d, want %d", s.partition, s.offset, next[s.partition])
			}
			next[s.partition] = s.offset + 1
		}
		if n := c.Stats().Generations; n != 1 {
			t.Errorf("%d generations, want 1", n)
		}
		c.mustStop(t)
	}, kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094), kfake.SeedTopics(4, "events"))
}

// TestTheBudgetBoundsWhatIsHeld: nothing is settled until fetching has stopped; what is held then is
// within the budget but for a batch per partition, however well the batches compress. Settling lets
// everything through.
func TestTheBudgetBoundsWhatIsHeld(t *testing.T) {
	for _, tc := range []struct {
		name                    string
		codec                   kgo.CompressionCodec
		partitions              int32
		batches, messages, size int // of each partition; of each batch; of each message
	}{
		{"plain", kgo.NoCompression(), 4, 60, 10, 10 << 10},
		{"highly compressible", kgo.ZstdCompression(), 4, 60, 10, 10 << 10},
		{"messages of 1 KB", kgo.NoCompression(), 4, 60, 100, 1 << 10},
		{"messages of 1 MB", kgo.NoCompression(), 4, 6, 1, 1 << 20},
		{"1 partition", kgo.NoCompression(), 1, 100, 10, 10 << 10},
		{"500 partitions", kgo.NoCompression(), 500, 3, 10, 1 << 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				partitions, batchBytes := int64(tc.partitions), int64(tc.messages*tc.size)
				all := int(tc.partitions) * tc.batches * tc.messages
				cl := w.client(kgo.ProducerBatchCompression(tc.codec), kgo.ProducerBatchMaxBytes(4<<20))
				defer cl.Close()
				value := make([]byte, tc.size) // zeros: they unfold to many times their size
				for range tc.batches {
					for p := range tc.partitions {
						var rs []*kgo.Record
						for range tc.messages {
							rs = append(rs, &kgo.Record{Topic: "events", Partition: p, Value: value})
						}
						if err := cl.ProduceSync(context.Background(), rs...).FirstErr(); err != nil {
							t.Fatal(err)
						}
					}
				}
				cfg := w.config("events")
				cfg.Budget = 2 << 20
				r := newRecorder()
				var mu sync.Mutex
				var open []func()
				r.policy = func(c *Chunk, i int) {
					mu.Lock()
					defer mu.Unlock()
					open = append(open, func() { c.Settle(i) })
				}
				c := w.run(cfg, r)
				r.await(t, "the first messages", func() bool { return r.count() > 0 })
				time.Sleep(20 * time.Second)
				bound := cfg.Budget + partitions*(batchBytes*5/4+16<<10)
				if s := c.Status(); s.BudgetPeak > bound || s.BudgetUsed < cfg.Budget/2 {
					t.Errorf("used %d, peak %d, bound %d", s.BudgetUsed, s.BudgetPeak, bound)
				}
				if n := r.count(); n == all {
					t.Error("everything was fetched: the budget did not stop anything")
				}
				r.await(t, "everything", func() bool {
					mu.Lock()
					do := open
					open = nil
					mu.Unlock()
					for _, settle := range do {
						settle()
					}
					return r.count() == all
				})
				if s := c.Status(); s.BudgetPeak > bound {
					t.Errorf("peak %d, bound %d", s.BudgetPeak, bound)
				}
				time.Sleep(2 * time.Second) // a message is counted before its turn to be settled comes
				mu.Lock()
				for _, settle := range open {
					settle()
				}
				mu.Unlock()
				c.Pause("to look")
				time.Sleep(2 * time.Second)
				if used := c.Status().BudgetUsed; used != 0 {
					t.Errorf("%d bytes held after everything was settled", used)
				}
				c.mustStop(t)
			}, kfake.SeedTopics(tc.partitions, "events"), kfake.BrokerConfigs(map[string]string{"message.max.bytes": "4194304"}))
		})
	}
}

// TestShownPartitionsAreReadWhileOthersHoldTheirShare: clicks that nobody settles fill three quarters
// at most, and impressions still come.
func TestShownPartitionsAreReadWhileOthersHoldTheirShare(t *testing.T) {
	inWorld(t, func(w *world) {
		cl := w.client()
		defer cl.Close()
		value := make([]byte, 50<<10)
		for range 60 {
			for _, topic := range []string{"clicks", "shown"} {
				if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: value}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		cfg := w.config("clicks", "shown")
		cfg.ShownTopics = []string{"shown"}
		cfg.Budget = 1 << 20
		r := newRecorder()
		var shown atomic.Int64
		r.policy = func(c *Chunk, i int) {
			if c.Partition.Topic == "shown" {
				shown.Add(1)
				c.Settle(i)
			}
		}
		c := w.run(cfg, r)
		r.await(t, "all impressions", func() bool { return shown.Load() == 60 })
		time.Sleep(10 * time.Second)
		if other := r.generation().budget.other.Load(); other > 3<<20/4+100<<10 {
			t.Errorf("the clicks hold %d of %d bytes", other, cfg.Budget)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(1, "clicks", "shown"))
}

// TestAPartitionThatHoldsNothingAlwaysGetsABatch, although another one holds the whole budget.
func TestAPartitionThatHoldsNothingAlwaysGetsABatch(t *testing.T) {
	inWorld(t, func(w *world) {
		cl := w.client()
		defer cl.Close()
		value := make([]byte, 100<<10)
		send := func(p int32, n int) {
			for range n {
				if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: "events", Partition: p, Value: value}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		send(0, 40)
		cfg := w.config("events")
		cfg.Budget = 1 << 20
		r := newRecorder()
		r.policy = func(*Chunk, int) {}
		c := w.run(cfg, r)
		r.await(t, "a message", func() bool { return r.count() > 0 })
		time.Sleep(10 * time.Second)
		before := r.count()
		if c.Status().BudgetUsed < cfg.Budget-minGrant {
			t.Fatalf("only %d bytes are held", c.Status().BudgetUsed)
		}
		send(1, 3)
		time.Sleep(10 * time.Second)
		if n := r.count() - before; n != 1 {
			t.Errorf("%d messages of the other partition came, want one batch of 1", n)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(2, "events"))
}

// TestAnUnreadableBatchStopsItsPartitionOnly and is not skipped.
func TestAnUnreadableBatchStopsItsPartitionOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, "a")
		w.produce("events", 1, "b")
		var broken atomic.Bool
		broken.Store(true)
		cfg := w.config("events")
		cfg.Dial = nil
		r := newRecorder()
		cfg.Dial = w.net.DialContext
		w.cluster.ControlKey(1, func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			in := req.(*kmsg.FetchRequest)
			if !broken.Load() || in.Version > 11 {
				return nil, nil, false
			}
			out := in.ResponseKind().(*kmsg.FetchResponse)
			for _, topic := range in.Topics {
				rt := kmsg.NewFetchResponseTopic()
				rt.Topic = topic.Topic
				for _, p := range topic.Partitions {
					rp := kmsg.NewFetchResponseTopicPartition()
					rp.Partition, rp.HighWatermark, rp.LastStableOffset = p.Partition, 1, 1
					if p.Partition == 0 && p.FetchOffset == 0 {
						set := libraryBatch(t, 0, 0, values(1, "a")...)
						set[len(set)-1] ^= 1
						rp.RecordBatches = set
					} else if p.FetchOffset == 0 {
						rp.RecordBatches = libraryBatch(t, 0, 0, values(1, "b")...)
					}
					rt.Partitions = append(rt.Partitions, rp)
				}
				out.Topics = append(out.Topics, rt)
			}
			time.Sleep(time.Millisecond)
			return out, nil, true
		})
		c := w.run(cfg, r)
		r.await(t, "the other partition", func() bool { return r.count() == 1 })
		time.Sleep(20 * time.Second)
		if n := c.said("cannot be read"); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		if s := c.Status(); s.Partitions[0].Error == "" || s.Partitions[1].Error != "" || s.Partitions[0].Next != 0 {
			t.Errorf("status %+v", s.Partitions)
		}
		broken.Store(false)
		r.await(t, "the message", func() bool { return r.count() == 2 })
		c.mustStop(t)
	}, kfake.SeedTopics(2, "events"))
}

// TestTwoLeadersAreNeverAskedForOnePartitionAtOnce: while the old leader's answer is under way, the new
// one is not asked, or messages would come twice.
func TestTwoLeadersAreNeverAskedForOnePartitionAtOnce(t *testing.T) {
	c, err := New(Config{Brokers: []string{"localhost:1"}, Group: "g", Topics: []string{"t"}}, newRecorder(), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := c.newGeneration(&kafka.Generation{Assignments: map[string][]kafka.PartitionAssignment{"t": {{ID: 0}}}}, &layout{})
	defer g.cancelDrain()
	p := g.partitions[0]
	old, young := &fetcher{g: g, broker: 1}, &fetcher{g: g, broker: 2}
	p.leader.Store(1)
	under := old.plan(time.Now())
	if len(under.req.parts) != 1 {
		t.Fatal("the leader is not asked")
	}
	p.leader.Store(2)
	early := young.plan(time.Now())
	if len(early.req.parts) != 0 || early.retryAt.IsZero() {
		t.Errorf("the new leader is asked while the old one answers, next try at %v", early.retryAt)
	}
	young.finish(&early)
	old.finish(&under)
	late := young.plan(time.Now())
	if len(late.req.parts) != 1 {
		t.Error("the new leader is not asked after the old one answered")
	}
	young.finish(&late)
	if used := g.budget.Used(); used != 0 {
		t.Errorf("%d bytes are still reserved", used)
	}
}
