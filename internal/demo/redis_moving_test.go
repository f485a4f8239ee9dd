package demo

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"

	"eventworker/internal/config"
	"eventworker/internal/deadletter"
	"eventworker/internal/insightsfake"
	"eventworker/internal/realtest"
	"eventworker/internal/storefront"
	"eventworker/internal/worker"
)

// Two workers share the store in Redis, and one of them comes and goes all the time, so that partitions move:
// every answer is that of the contract. What was in flight at a move may come twice.
func TestPartitionsMoveBetweenWorkersThatShareRedis(t *testing.T) {
	o := onRedis(t, 31, realtest.Redis(t))
	o.Messages = 2500
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic, deadLetters, replays), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	api, err := startAPI(&o)
	if err != nil {
		t.Fatal(err)
	}
	defer api.close()
	slow := script(&o)
	slow.Faults = append(slow.Faults, insightsfake.Fault{Kind: insightsfake.Latency, Delay: insightsfake.Duration(20 * time.Millisecond), For: insightsfake.Duration(time.Hour)})
	if err := api.SetFaults(slow); err != nil {
		t.Fatal(err)
	}
	generator, err := storefront.NewGenerator(storefront.Config{Seed: o.Seed, Messages: o.Messages, Topic: topic, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	cfg := configuration(cluster.ListenAddrs(), api.url, &o, generator.Config().Rules)
	cfg.Batch.MaxEvents, cfg.Delivery.MaxInFlight = 50, 1 // so that it takes seconds
	cfg.Kafka.SessionTimeout, cfg.Kafka.RebalanceTimeout, cfg.DrainTimeout = 3*time.Second, 6*time.Second, 3*time.Second
	truth, err := storefront.NewTruthOf(generator.Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := Produce(t.Context(), cluster.ListenAddrs(), generator, func(m *storefront.Message) { truth.Add(m) }, func() {}); err != nil {
		t.Fatal(err)
	}
	truth.Seal()

	committed := func() (n uint64) {
		if info := cluster.GroupInfo(cfg.Kafka.Group); info != nil {
			for _, c := range info.Commits[topic] {
				n += uint64(c.Offset)
			}
		}
		return n
	}
	stop := startOne(t, cfg)
	moves := 0
	for end := time.Now().Add(time.Minute); committed() < o.Messages; moves++ {
		if time.Now().After(end) {
			t.Fatalf("%d of %d messages are committed after %d moves", committed(), o.Messages, moves)
		}
		other := startOne(t, cfg)
		awaitProgress(committed, 200*time.Millisecond)
		other()
	}
	stop()
	arrived := storefront.Arrived{Accepted: api.Accepted(), InFlight: func(uint64) bool { return true }}
	err = deadletter.Read(t.Context(), cluster.ListenAddrs(), deadLetters, func(rec deadletter.Record) {
		arrived.DeadLetters = append(arrived.DeadLetters, Letter(rec.Headers))
	})
	if err != nil {
		t.Fatal(err)
	}
	report := truth.Compare(arrived, 3)
	if !report.Matches() || moves < 2 {
		var text bytes.Buffer
		_ = report.WriteText(&text)
		t.Errorf("seed %d, after %d moves:\n%s", o.Seed, moves, text.String())
	}
}

// startOne starts a worker; what it gives stops it and waits for its end.
func startOne(t *testing.T, cfg *config.Config) (stop func()) {
	t.Helper()
	own := *cfg
	w, err := worker.New(&own, worker.Options{Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("a worker ended with %v", err)
		}
	}
}

// awaitProgress waits until more is committed, and then so much longer, at most for a few seconds.
func awaitProgress(committed func() uint64, longer time.Duration) {
	from := committed()
	for end := time.Now().Add(4 * time.Second); committed() == from && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(longer)
}
