package demo

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/storefront"
)

// produce publishes the generated log, as a shop's services would, and learns the truth of it.
func (r *run) produce(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(20_000), kgo.ProducerBatchMaxBytes(1<<20))
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	defer client.Close()
	truth, err := storefront.NewTruthOf(r.generator.Config())
	if err != nil {
		return err
	}
	r.truth = truth
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var failed atomic.Pointer[error]
	for m := new(storefront.Message); r.generator.Next(m) && ctx.Err() == nil; m = new(storefront.Message) {
		truth.Add(m)
		client.Produce(ctx, record(m), func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
				stop(err)
				return
			}
			r.produced.Add(1)
		})
	}
	if err := client.Flush(ctx); err != nil && failed.Load() == nil {
		return fmt.Errorf("produce: %w", err)
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("produce: %w", *err)
	}
	truth.Seal()
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
