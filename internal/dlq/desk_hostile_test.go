package dlq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
)

// remake deletes the dead-letter topic and makes it again.
func (r *rig) remake(partitions int32) {
	r.Helper()
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TopicNames = []string{deadTopic}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = new(deadTopic)
	del.Topics = append(del.Topics, topic)
	if _, err := del.RequestWith(r.Context(), r.client); err != nil {
		r.Fatal(err)
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = deadTopic, partitions, 1
	create.Topics = append(create.Topics, one)
	if _, err := create.RequestWith(r.Context(), r.client); err != nil {
		r.Fatal(err)
	}
	r.client.PurgeTopicsFromClient(deadTopic)
}

func TestTailFollowsATopicThatIsMadeAnew(t *testing.T) {
	r := newRig(t, 1)
	for n := range 5 {
		r.put(purchase(0, n))
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("the letter did not come"))
	defer cancel()
	seen := errors.New("seen")
	remade := false
	_, err := r.desk.Tail(ctx, new(Filter), TailOptions{Every: 10 * time.Millisecond}, func(c *Collapsed) error {
		if c.Offset != 0 || c.Source.Offset != purchase(0, 7).Offset {
			return fmt.Errorf("it is %+v", c)
		}
		return seen
	}, func() error {
		if !remade {
			remade = true
			r.remake(1)
			r.put(purchase(0, 7))
		}
		return nil
	})
	if !errors.Is(err, seen) {
		t.Error(err)
	}
}

func TestATopicThatIsMissingIsNamed(t *testing.T) {
	r := newRig(t, 1)
	d, err := New(Cluster{Brokers: r.cluster.ListenAddrs()}, Topics{DeadLetter: "nowhere", Replay: "nowhere.replay"}, "g", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for topic, ask := range map[string]func() error{
		"topic nowhere ":        func() error { _, _, err := d.Retention(t.Context()); return err },
		"topic nowhere does":    func() error { _, err := d.Bounds(t.Context(), "nowhere"); return err },
		"topic nowhere.replay ": func() error { _, err := d.Bounds(t.Context(), "nowhere.replay"); return err },
	} {
		if err := ask(); !errors.Is(err, kafka.UnknownTopicOrPartition) || !strings.Contains(err.Error(), topic) {
			t.Errorf("%s: %v", topic, err)
		}
	}
}

// Between the count and the answer to the prompt somebody else may have begun a replay.
func TestADiscardLeavesAloneWhatWasDecidedMeanwhile(t *testing.T) {
	o := newOffice(t)
	o.dead(many(4, o.click)...)
	pinned, err := o.desk.PlanDiscard(t.Context(), DiscardOptions{Filter: o.filter("")})
	if err != nil || pinned.Count != 4 {
		t.Fatalf("%+v, %v", pinned, err)
	}
	plan := o.plan("partition:0")
	o.apply(plan)
	done, err := o.desk.Discard(t.Context(), pinned, "jane", "test orders")
	if err != nil || done != 4-plan.Planned {
		t.Errorf("%d are discarded, %v", done, err)
	}
	o.work(delivered)
	if v := o.verify(plan); !v.AllGood() {
		t.Errorf("%+v", v)
	}
	if again, err := o.desk.Discard(t.Context(), pinned, "jane", "once more"); again != 0 || err != nil {
		t.Errorf("%d are discarded again, %v", again, err)
	}
	states, err := o.desk.States(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range states.All() {
		if s.Status == deadletter.StateDiscarded {
			n++
		}
	}
	if int64(n) != done {
		t.Errorf("%d states say so", n)
	}
}

// The contract allows timestamps up to 2⁶³−1.
func TestTheDeadlineOfAnEventInTheFarFutureIsNotPast(t *testing.T) {
	c := &counter{causes: map[string]*causeCount{}, now: time.Now().UnixMilli(), options: &StatsOptions{Limits: Limits{MaxAge: 95 * time.Hour}}}
	l := LetterOf(0, &consume.Record{Value: []byte(`{"timestamp":9223372036854775807}`)})
	if err := c.take(l); err != nil || c.causes[""].Past != 0 {
		t.Errorf("%+v, %v", c.causes[""], err)
	}
}

// A token that is no text is one all the same.
func TestTokensInOtherFormsAreMasked(t *testing.T) {
	mask := NewMasker([]byte("key"))
	for _, value := range []string{
		`{"userToken":["jane-secret"],"type":"x"}`, `{"userToken":{"id":"jane-secret"},"type":"x"}`, `{"authenticatedUserToken":{"a":["x","jane-secret"]}}`,
		`{"userToken":"jane-secret","userToken":"john-secret"}`,
	} {
		l := LetterOf(0, &consume.Record{Value: []byte(value)})
		var text strings.Builder
		for _, line := range l.Pretty(mask) {
			text.WriteString(line.Text)
		}
		x := ExportOf(l, mask)
		if s := text.String() + string(x.Value); strings.Contains(s, "-secret") {
			t.Errorf("%s is shown as %s", value, s)
		}
	}
}

// The leader of a topic that was just made is not there for a moment.
func TestALeaderThatIsNotThereYetIsWaitedFor(t *testing.T) {
	o := newOffice(t)
	o.dead(many(3, o.click)...)
	plan := o.plan("")
	left := 5
	o.cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		o.cluster.KeepControl()
		asked := req.(*kmsg.ListOffsetsRequest)
		if asked.Topics[0].Topic != "shop.dead.state" || left == 0 {
			return nil, nil, false
		}
		left--
		res := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, topic := range asked.Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.LeaderNotAvailable.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
	if n := o.apply(plan); n.Written != 3 || left != 0 {
		t.Errorf("%+v, %d left", n, left)
	}
}
