package deadletter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

func TestStatesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := State{
			V:        1,
			Status:   rapid.SampledFrom([]string{StateOpen, StateReplayed, StateDiscarded, StateParked}).Draw(t, "status"),
			Outcome:  rapid.SampledFrom([]string{"", OutcomeDelivered, OutcomeDuplicate, OutcomeAbsorbed, OutcomeDead}).Draw(t, "outcome"),
			ReplayID: rapid.StringMatching(`[a-z0-9-]{0,20}`).Draw(t, "id"),
			Note:     rapid.String().Draw(t, "note"),
			By:       rapid.String().Draw(t, "by"),
			At:       time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "at")).UTC(),
		}
		got, err := ParseState(want.Encode())
		if err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
	})
	for _, wrong := range []string{"", "{", `{"v":2,"status":"open"}`, `{"v":1,"status":"gone"}`, `{"v":1,"status":"open","outcome":"lost"}`, `{"status":"open"}`} {
		if s, err := ParseState([]byte(wrong)); err == nil {
			t.Errorf("%s is read as %+v", wrong, s)
		}
	}
	if s, err := ParseState([]byte(`{"v":1,"status":"parked","later":[1]}`)); err != nil || s.Status != StateParked {
		t.Errorf("a field of a later version: %+v, %v", s, err)
	}
}

func TestStateKeysNameTheFirstLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := rapid.StringMatching(`[a-zA-Z0-9._-]{1,30}`).Draw(t, "topic")
		p, o := rapid.Int32Min(0).Draw(t, "partition"), rapid.Int64Min(0).Draw(t, "offset")
		gotTopic, gotP, gotO, err := ParseStateKey(StateKey(topic, p, o))
		if err != nil || gotTopic != topic || gotP != p || gotO != o {
			t.Fatal(gotTopic, gotP, gotO, err)
		}
	})
	for _, wrong := range []string{"", "/", "//", "/1/2", "a/1", "a/-1/2", "a/1/x", "a/99999999999/1"} {
		if _, _, _, err := ParseStateKey(wrong); err == nil {
			t.Errorf("%q is taken for a key", wrong)
		}
	}
}

// states reads the state topic; of each key the last value counts.
func (r *rig) states() map[string]State {
	r.Helper()
	all := make(map[string]State)
	err := Read(r.Context(), r.brokers, StateTopic(deadTopic), func(rec Record) {
		s, err := ParseState(rec.Value)
		if err != nil {
			r.Fatal(err)
		}
		all[string(rec.Key)] = s
	})
	if err != nil {
		r.Fatal(err)
	}
	return all
}

// stateWriter is a quick writer of states on the rig's broker.
func (r *rig) stateWriter(create bool) (*StateWriter, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.InfoLevel)
	w := newStateWriter(Config{Brokers: r.brokers, Topic: deadTopic, CreateTopic: create, Partitions: 3}, quick, zap.New(core))
	r.Cleanup(func() { w.Close(cancelled()) })
	return w, logs
}

func TestTheLastStateOfEachKeyIsWrittenBeforeCloseReturns(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(3, deadTopic))
	w, _ := r.stateWriter(true)
	for round := range 2 {
		for i := range int64(50) {
			s := Settled(fmt.Sprintf("p-%d", round), []string{OutcomeDead, OutcomeDelivered}[round], time.UnixMilli(1_764_000_000_000))
			w.Put(StateKey("events", int32(i%3), i), s.Encode())
		}
	}
	w.Close(t.Context())
	states := r.states()
	if len(states) != 50 {
		t.Fatalf("%d states", len(states))
	}
	for key, s := range states {
		if s.Status != StateReplayed || s.Outcome != OutcomeDelivered || s.ReplayID != "p-1" {
			t.Errorf("%s is %+v", key, s)
		}
	}
}

func TestStatesWaitForABrokerThatIsAway(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(3, deadTopic, StateTopic(deadTopic)))
	w, _ := r.stateWriter(false)
	refused := make(chan struct{}, 3)
	r.refuseProduce(kerr.NotEnoughReplicas, refused)
	s := Settled("p-1", OutcomeDead, time.Now())
	w.Put(StateKey("events", 1, 2), s.Encode())
	w.Close(t.Context())
	if len(refused) != cap(refused) {
		t.Errorf("%d refusals", len(refused))
	}
	if got := r.states()["events/1/2"]; got.Status != StateOpen || got.Outcome != OutcomeDead {
		t.Errorf("%+v", got)
	}
}

// refuseProduce answers the next requests to produce, as many as there is room in refused, with an error.
func (r *rig) refuseProduce(with *kerr.Error, refused chan struct{}) {
	for range cap(refused) {
		r.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			res := req.ResponseKind().(*kmsg.ProduceResponse)
			for _, topic := range req.(*kmsg.ProduceRequest).Topics {
				rt := kmsg.NewProduceResponseTopic()
				rt.Topic = topic.Topic
				for _, p := range topic.Partitions {
					rp := kmsg.NewProduceResponseTopicPartition()
					rp.Partition, rp.ErrorCode = p.Partition, with.Code
					rt.Partitions = append(rt.Partitions, rp)
				}
				res.Topics = append(res.Topics, rt)
			}
			refused <- struct{}{}
			return res, nil, true
		})
	}
}

// A topic that was just made has a leader that does not know of it yet.
func TestStatesAreWrittenOnceTheTopicHasALeader(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(3, deadTopic))
	w, _ := r.stateWriter(true)
	for _, moving := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable} {
		refused := make(chan struct{}, 2)
		r.refuseProduce(moving, refused)
		s := Settled("p-1", OutcomeDead, time.Now())
		if err := w.Write(t.Context(), []StateRecord{{Key: StateKey("events", 1, int64(moving.Code)), Value: s.Encode()}}); err != nil {
			t.Errorf("%v: %v", moving, err)
		}
		if len(refused) != cap(refused) {
			t.Errorf("%v: %d refusals", moving, len(refused))
		}
	}
	if n := len(r.states()); n != 3 {
		t.Errorf("%d states", n)
	}
}

func TestStatesWithoutTheirTopicAreLostAndSaidOnce(t *testing.T) {
	r := newRig(t, Config{}, kfake.SeedTopics(3, deadTopic))
	w, logs := r.stateWriter(false)
	s := Settled("p-1", OutcomeDelivered, time.Now())
	for i := range int64(maxStates + 500) {
		w.Put(StateKey("events", 1, i), s.Encode())
	}
	w.Close(t.Context())
	if lost := w.Lost(); lost != maxStates+500 {
		t.Errorf("%d states are lost, want %d", lost, maxStates+500)
	}
	n := 0
	for _, entry := range logs.All() {
		if strings.Contains(entry.Message, "dlq verify") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("said %d times", n)
	}
	w.Put("late", nil) // after Close it does nothing
}
