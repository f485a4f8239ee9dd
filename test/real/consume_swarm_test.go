package real

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/consume"
	"eventworker/internal/insightsfake"
	"eventworker/internal/realtest"
	"eventworker/internal/realtest/servers"
	"eventworker/internal/storefront"
	"eventworker/internal/worker"
)

// number reads the environment, or gives the default.
func number(t *testing.T, name string, standard uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// session is the workers' session time-out, and budget their memory.budget: a worker holds no more bytes
// of a partition than that and one fetch.
const (
	session = 6 * time.Second
	budget  = 4 << 20
	fetch   = 1 << 20
)

// swarm is a shop that three workers serve, each with a store of its own. What is written to the log is
// mixed with transactions that abort.
type swarm struct {
	*shop
	random  *rand.Rand
	brokers string // the workers' setting
	workers [3]*process
	logs    []*process // of all lives, for what they said

	mu      sync.Mutex
	placed  [partitions]map[int64]placed
	offsets [partitions][]int64 // of placed, in order
	cast    atomic.Uint64       // messages acknowledged
	aborts  atomic.Uint64
}

// placed is a message that stands in the log.
type placed struct {
	seq  uint32
	size int32     // of key and value
	at   time.Time // from when on it may have stood there
}

// deed is something that happens to the workers or the brokers.
type deed struct {
	name string
	do   func(*swarm)
}

var (
	killed  = deed{"kill", func(s *swarm) { k := s.any(); s.workers[k].kill(); s.launch(k) }}
	rolled  = deed{"roll", func(s *swarm) { k := s.any(); s.workers[k].stop(); s.launch(k) }}
	stopped = deed{"stop past the session time-out", func(s *swarm) {
		p := s.workers[s.any()]
		s.signal(p, syscall.SIGSTOP)
		s.sleep(session + 2*time.Second)
		s.signal(p, syscall.SIGCONT)
	}}
)

// base are the settings of all workers.
func (s *swarm) base() []string {
	return []string{s.brokers, fmt.Sprintf("memory.budget=%d", budget), fmt.Sprintf("kafka.max_fetch_bytes=%d", fetch)}
}

func (s *swarm) any() int { return s.random.IntN(len(s.workers)) }

func (s *swarm) signal(p *process, sig os.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *swarm) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.t.Context().Done():
	}
}

func (s *swarm) launch(k int) {
	s.workers[k] = s.startIn(fmt.Sprintf("queries-%d", k))
	s.logs = append(s.logs, s.workers[k])
}

func TestThreeWorkersThatAreKilledStoppedAndRolledLoseNothing(t *testing.T) {
	s := newSwarm(t, realtest.Kafka(t))
	s.live(60_000, []deed{killed, killed, stopped, stopped, rolled, rolled})
}

