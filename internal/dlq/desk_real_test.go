package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/realtest"
)

// TestApacheKafkaIsReadWithoutWhatTransactionsAborted reads letters among aborted and committed
// transactions, in every codec, and past records that retention removed.
func TestApacheKafkaIsReadWithoutWhatTransactionsAborted(t *testing.T) {
	broker := realtest.Kafka(t)
	topic := realtest.Topic(t, broker, 2, "retention.ms", "604800000")
	want := map[string]bool{}
	write := func(transaction string, commit bool, codec kgo.CompressionCodec, from, to int) {
		t.Helper()
		opts := []kgo.Opt{kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec)}
		if transaction != "" {
			opts = append(opts, kgo.TransactionalID(topic+transaction))
		}
		client, err := kgo.NewClient(opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if transaction != "" {
			if err := client.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
		}
		for n := from; n < to; n++ {
			l := purchase(int32(n%2), n)
			l.Failed = time.Now().Add(-time.Hour + time.Duration(n)*time.Second)
			rec := recordOf(l)
			rec.Topic = topic
			if err := client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if commit {
				want[fmt.Sprint(l.Offset)] = true
			}
		}
		if transaction != "" {
			if err := client.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("", true, kgo.NoCompression(), 0, 40)
	write("a", false, kgo.Lz4Compression(), 40, 60)
	write("b", true, kgo.SnappyCompression(), 60, 80)
	write("", true, kgo.ZstdCompression(), 80, 100)
	write("c", false, kgo.GzipCompression(), 100, 120)
	write("", true, kgo.GzipCompression(), 120, 130)

	d, err := New(Cluster{Brokers: []string{broker}}, Topics{DeadLetter: topic}, "g", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if keeps, known, err := d.Retention(t.Context()); keeps != 7*24*time.Hour || !known || err != nil {
		t.Errorf("retention %s, %v, %v", keeps, known, err)
	}
	read := func(query string) (got map[string]bool, report Report) {
		t.Helper()
		f, err := ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Snapshot(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		got = map[string]bool{}
		report, err = d.Scan(t.Context(), s, f, ScanOptions{}, func(l *Letter) error { got[fmt.Sprint(l.Source().Offset)] = true; return nil })
		if err != nil || !report.Complete || report.Scanned != report.Total {
			t.Fatalf("%v, %+v", err, report)
		}
		return got, report
	}
	expect := func(got map[string]bool, from, to int) {
		t.Helper()
		for n := range 130 {
			offset := fmt.Sprint(1000 + n)
			if should := want[offset] && n >= from && n < to; got[offset] != should {
				t.Errorf("letter %d: read %v, want %v", n, got[offset], should)
			}
		}
	}
	all, report := read("")
	expect(all, 0, 130)
	if report.Total <= report.Records || report.Records != 90 {
		t.Errorf("%d records in %d offsets", report.Records, report.Total)
	}
	// The time of the look-up is five minutes earlier, so that the broker's index is put to use.
	some, less := read("since:" + time.Now().Add(-time.Hour+70*time.Second).UTC().Format(time.RFC3339Nano))
	expect(some, 71, 130)
	if less.Total > report.Total {
		t.Errorf("since reads %d offsets of %d", less.Total, report.Total)
	}
	f := new(Filter)
	s, err := d.Snapshot(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	var order []int64
	if _, err := d.Newest(t.Context(), s, f, ListOptions{}, func(r *Row) error { order = append(order, r.Source.Offset); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(order) != 90 || !slices.IsSortedFunc(order, func(a, b int64) int { return int(b - a) }) {
		t.Errorf("newest first: %v", order)
	}
	removeBefore(t, broker, topic, 30)
	gone, err := d.Scan(t.Context(), s, f, ScanOptions{}, func(*Letter) error { return nil })
	if err != nil || gone.Gone != 60 || !gone.Complete || !strings.Contains(gone.String(), "removed by retention meanwhile 60") {
		t.Errorf("after 60 were removed: %v, %s", err, &gone)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := d.Snapshot(ctx, f); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without time: %v", err)
	}
}

// removeBefore deletes the records of all partitions below an offset, as retention does.
func removeBefore(t *testing.T, broker, topic string, offset int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrDeleteRecordsRequest()
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	for p := range int32(2) {
		rp := kmsg.NewDeleteRecordsRequestTopicPartition()
		rp.Partition, rp.Offset = p, offset
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	for _, shard := range client.RequestSharded(t.Context(), req) {
		if shard.Err != nil {
			t.Fatal(shard.Err)
		}
		for _, one := range shard.Resp.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions {
			if one.ErrorCode != 0 {
				t.Fatal(kerr.ErrorForCode(one.ErrorCode))
			}
		}
	}
}
