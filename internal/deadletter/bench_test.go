package deadletter

import (
	"context"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
)

func benchLetter() *Letter {
	l := rejected()
	l.Value = make([]byte, 434)
	l.Parts, l.Resolved = nil, nil
	return l
}

func BenchmarkEncode(b *testing.B) {
	l := benchLetter()
	b.ReportAllocs()
	for b.Loop() {
		m := Encode(l, "eventworker")
		_ = m.Size()
	}
}

func BenchmarkDecode(b *testing.B) {
	headers := Encode(benchLetter(), "eventworker").Headers
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(headers); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCause(b *testing.B) {
	l := benchLetter()
	b.ReportAllocs()
	for b.Loop() {
		_ = Cause(l)
	}
}

// BenchmarkWrite is one letter from Put to done, with the broker's share in the same process.
func BenchmarkWrite(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, deadTopic))
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	w, err := NewWriter(Config{Brokers: cluster.ListenAddrs(), Topic: deadTopic}, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = w.Close(context.Background()) }()
	l := benchLetter()
	b.ReportAllocs()
	b.SetBytes(int64(len(l.Value)))
	var written sync.WaitGroup
	for i := 0; b.Loop(); i++ {
		l.Partition = int32(i % 4)
		written.Add(1)
		w.Put(l, written.Done)
		if i%10_000 == 9_999 {
			written.Wait()
		}
	}
	written.Wait()
}
