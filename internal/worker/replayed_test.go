package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/config"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/insightsfake"
)

// replayed puts a dead letter back, as dlq replay does.
func (l *letter) replayed(id string) *kgo.Record {
	r := &kgo.Record{Topic: replays, Key: l.Key, Value: l.Value, Timestamp: time.Now()}
	for _, h := range l.ReplayHeaders(deadletter.Originals(l.Record.Headers), id, l.ReplayCount+1, "") {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return r
}

// states reads the state topic; of the records of one key the last one counts.
func (w *world) states() map[string]deadletter.State {
	w.t.Helper()
	states := make(map[string]deadletter.State)
	err := deadletter.Read(w.t.Context(), w.brokers, letters+".state", func(r deadletter.Record) {
		s, err := deadletter.ParseState(r.Value)
		if err != nil {
			w.t.Error(err)
		}
		states[string(r.Key)] = s
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return states
}

// An order of which the API refuses an item is replayed twice: once it is refused again, then taken. Only
// the refused part is ever sent again, its dead letters keep where it was read first, and the state topic says
// what became of it each time.
func TestAReplayedOrderSendsOnlyWhatWasRefused(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.topics = append(s.topics, letters+".state") })
	c := w.config(func(c *config.Config) {
		c.Insights.Applications = map[string]config.Application{"default": {AppID: "APP1", APIKey: "key-1", DefaultIndex: "products", Indices: []string{"products", "other"}}}
	})
	worker := w.start(c)
	order := fmt.Sprintf(`{"type":"recommendation.purchased","id":"order","userToken":"u","timestamp":%d,"items":[{"objectID":"good","queryID":%q,"index":"products"},{"objectID":"bad","queryID":%q,"index":"other"}]}`,
		time.Now().UnixMilli(), query, query)
	w.faults(insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: []string{"bad"}})
	w.send(record("u", order))
	worker.settles(1)

	w.send(w.onlyLetter().replayed("r1"))
	worker.settles(2)
	second := w.letters()
	if len(second) != 2 {
		t.Fatalf("%d dead letters, want 2", len(second))
	}
	for i, l := range second {
		if l.Context.Topic != topic || l.Context.Partition != 0 || l.Context.Offset != 0 || len(l.Parts) != 1 || l.Parts[0].Index != 1 || l.ReplayCount != i {
			t.Errorf("dead letter %d: %s/%d/%d, parts %v, replayed %d times", i, l.Context.Topic, l.Context.Partition, l.Context.Offset, l.Parts, l.ReplayCount)
		}
	}
	w.faults()
	again := second[1].replayed("r2")
	w.send(again)
	worker.settles(3)
	copied := *again
	w.send(&copied)
	worker.settles(4)
	w.onlyOnce("good", "bad")
	key := deadletter.StateKey(topic, 0, 0)
	worker.await("the states", func() bool {
		s := w.states()[key]
		return s.ReplayID == "r2" && s.Outcome == deadletter.OutcomeDuplicate
	})
	worker.stop()
}

func (w *world) onlyLetter() *letter {
	w.t.Helper()
	all := w.letters()
	if len(all) != 1 {
		w.t.Fatalf("%d dead letters, want 1", len(all))
	}
	return &all[0]
}

// A replay that is refused before it is joined still has only its undelivered parts left.
func TestAReplayThatIsRefusedAtOnceKeepsItsParts(t *testing.T) {
	w := newWorld(t, func(s *setting) { s.topics = append(s.topics, letters+".state") })
	worker := w.start(w.config())
	old := time.Now().Add(-200 * time.Hour)
	before := deadletter.Context{Topic: topic, Partition: 0, Offset: 7, Timestamp: old.UnixMilli(), FirstFailed: old,
		Parts: []deadletter.Part{{Index: 2, Reason: event.Rejected}}, Resolved: []deadletter.Resolved{{Index: 2, QueryID: query, IndexName: "products", Position: 4}}}
	r := &kgo.Record{Topic: replays, Key: []byte("u"), Timestamp: time.Now(), Value: fmt.Appendf(nil, `{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectIDs":["a","b","c"]}`, old.UnixMilli())}
	for _, h := range before.ReplayHeaders(nil, "r1", 1, "") {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	w.send(r)
	worker.settles(1)
	l := w.onlyLetter()
	if l.Reason.String() != "too-old" || len(l.Parts) != 1 || l.Parts[0].Index != 2 || len(l.Resolved) != 1 || l.Resolved[0].Position != 4 || l.ReplayID != "r1" || l.ReplayCount != 1 || l.Context.Offset != 7 {
		t.Errorf("the dead letter says %+v", l.Context)
	}
	worker.await("the state", func() bool {
		s := w.states()[deadletter.StateKey(topic, 0, 7)]
		return s.Outcome == deadletter.OutcomeDead && s.Status == deadletter.StateOpen
	})
}

// Records of the replay topic that do not say where they come from are taken as new, and counted.
func TestARecordOfTheReplayTopicWithoutASourceIsCounted(t *testing.T) {
	w := newWorld(t)
	worker := w.start(w.config())
	r := record("u", click("u", "a"))
	r.Topic, r.Headers = replays, []kgo.RecordHeader{{Key: deadletter.HeaderReplayID, Value: []byte("r")}, {Key: deadletter.HeaderPartition, Value: []byte("x")}}
	w.send(r)
	worker.settles(1)
	w.onlyOnce("a")
	if n := worker.strangers.Load(); n != 1 {
		t.Errorf("%d records are counted, want 1", n)
	}
}