func TestThreeWorkersOutliveARestartOfTheBroker(t *testing.T) {
	broker := realtest.OwnKafka(t, servers.KafkaOptions{})
	restarted := deed{"restart the broker", func(s *swarm) {
		if err := broker.Stop(); err != nil {
			s.t.Error(err)
		}
		if err := broker.Start(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}}
	crashed := deed{"kill the broker", func(s *swarm) {
		broker.Kill()
		if err := broker.Start(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}}
	s := newSwarm(t, broker.Addr)
	s.brokersFail = true
	s.live(20_000, []deed{restarted, killed, crashed, stopped})
}

func TestThreeWorkersOutliveTheLossOfALeader(t *testing.T) {
	nodes := realtest.OwnCluster(t)
	var brokers []string
	for _, k := range nodes {
		brokers = append(brokers, k.Addr)
	}
	lost := deed{"lose a broker", func(s *swarm) {
		k := nodes[1+s.random.IntN(len(nodes)-1)] // the first one is whom this test talks to
		k.Kill()
		s.sleep(5 * time.Second)
		if err := k.Start(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}}
	s := newSwarm(t, brokers[0])
	s.brokers, s.brokersFail = "kafka.brokers="+strings.Join(brokers, ","), true
	s.live(20_000, []deed{lost, killed, lost, stopped})
}

func newSwarm(t *testing.T, broker string) *swarm {
	s := &swarm{shop: newShopAt(t, broker), brokers: "kafka.brokers=" + broker}
	seed := number(t, "EVENTWORKER_CONSUME_SEED", rand.Uint64())
	t.Logf("EVENTWORKER_CONSUME_SEED=%d", seed)
	s.random = rand.New(rand.NewPCG(seed, 1))
	for p := range s.placed {
		s.placed[p] = map[int64]placed{}
	}
	return s
}

// live lets the workers work through n messages (or EVENTWORKER_CONSUME_MESSAGES) while the deeds are
// done in random order (EVENTWORKER_CONSUME_ROUNDS times), and holds what arrived against the truth.
func (s *swarm) live(n uint64, deeds []deed) {
	t := s.t
	n = number(t, "EVENTWORKER_CONSUME_MESSAGES", n)
	var all []deed
	for range number(t, "EVENTWORKER_CONSUME_ROUNDS", 1) {
		all = append(all, deeds...)
	}
	s.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	g, err := storefront.NewGenerator(storefront.Config{Seed: s.random.Uint64(), Messages: n, Topic: s.topic, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	s.rules = g.Config().Rules
	truth, err := storefront.NewTruthOf(g.Config())
	if err != nil {
		t.Fatal(err)
	}
	// Requests take their time, so that some are on the wire whatever happens. While the log stands
	// still no miss may be believed: more is to come.
	s.fault(insightsfake.Fault{Kind: insightsfake.Latency, Delay: insightsfake.Duration(50 * time.Millisecond), Jitter: insightsfake.Duration(40 * time.Millisecond), For: insightsfake.Duration(time.Hour)})
	s.settings = append(s.base(), "batch.max_events=200", "join.wait=20m")
	for k := range s.workers {
		s.launch(k)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var aborting sync.WaitGroup
	aborting.Go(func() { s.abort(ctx) })

	began := time.Now()
	share := n / uint64(len(all)+1)
	for _, d := range all {
		before := s.api.Stats().Events.Distinct
		done := make(chan struct{})
		go func() { defer close(done); s.produce(g, truth, share) }()
		s.awaitAll("the next deed's time", func() bool { return s.api.Stats().Events.Distinct >= before+int64(share)/3 })
		t.Logf("%v: %s", time.Since(began).Round(time.Millisecond), d.name)
		d.do(s)
		<-done
	}
	s.produce(g, truth, n)
	cancel()
	aborting.Wait()
	t.Logf("%d messages and %d aborted transactions, with %d deeds", n, s.aborts.Load(), len(all))
	took := s.finish(truth)
	t.Logf("%v in all", (took + time.Since(began)).Round(time.Second))
}

// finish lets the workers come to the end of the log and holds what arrived against the truth. It gives
// the time until everything was committed, less what passed since.
func (s *swarm) finish(truth *storefront.Truth) (took time.Duration) {
	s.settings = append(s.base(), "join.wait=2s")
	for k := range s.workers {
		s.workers[k].stop()
		s.launch(k)
	}
	s.awaitAll("all messages committed", s.allCommitted)
	committed := time.Now()
	for _, p := range s.workers {
		p.stop()
	}
	truth.Seal()
	flying := s.wasInFlight()
	s.explain = func(seq uint64) bool { return flying[uint32(seq)] }
	s.compare(truth)
	s.t.Logf("%d messages were in flight at some rebalance; %d events came twice", len(flying), s.api.Stats().Events.Duplicates)
	return -time.Since(committed)
}

// produce writes the next messages of the log, and remembers where they stand.
func (s *swarm) produce(g *storefront.Generator, truth *storefront.Truth, n uint64) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.broker), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		s.t.Error(err)
		return
	}
	defer client.Close()
	for range n {
		m := new(storefront.Message)
		if !g.Next(m) {
			break
		}
		truth.Add(m)
		r := &kgo.Record{Topic: m.Topic, Partition: m.Partition, Key: m.Key, Value: m.Value, Timestamp: time.UnixMilli(m.Time)}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		// A worker may read it long before its acknowledgement is heard, if the broker dies in between.
		sent := time.Now()
		seq, size := uint32(m.Seq), int32(len(m.Key)+len(m.Value))
		client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			if err != nil {
				s.t.Errorf("produce: %v", err)
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.placed[r.Partition][r.Offset] = placed{seq, size, sent}
			s.cast.Add(1)
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		s.t.Errorf("produce: %v", err)
	}
}

// abort writes clicks in transactions that it aborts. Were one of them processed, the API would get an
// event that nobody expects. A transaction that fails with its broker is left to the brokers.
func (s *swarm) abort(ctx context.Context) {
	for try := 0; ctx.Err() == nil; try++ {
		client, err := kgo.NewClient(kgo.SeedBrokers(s.broker), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.TransactionalID(fmt.Sprintf("%s-%d", s.topic, try)), kgo.TransactionTimeout(5*time.Second))
		if err != nil {
			s.t.Error(err)
			return
		}
		for ctx.Err() == nil && s.abortOne(ctx, client) {
			s.aborts.Add(1)
		}
		client.Close()
	}
}

func (s *swarm) abortOne(ctx context.Context, client *kgo.Client) bool {
	if client.BeginTransaction() != nil {
		return false
	}
	var records []*kgo.Record
	for p := range int32(partitions) {
		value := fmt.Appendf(nil, `{"type":"recommendation.clicked","userToken":"nobody","objectID":"aborted-%d","position":1,"queryID":"%032d","index":"products"}`, p, p)
		records = append(records, &kgo.Record{Topic: s.topic, Partition: p, Key: []byte("nobody"), Value: value})
	}
	err := client.ProduceSync(ctx, records...).FirstErr()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if ended := client.EndTransaction(end, kgo.TryAbort); err != nil || ended != nil {
		return false
	}
	select {
	case <-ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
	return true
}

// awaitAll polls until the condition holds; it gives up when a worker ends or after a time.
func (s *swarm) awaitAll(what string, holds func() bool) {
	s.t.Helper()
	deadline := time.After(15 * time.Minute)
	for !holds() {
		select {
		case <-deadline:
			for _, p := range s.workers {
				_ = p.cmd.Process.Signal(syscall.SIGQUIT)
				<-p.exited
				s.t.Logf("%s", tail(p.log.Bytes()))
			}
			s.t.Fatalf("waited in vain for %s", what)
		case <-time.After(50 * time.Millisecond):
		}
		for k, p := range s.workers {
			select {
			case err := <-p.exited:
				s.t.Fatalf("worker %d ended before %s: %v\n%s", k, what, err, tail(p.log.Bytes()))
			default:
			}
		}
	}
}

func tail(b []byte) []byte { return b[max(0, len(b)-20_000):] }

// allCommitted says whether the group has committed the partitions' ends.
func (s *swarm) allCommitted() bool {
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = 1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = s.topic
	for p := range int32(partitions) {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p, -1
		topic.Partitions = append(topic.Partitions, rp)
	}
	req.Topics = append(req.Topics, topic)
	committed := s.committed()
	for _, shard := range s.client.RequestSharded(s.t.Context(), req) {
		if shard.Err != nil {
			return false
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 || committed[p.Partition] < p.Offset {
					return false
				}
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, log := range s.placed {
		for offset := range log {
			if committed[p] <= offset {
				return false
			}
		}
	}
	return true
}

// fly adds what of a partition may have been in flight at a moment: written by then, not below the last
// commit, not settled by its metadata, and as near as the memory of a worker reaches.
func (s *swarm) fly(flying map[uint32]bool, p int, committed int64, settled []consume.Range, by time.Time) {
	s.order(p)
	held := int64(0)
	i, _ := slices.BinarySearch(s.offsets[p], committed)
	for _, offset := range s.offsets[p][i:] {
		m := s.placed[p][offset]
		if m.at.After(by) || held > budget+fetch {
			return
		}
		if !within(settled, offset) {
			held += int64(m.size)
			flying[m.seq] = true
		}
	}
}

// order lists the offsets of a partition's messages, once everything was written.
func (s *swarm) order(p int) {
	if s.offsets[p] == nil {
		s.offsets[p] = slices.Sorted(maps.Keys(s.placed[p]))
	}
}

// wasInFlight reads the group's history and gives the messages that were in flight at the end of a
// generation.
func (s *swarm) wasInFlight() map[uint32]bool {
	flying := map[uint32]bool{}
	var at [partitions]worker.Commit
	var offsets [partitions]int64
	generation := int32(0)
	s.history(func(r *kgo.Record, commit *kmsg.OffsetCommitKey, group *kmsg.GroupMetadataKey) {
		if commit != nil && commit.Group == s.group && commit.Topic == s.topic {
			v := kmsg.NewOffsetCommitValue()
			if err := v.ReadFrom(r.Value); err != nil {
				s.t.Fatal(err)
			}
			offsets[commit.Partition] = v.Offset
			at[commit.Partition] = worker.ParseCommit(v.Metadata, s.group, s.topic, commit.Partition, v.Offset)
			if !at[commit.Partition].Known {
				s.t.Errorf("a commit of partition %d carries %q", commit.Partition, v.Metadata)
			}
		}
		if group == nil || group.Group != s.group || r.Value == nil {
			return
		}
		v := kmsg.NewGroupMetadataValue()
		if err := v.ReadFrom(r.Value); err != nil {
			s.t.Fatal(err)
		}
		if v.Generation == generation {
			return
		}
		generation = v.Generation
		for p := range s.placed {
			s.fly(flying, p, offsets[p], at[p].Settled, r.Timestamp.Add(time.Second))
		}
	})
	if generation < 3 {
		s.t.Errorf("the history of the group shows %d generations", generation)
	}
	return flying
}

func within(ranges []consume.Range, offset int64) bool {
	for _, r := range ranges {
		if r.From <= offset && offset < r.To {
			return true
		}
	}
	return false
}

// history reads what the coordinator wrote of all groups, in order.
func (s *swarm) history(visit func(*kgo.Record, *kmsg.OffsetCommitKey, *kmsg.GroupMetadataKey)) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.broker), kgo.ConsumeTopics("__consumer_offsets"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	for {
		ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Second) // nobody writes to it any more
		fetches := client.PollFetches(ctx)
		cancel()
		if fetches.Empty() {
			return
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if len(r.Key) < 2 || r.Key[0] != 0 {
				return
			}
			switch r.Key[1] {
			case 0, 1:
				k := kmsg.NewOffsetCommitKey()
				if k.ReadFrom(r.Key) == nil && r.Value != nil {
					visit(r, &k, nil)
				}
			case 2:
				k := kmsg.NewGroupMetadataKey()
				if k.ReadFrom(r.Key) == nil {
					visit(r, nil, &k)
				}
			}
		})
	}
}
