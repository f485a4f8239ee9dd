package consume

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"eventworker/internal/realtest"
)

// TestApacheKafka runs what the fake broker cannot vouch for against the real one: every codec,
// transactions, a second member that takes over half of the tasks, and a restart at the frontier.
func TestApacheKafka(t *testing.T) {
	broker := realtest.Kafka(t)
	topic := realtest.Topic(t, broker, 4)
	cfg := Config{Brokers: []string{broker}, ClientID: "consume-test", Group: "consume-" + rand.Text(), Topics: []string{topic}, Copartitioned: true, Poison: true}

	var mu sync.Mutex
	settled := map[string]int{}
	start := func() (*running, *recorder) {
		r := newRecorder()
		r.policy = func(c *Chunk, i int) {
			mu.Lock()
			settled[string(c.Records[i].Value)]++
			mu.Unlock()
			c.Settle(i)
		}
		return runReal(t, cfg, r), r
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(settled)
	}

	want := 0
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		want += produceReal(t, broker, topic, name, kgo.ProducerBatchCompression(codec))
	}
	a, ra := start()
	ra.await(t, "all codecs", func() bool { return count() == want })
	b, rb := start()
	rb.await(t, "an even share", func() bool {
		return len(assigned(ra)) == 2 && len(assigned(rb)) == 2 && a.Status().Ready && b.Status().Ready
	})

	want += transactionsReal(t, broker, topic)
	ra.await(t, "what was committed", func() bool { return count() == want })
	mu.Lock()
	for value := range settled {
		if len(value) > 7 && value[:7] == "aborted" {
			t.Errorf("%s was aborted", value)
		}
	}
	mu.Unlock()
	a.mustStop(t)
	rb.await(t, "all tasks", func() bool { return len(assigned(rb)) == 4 && b.Status().Ready })
	b.mustStop(t)

	want += produceReal(t, broker, topic, "after")
	c, rc := start()
	rc.await(t, "the rest", func() bool { return count() == want })
	c.mustStop(t)
	for value, n := range settled {
		if n != 1 {
			t.Errorf("%s came %d times although every stop was clean", value, n)
		}
	}
	if s := c.Stats(); s.Messages != 400 || s.LostMessages != 0 {
		t.Errorf("after the restart: %+v, want 400 messages", s)
	}
}

func runReal(t *testing.T, cfg Config, r *recorder) *running {
	t.Helper()
	c, err := New(cfg, r, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var runErr error
	go func() {
		defer close(done)
		runErr = c.Run(ctx)
	}()
	stop := func() error {
		cancel()
		<-done
		return runErr
	}
	t.Cleanup(func() { _ = stop() })
	return &running{Consumer: c, recorder: r, done: done, stop: stop}
}

func produceReal(t *testing.T, broker, topic, prefix string, opts ...kgo.Opt) int {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for p := range int32(4) {
		for i := range 100 {
			cl.Produce(context.Background(), &kgo.Record{Topic: topic, Partition: p, Key: []byte("k"), Value: fmt.Appendf(nil, "%s-%d-%d", prefix, p, i)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := cl.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	return 400
}

// transactionsReal commits two messages and aborts two in each partition, in turns.
func transactionsReal(t *testing.T, broker, topic string) (committed int) {
	t.Helper()
	ctx := context.Background()
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("tx-"+rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for round := range 4 {
		prefix, end := "committed", kgo.TryCommit
		if round%2 == 1 {
			prefix, end = "aborted", kgo.TryAbort
		} else {
			committed += 4
		}
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(4) {
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: p, Value: fmt.Appendf(nil, "%s-%d-%d", prefix, p, round)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := cl.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	return committed
}

// TestApacheKafkaLatestIsCommittedAtOnce: latest is committed at once for all partitions.
func TestApacheKafkaLatestIsCommittedAtOnce(t *testing.T) {
	broker := realtest.Kafka(t)
	topic := realtest.Topic(t, broker, 4)
	produceReal(t, broker, topic, "old")
	cfg := Config{Brokers: []string{broker}, Group: "consume-" + rand.Text(), Topics: []string{topic}, StartOffset: Latest}
	r := newRecorder()
	c := runReal(t, cfg, r)
	r.await(t, "a generation", func() bool { return c.Status().Ready })
	transport := Transport(cfg.conn([]string{topic}))
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(broker), Transport: transport}
	res, err := client.OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: cfg.Group, Topics: map[string][]int{topic: {0, 1, 2, 3}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range res.Topics[topic] {
		if p.CommittedOffset != 100 {
			t.Errorf("partition %d: committed %d, want 100", p.Partition, p.CommittedOffset)
		}
	}
	c.mustStop(t)
}
