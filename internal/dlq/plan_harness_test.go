package dlq

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/zap"

	"eventworker/internal/check"
	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/join"
)

const shopPartitions = 3

// office is a broker in this process with a dead-letter topic and all that belongs to it, and a stand-in for
// the worker.
type office struct {
	*testing.T
	cluster *kfake.Cluster
	client  *kgo.Client
	desk    *Desk
	letters *deadletter.Writer
	next    [shopPartitions]int64 // offsets of sources
	now     time.Time
	rules   join.Config
	worked  [shopPartitions]int64 // offsets of the replay topic that the stand-in has read
}

func newOffice(t *testing.T, opts ...kfake.Opt) *office {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(shopPartitions, "shop", "shop.dead", "shop.replay", "shop.dead.state")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	o := &office{T: t, cluster: cluster, now: time.Now()}
	o.client, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxVersions(kversion.V3_0_0()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.client.Close)
	o.desk = o.newDesk()
	o.letters, err = deadletter.NewWriter(deadletter.Config{Brokers: cluster.ListenAddrs(), Topic: "shop.dead", Group: "g", CreateTopic: true, Partitions: shopPartitions}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.letters.Close(context.Background()) })
	o.rules = join.Config{
		Window: 24 * time.Hour, ClickWindow: 24 * time.Hour, SendViews: true, MaxEventAge: 95 * time.Hour,
		EventNames:   map[event.Type]string{event.Shown: "Shown", event.Clicked: "Clicked", event.AddedToCart: "Added", event.Purchased: "Bought"},
		Applications: []join.Application{{Name: "default", DefaultIndex: "products", Served: true}, {Name: "other", DefaultIndex: "products"}},
	}
	return o
}

func (o *office) newDesk() *Desk {
	d, err := New(Cluster{Brokers: o.cluster.ListenAddrs(), ClientID: "desk"}, Topics{DeadLetter: "shop.dead", Replay: "shop.replay", Inputs: []string{"shop"}}, "g", nil)
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(d.Close)
	return d
}

func (o *office) check() check.Options { return check.Options{Rules: o.rules, Now: o.now} }

// dead writes dead letters of the values, spread over the partitions, as the worker would.
func (o *office) dead(values ...string) {
	o.Helper()
	var written sync.WaitGroup
	for i, value := range values {
		p := i % shopPartitions
		written.Add(1)
		l := o.letter(value, consume.Record{Offset: o.next[p], Time: o.now.UnixMilli(), Key: []byte("user"), Value: []byte(value)}, "shop", int32(p))
		o.letters.Put(l, written.Done)
		o.next[p]++
	}
	written.Wait()
}

// letter is the dead letter of a record, by the decoder's refusal; a message that is valid was rejected by
// the API.
func (o *office) letter(value string, r consume.Record, topic string, partition int32) *deadletter.Letter {
	l := &deadletter.Letter{Topic: topic, Partition: partition, Offset: r.Offset, Timestamp: r.Time, Key: r.Key, Value: r.Value, Headers: r.Headers}
	ev := new(event.Event)
	if refusal := event.NewDecoder(event.Options{}).Decode([]byte(value), ev); refusal != nil {
		l.Refusal = *refusal
	} else {
		l.Refusal = event.Refusal{Reason: event.Rejected, Stage: event.StageDeliver, Message: "refused"}
		l.HTTPStatus, l.Attempts, l.APIWords = 422, 1, "The field is invalid"
	}
	if ev.Type != 0 {
		l.Type = ev.Type.String()
	}
	l.Application = "default"
	return l
}

func (o *office) filter(query string) *Filter {
	o.Helper()
	f, err := ParseQuery(query)
	if err != nil {
		o.Fatal(err)
	}
	return f
}

func (o *office) edit(text string) *Edit {
	o.Helper()
	e, err := ParseEdit([]byte(text))
	if err != nil {
		o.Fatal(err)
	}
	return e
}

func (o *office) plan(query string, change ...func(*PlanOptions)) *Plan {
	o.Helper()
	opts := PlanOptions{Filter: o.filter(query), Check: o.check(), By: "jane@desk", Note: "a bad deploy", Version: "test", Rate: 1e6}
	for _, f := range change {
		f(&opts)
	}
	p, report, err := o.desk.Plan(o.Context(), opts)
	if err != nil {
		o.Fatal(err)
	}
	sum, planned := int64(0), int64(0)
	for _, v := range p.Verdicts {
		sum += v.Count
		if v.Verdict == Pass || v.Verdict == PassAfterEdit {
			planned += v.Count
		}
	}
	if sum != p.Matched || p.Matched != report.Matched || planned != p.Planned {
		o.Fatalf("the plan does not add up: %+v", p)
	}
	return p
}

