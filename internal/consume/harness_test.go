package consume

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster on a virtual network, in virtual time.
type world struct {
	t       *testing.T
	net     kfake.VirtualNetwork
	cluster *kfake.Cluster
	brokers []string
}

// inWorld runs f in a bubble of virtual time with a cluster.
func inWorld(t *testing.T, f func(w *world), opts ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t}
		w.start(opts...)
		defer w.cluster.Close()
		f(w)
	})
}

func (w *world) start(opts ...kfake.Opt) {
	w.t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.ListenFn(w.net.Listen), kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.cluster, w.brokers = c, c.ListenAddrs()
}

func (w *world) config(topics ...string) Config {
	return Config{Brokers: w.brokers, ClientID: "test", Group: "g", Topics: topics, Copartitioned: true, Dial: w.net.DialContext, Poison: true}
}

// client gives a producer that writes each record to the partition it names.
func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(w.brokers...), kgo.Dialer(w.net.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return cl
}

// produce writes values to a partition, in one batch each as far as the client makes it so.
func (w *world) produce(topic string, partition int32, values ...string) {
	w.t.Helper()
	cl := w.client()
	defer cl.Close()
	var rs []*kgo.Record
	for _, v := range values {
		rs = append(rs, &kgo.Record{Topic: topic, Partition: partition, Key: []byte("k-" + v), Value: []byte(v)})
	}
	if err := cl.ProduceSync(context.Background(), rs...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// numbered gives the values from-0, from-1, …
func numbered(prefix string, n int) (values []string) {
	for i := range n {
		values = append(values, fmt.Sprintf("%s-%d", prefix, i))
	}
	return values
}

// seen is a message that a recorder was given.
type seen struct {
	topic     string
	partition int32
	offset    int64
	value     string
}

// recorder is a Handler that keeps what it is given; policy decides what becomes of each record.
type recorder struct {
	policy func(c *Chunk, i int)
	// onDrain runs when the generation ends, before Serve returns.
	onDrain func(g *Generation, cause error, ctx context.Context)
	sync    func() error

	mu          sync.Mutex
	got         []seen
	generations []*Generation
	changed     chan struct{}
}

func newRecorder() *recorder {
	return &recorder{policy: func(c *Chunk, i int) { c.Settle(i) }, changed: make(chan struct{}, 1)}
}

func (r *recorder) notify() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *recorder) Sync(context.Context) error {
	if r.sync != nil {
		return r.sync()
	}
	return nil
}

func (r *recorder) Serve(ctx context.Context, g *Generation, drain func() (context.Context, context.CancelFunc)) error {
	r.mu.Lock()
	r.generations = append(r.generations, g)
	r.mu.Unlock()
	r.notify()
	var wg sync.WaitGroup
	for _, t := range g.Tasks {
		wg.Go(func() { r.task(ctx, t) })
	}
	<-ctx.Done()
	wg.Wait()
	if r.onDrain != nil {
		d, cancel := drain()
		defer cancel()
		r.onDrain(g, context.Cause(ctx), d)
	}
	return context.Cause(ctx)
}

func (r *recorder) task(ctx context.Context, t *Task) {
	for {
		for _, p := range t.Partitions {
			for c := p.Pop(); c != nil; c = p.Pop() {
				for i := range c.Records {
					rec := &c.Records[i]
					r.mu.Lock()
					r.got = append(r.got, seen{p.Topic, p.ID, rec.Offset, string(rec.Value)})
					r.mu.Unlock()
					r.policy(c, i)
				}
				r.notify()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.Wake():
			r.notify()
		}
	}
}

// await waits until cond holds, looking whenever something changes or a little (virtual) time passed.
func (r *recorder) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(5 * time.Minute)
	defer deadline.Stop()
	for !cond() {
		tick := time.NewTimer(20 * time.Millisecond)
		select {
		case <-r.changed:
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s did not happen; got %d messages", what, r.count())
		}
		tick.Stop()
	}
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

func (r *recorder) all() []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]seen(nil), r.got...)
}

func (r *recorder) generation() *Generation {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.generations) == 0 {
		return nil
	}
	return r.generations[len(r.generations)-1]
}

// running is a Consumer that runs.
type running struct {
	*Consumer
	*recorder
	logs *observer.ObservedLogs
	stop func() error
	done chan struct{}
}

// run starts a consumer; stop stops it and gives what Run returned.
func (w *world) run(cfg Config, r *recorder) *running {
	w.t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	c, err := New(cfg, r, zap.New(core))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var runErr error
	go func() {
		defer close(done)
		runErr = c.Run(ctx)
	}()
	return &running{Consumer: c, recorder: r, logs: logs, done: done, stop: func() error {
		cancel()
		<-done
		return runErr
	}}
}

func (r *running) mustStop(t *testing.T) {
	t.Helper()
	if err := r.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// said counts log lines that contain text.
func (r *running) said(text string) (n int) {
	for _, e := range r.logs.All() {
		line := e.Message
		for _, f := range e.Context {
			line += " " + f.String
			if err, ok := f.Interface.(error); ok {
				line += " " + err.Error()
			}
		}
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// committed is the group's committed offset, -1 if there is none.
func (w *world) committed(topic string, partition int32) int64 {
	w.t.Helper()
	info := w.cluster.GroupInfo("g")
	if info == nil {
		return -1
	}
	if o, ok := info.Commits[topic][partition]; ok {
		return o.Offset
	}
	return -1
}
