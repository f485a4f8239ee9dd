package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/storefront"
)

// produce publishes the generated log and learns the truth of it.
func (r *run) produce(ctx context.Context) error {
	truth, err := storefront.NewTruthOf(r.generator.Config())
	if err != nil {
		return err
	}
	r.truth = truth
	return Produce(ctx, r.brokers, r.generator, func(m *storefront.Message) { truth.Add(m) }, func() { r.produced.Add(1) })
}

// Produce publishes the generated log as a shop's services would, each message in the partition that
// the generator chose. It tells of each message before it is sent, in order of the log, and of each
// acknowledgement, from another goroutine.
func Produce(ctx context.Context, brokers []string, g *storefront.Generator, sending func(*storefront.Message), acknowledged func()) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(20_000), kgo.ProducerBatchMaxBytes(1<<20))
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	defer client.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for m := new(storefront.Message); ctx.Err() == nil && g.Next(m); m = new(storefront.Message) {
		sending(m)
		client.Produce(ctx, record(m), func(_ *kgo.Record, err error) {
			if err != nil {
				stop(err)
				return
			}
			acknowledged()
		})
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("produce: %w", context.Cause(ctx))
	}
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	return nil
}

// record is a message as the producer takes it.
func record(m *storefront.Message) *kgo.Record {
	r := &kgo.Record{Topic: m.Topic, Partition: m.Partition, Key: m.Key, Value: m.Value, Timestamp: time.UnixMilli(m.Time)}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return r
}
