package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ceiling reads a log and throws it away: what the broker can give on this machine, whoever asks.
func (e *env) ceiling(ctx context.Context, l *log) (messagesPerSecond, brokerCPU float64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.timeout, fmt.Errorf("not done after %v", e.timeout))
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(e.broker.addr), kgo.ConsumeTopics(l.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(8<<20))
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	cpu := func() (time.Duration, error) {
		if e.broker.pid == 0 {
			return 0, nil
		}
		return cpuOf(e.broker.pid)
	}
	before, err := cpu()
	if err != nil {
		return 0, 0, err
	}
	var began time.Time
	for n := 0; n < l.all(); {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return 0, 0, fmt.Errorf("read %s: %w", l.Topic, context.Cause(ctx))
		}
		if n == 0 {
			began = time.Now()
		}
		n += fetches.NumRecords()
	}
	after, err := cpu()
	all := float64(l.all())
	return all / time.Since(began).Seconds(), float64((after - before).Nanoseconds()) / 1e3 / all, err
}
