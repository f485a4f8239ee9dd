package deadletter

import (
	"reflect"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"

	"eventworker/internal/realtest"
)

// TestApacheKafkaTakesLettersUntouchedAndInOrder repeats with a real broker what the fake one shows.
func TestApacheKafkaTakesLettersUntouchedAndInOrder(t *testing.T) {
	broker := realtest.Kafka(t)
	topic := realtest.Topic(t, broker, 3, "max.message.bytes", "20000", "retention.ms", "1000")
	w, err := newWriter(Config{Brokers: []string{broker}, Topic: topic, Group: "g", MaxEventAge: patience}, quick, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(cancelled()) }()
	if n, warnings, err := w.Check(t.Context()); n != 3 || len(warnings) != 1 || err != nil {
		t.Errorf("%d partitions, warnings %q, %v", n, warnings, err)
	}

	want := map[int32][]int64{}
	var written sync.WaitGroup
	huge := rejected()
	huge.Value = noise(30_000)
	w.Put(huge, func() { t.Error("a record that does not fit was written") })
	for offset := range int64(300) {
		l := rejected()
		l.Partition, l.Offset = int32(offset%7), offset
		if offset%2 == 0 {
			l.Key, l.Value = nil, []byte{}
		}
		want[l.Partition] = append(want[l.Partition], offset)
		written.Add(1)
		w.Put(l, written.Done)
	}
	written.Wait()
	eventually(t, "the huge letter is not explained", func() bool {
		_, why := w.Healthy()
		return strings.Contains(why, "max.message.bytes is 20000")
	})

	got := map[int32][]int64{}
	err = Read(t.Context(), []string{broker}, topic, func(r Record) {
		c, err := Decode(r.Headers)
		if err != nil {
			t.Fatal(err)
		}
		got[c.Partition] = append(got[c.Partition], c.Offset)
		if r.Partition != c.Partition%3 {
			t.Errorf("source partition %d is in partition %d", c.Partition, r.Partition)
		}
		if null := c.Offset%2 == 0; (r.Key == nil) != null || (len(r.Value) == 0) != null || r.Value == nil {
			t.Errorf("offset %d: key %#v value %#v", c.Offset, r.Key, r.Value)
		}
		if own := rejected().Headers; !reflect.DeepEqual(Originals(r.Headers), own) {
			t.Errorf("offset %d: headers %q, want %q", c.Offset, Originals(r.Headers), own)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("offsets %v, want %v", got, want)
	}
}
