//go:build unix

package dlq

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/realtest"
)

// million is how many letters the benchmarks read.
var million = flag.Int("letters", 1_000_000, "dead letters that the benchmarks read")

// fill writes n letters of five causes, as the worker would: batches of one source partition, lz4.
func fill(tb testing.TB, broker, topic string, partitions int32, n int) {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	began := time.Now().Add(-time.Hour)
	var failed error
	var mu sync.Mutex
	for i := range n {
		l := sample(int32(i)%partitions, i)
		l.Failed = began.Add(time.Duration(i) * time.Millisecond)
		m := deadletter.Encode(l, "eventworker")
		rec := &kgo.Record{Topic: topic, Partition: l.Partition, Key: m.Key, Value: m.Value, Timestamp: l.Failed}
		for _, h := range m.Headers {
			rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
		}
		client.Produce(context.Background(), rec, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if failed == nil {
				failed = err
			}
		})
	}
	if err := client.Flush(context.Background()); err != nil || failed != nil {
		tb.Fatal(err, failed)
	}
}

// sample is a letter of one of five causes; its message has about 430 bytes.
func sample(partition int32, n int) *deadletter.Letter {
	l := purchase(partition, n%1000)
	l.Offset = int64(n)
	l.Value = fmt.Appendf(nil, `{"type":"recommendation.purchased","id":"01J%08d","userToken":%q,"timestamp":%d,"currency":"EUR","orderID":"o-%d","items":[`,
		n, l.Key, time.Now().Add(-time.Hour).UnixMilli()+int64(n), n)
	for i := range 4 {
		l.Value = fmt.Appendf(l.Value, `{"objectID":"sku-%d-%d","price":"12,90","quantity":2,"index":"products"},`, n, i)
	}
	l.Value = append(l.Value[:len(l.Value)-1], "]}"...)
	if kind := n % 5; kind > 0 {
		l.Refusal.Field = fmt.Sprintf("items[%d].%s", n%4, []string{"price", "discount", "quantity", "objectID", "index"}[kind])
	}
	if n%5 == 4 {
		l.Refusal = event.Refusal{Reason: event.Rejected, Stage: event.StageDeliver, Rule: "api.rejected", Message: "refused"}
		l.HTTPStatus, l.Attempts = 422, 1
	}
	return l
}

// benchDesk is a desk at a topic of 12 partitions with a million letters, made once.
func benchDesk(b *testing.B) (*Desk, Snapshot) {
	broker := realtest.Kafka(b)
	topic := os.Getenv("EVENTWORKER_BENCH_LETTERS") // a topic that is there already
	if topic == "" {
		topic = realtest.Topic(b, broker, 12)
		fill(b, broker, topic, 12, *million)
	}
	d, err := New(Cluster{Brokers: []string{broker}}, Topics{DeadLetter: topic}, "eventworker", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.Close)
	s, err := d.Snapshot(b.Context(), new(Filter))
	if err != nil {
		b.Fatal(err)
	}
	return d, s
}

// heapPeak samples the heap in use until stop, and gives the most.
func heapPeak() (stop func() uint64) {
	runtime.GC()
	done, result := make(chan struct{}), make(chan uint64)
	go func() {
		most := uint64(0)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-ticker.C:
			case <-done:
				result <- most
				return
			}
		}
	}()
	return func() uint64 { close(done); return <-result }
}

func benchRead(b *testing.B, read func(d *Desk, s Snapshot) (Report, error)) {
	d, s := benchDesk(b)
	b.ReportAllocs()
	stop := heapPeak()
	records := int64(0)
	b.ResetTimer()
	began, cpu := time.Now(), cpuTime(b)
	for b.Loop() {
		report, err := read(d, s)
		if err != nil {
			b.Fatal(err)
		}
		records += report.Records
	}
	b.ReportMetric(float64(records)/time.Since(began).Seconds(), "records/s")
	// What one core would do, whatever else the machine is at.
	b.ReportMetric(float64(records)/(cpuTime(b)-cpu).Seconds(), "records/cpu-s")
	b.ReportMetric(float64(stop())/(1<<20), "MiB-peak")
}

// cpuTime is what this process has used of all cores.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkStats(b *testing.B) {
	benchRead(b, func(d *Desk, s Snapshot) (Report, error) {
		stats, report, err := d.Stats(b.Context(), s, new(Filter), StatsOptions{Mask: NewMasker([]byte("k")), Limits: Limits{MaxAge: 95 * time.Hour, Retention: 7 * 24 * time.Hour}})
		if err == nil && stats.Count != report.Records {
			b.Fatalf("%d letters of %d", stats.Count, report.Records)
		}
		return report, err
	})
}

func BenchmarkScanForACause(b *testing.B) {
	f, err := ParseQuery("cause:c1-00000000")
	if err != nil {
		b.Fatal(err)
	}
	benchRead(b, func(d *Desk, s Snapshot) (Report, error) {
		return d.Scan(b.Context(), s, f, ScanOptions{}, func(*Letter) error { return nil })
	})
}

func BenchmarkListAll(b *testing.B) {
	benchRead(b, func(d *Desk, s Snapshot) (Report, error) {
		return d.Newest(b.Context(), s, new(Filter), ListOptions{Mask: NewMasker([]byte("k"))}, func(*Row) error { return nil })
	})
}

func BenchmarkListFifty(b *testing.B) {
	benchRead(b, func(d *Desk, s Snapshot) (Report, error) {
		return d.Newest(b.Context(), s, new(Filter), ListOptions{Limit: 50, Mask: NewMasker([]byte("k"))}, func(*Row) error { return nil })
	})
}

// BenchmarkJudge is a scan's work for one letter once it is parsed.
func BenchmarkJudge(b *testing.B) {
	m := deadletter.Encode(sample(3, 18112), "g")
	rec := recordFor(m)
	c := counter{causes: map[string]*causeCount{}, now: time.Now().UnixMilli(), options: &StatsOptions{Limits: Limits{MaxAge: 95 * time.Hour}}}
	f := new(Filter)
	var l Letter
	b.ReportAllocs()
	for b.Loop() {
		l.fill(3, &rec)
		if f.Match(&l) {
			_ = c.take(&l)
		}
	}
}

func TestTheBenchmarkReadsLettersOfFiveCauses(t *testing.T) {
	seen := map[string]bool{}
	for n := range 20 {
		c, err := deadletter.Decode(deadletter.Encode(sample(0, n), "g").Headers)
		if err != nil {
			t.Fatal(err)
		}
		seen[c.Cause] = true
	}
	if len(seen) != 5 || strings.Contains(fmt.Sprint(seen), "c1-00000000") {
		t.Errorf("%v", seen)
	}
}