func (o *office) apply(p *Plan, change ...func(*ApplyOptions)) Applied {
	o.Helper()
	n, err := o.tryApply(o.Context(), p, change...)
	if err != nil {
		o.Fatal(err)
	}
	if n.Left != 0 {
		o.Fatalf("%+v", n)
	}
	return n
}

func (o *office) tryApply(ctx context.Context, p *Plan, change ...func(*ApplyOptions)) (Applied, error) {
	opts := ApplyOptions{Check: o.check(), Wait: 20 * time.Second}
	for _, f := range change {
		f(&opts)
	}
	n, err := o.newDesk().Apply(ctx, p, opts)
	if n.Planned != n.Written+n.Before+n.Passed+n.TooOld+n.Refused+n.Gone+n.Left {
		o.Errorf("it does not add up: %+v", n)
	}
	return n, err
}

func (o *office) verify(p *Plan) *Verification {
	o.Helper()
	v, err := o.desk.Verify(o.Context(), p, VerifyOptions{})
	if err != nil {
		o.Fatal(err)
	}
	if v.Planned != v.Delivered+v.Duplicate+v.Absorbed+v.Dead+v.Unsettled+v.Unknown+v.NotWritten || v.Planned != p.Planned {
		o.Fatalf("it does not add up: %+v", v)
	}
	return v
}

// replayed is what the replay topic holds.
func (o *office) replayed() (records []deadletter.Record) {
	o.Helper()
	if err := deadletter.Read(o.Context(), o.cluster.ListenAddrs(), "shop.replay", func(r deadletter.Record) { records = append(records, r) }); err != nil {
		o.Fatal(err)
	}
	return records
}

// work stands in for the worker: it settles what is new on the replay topic as settle says, and commits.
func (o *office) work(settle func(r deadletter.Record) (outcome string)) {
	o.Helper()
	var written sync.WaitGroup
	for _, r := range o.replayed() {
		if r.Offset < o.worked[r.Partition] {
			continue
		}
		o.worked[r.Partition] = r.Offset + 1
		c, err := deadletter.DecodeReplayed(r.Headers)
		if err != nil {
			o.Fatal(err)
		}
		outcome := settle(r)
		if outcome == deadletter.OutcomeDead {
			written.Add(1)
			own := consume.Record{Offset: r.Offset, Time: r.Time.UnixMilli(), Key: r.Key, Value: r.Value, Headers: r.Headers}
			o.letters.Put(o.letter(string(r.Value), own, "shop.replay", r.Partition), written.Done)
		}
		if outcome != "" {
			s := deadletter.Settled(c.ReplayID, outcome, time.Now())
			o.putState(c.Topic, c.Partition, c.Offset, s)
		}
	}
	written.Wait()
	for p, offset := range o.worked {
		o.commit(int32(p), offset)
	}
}

func (o *office) putState(topic string, partition int32, offset int64, s deadletter.State) {
	o.Helper()
	w, err := o.desk.stateWriter(o.Context())
	if err != nil {
		o.Fatal(err)
	}
	defer w.Close(context.Background())
	if err := w.Write(o.Context(), []deadletter.StateRecord{{Key: deadletter.StateKey(topic, partition, offset), Value: s.Encode()}}); err != nil {
		o.Fatal(err)
	}
}

func (o *office) commit(partition int32, offset int64) {
	o.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = "g", -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic = "shop.replay"
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset = partition, offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(o.Context(), o.client)
	if err != nil || res.Topics[0].Partitions[0].ErrorCode != 0 {
		o.Fatal(err, res)
	}
}

func delivered(deadletter.Record) string { return deadletter.OutcomeDelivered }

// Messages of the shop.
func (o *office) click(i int) string {
	return fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"user-%d","timestamp":%d,"objectID":"sku-%d","index":"products"}`, i, o.now.UnixMilli(), i)
}

func (o *office) badPrice(i int) string {
	return fmt.Sprintf(`{"type":"recommendation.purchased","userToken":"user-%d","timestamp":%d,"currency":"EUR","items":[{"objectID":"sku-%d","price":"1%d,90"}]}`, i, o.now.UnixMilli(), i, i%10)
}

func (o *office) old(i int) string {
	return strings.Replace(o.click(i), fmt.Sprint(o.now.UnixMilli()), fmt.Sprint(o.now.Add(-100*time.Hour).UnixMilli()), 1)
}

// many makes n of a message.
func many(n int, of func(int) string) (list []string) {
	for i := range n {
		list = append(list, of(i))
	}
	return list
}

const mendPrices = `[{"op":"rewrite","path":"/items/*/price","match":"^([0-9]+),([0-9]+)$","with":"$1.$2"}]`
