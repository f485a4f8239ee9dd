//go:build unix

package consume

import (
	"context"
	"crypto/rand"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/realtest"
)

// BenchmarkApacheKafka is the whole consumer over loopback against the real broker, whose CPU is not
// counted. b.N is the backlog: -benchtime 10000x and 10000000x should cost the same per message.
func BenchmarkApacheKafka(b *testing.B) {
	for _, partitions := range []int{1, 12, 100} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) { benchmarkReal(b, partitions) })
	}
}

func benchmarkReal(b *testing.B, partitions int) {
	broker := realtest.Kafka(b)
	topic := realtest.Topic(b, broker, partitions)
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(100_000),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 330)
	for i := range b.N {
		cl.Produce(context.Background(), &kgo.Record{Topic: topic, Partition: int32(i % partitions), Key: value[:12], Value: value}, nil)
	}
	if err := cl.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	cl.Close()
	b.ReportAllocs()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h := &counting{want: b.N, done: cancel, first: b.ResetTimer}
	c, err := New(Config{Brokers: []string{broker}, Group: "bench-" + rand.Text(), Topics: []string{topic}}, h, nil)
	if err != nil {
		b.Fatal(err)
	}
	before := cpuTime(b)
	if err := c.Run(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
