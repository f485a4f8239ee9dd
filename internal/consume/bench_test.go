package consume

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// counting settles everything at once and stops after a number of messages.
type counting struct {
	want  int
	done  context.CancelFunc
	first func() // called with the first message, if it is set

	n     atomic.Int64
	began sync.Once
}

func (h *counting) Sync(context.Context) error { return nil }

func (h *counting) Serve(ctx context.Context, g *Generation, _ func() (context.Context, context.CancelFunc)) error {
	var tasks sync.WaitGroup
	for _, t := range g.Tasks {
		tasks.Go(func() { h.task(ctx, t) })
	}
	tasks.Wait()
	<-ctx.Done()
	return nil
}

func (h *counting) task(ctx context.Context, t *Task) {
	for {
		for _, p := range t.Partitions {
			for c := p.Pop(); c != nil; c = p.Pop() {
				if h.first != nil {
					h.began.Do(h.first)
				}
				if h.n.Add(int64(len(c.Records))) >= int64(h.want) {
					h.done()
				}
				c.SettleAll()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.Wake():
		}
	}
}

// BenchmarkConsumer is the whole consumer over loopback against a broker in the same process, whose
// CPU counts too.
func BenchmarkConsumer(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"), kfake.SyntheticFetch(kfake.SyntheticBatch{Records: 47, RecordBytes: 330}))
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	b.ReportAllocs()
	b.ResetTimer()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := New(Config{Brokers: cluster.ListenAddrs(), Group: "g", Topics: []string{"events"}}, &counting{want: b.N, done: cancel}, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		b.Fatal(err)
	}
}
