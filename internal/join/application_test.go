package join_test

import (
	"fmt"
	"testing"

	"eventworker/internal/event"
	"eventworker/internal/join"
	"eventworker/internal/storefront"
)

// A message of an application that another group serves is never this group's dead letter.
func TestAnotherGroupsMessageIsAbsorbedWhateverItSays(t *testing.T) {
	c := configOf(storefront.DefaultRules())
	c.Applications = []join.Application{{Name: "default", Served: true, DefaultIndex: "products"}, {Name: "elsewhere", Indices: []string{"theirs"}}}
	j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
	task := join.NewTask(c, openMemory(t), []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, j)
	task.Clock(replayBase)
	for i, what := range []string{
		fmt.Sprintf(`"timestamp":%d,"objectID":"a"`, replayBase-200*3600_000),
		fmt.Sprintf(`"timestamp":%d,"objectID":"a"`, replayBase+3600_000),
		fmt.Sprintf(`"timestamp":%d,"objectID":"a","index":"not theirs"`, replayBase),
	} {
		value := []byte(`{"type":"recommendation.clicked","application":"elsewhere","userToken":"u",` + what + `}`)
		if err := task.Handle(0, uint64(i), join.Message{Offset: int64(i), Time: replayBase + 7200_000, Value: value}); err != nil {
			t.Fatal(err)
		}
		if got := j.settled[uint64(i)]; got != "absorbed other-application" {
			t.Errorf("%s: %s", what, got)
		}
	}
	if p := task.Progress(0); p != replayBase {
		t.Errorf("the progress is %d, want that of the message that is not ahead of the clock, %d", p, replayBase)
	}
}

// A clock far ahead does not make the log look further on than it is, whatever becomes of its message.
func TestAMessageFarAheadMovesNothing(t *testing.T) {
	j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
	task := join.NewTask(configOf(storefront.DefaultRules()), openMemory(t), []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, j)
	task.Clock(replayBase)
	value := fmt.Appendf(nil, `{"type":"recommendation.clicked","application":"nowhere","userToken":"u","timestamp":%d,"objectID":"a"}`, replayBase+3600_000)
	if err := task.Handle(0, 0, join.Message{Time: replayBase + 3600_000, Value: value}); err != nil {
		t.Fatal(err)
	}
	if p := task.Progress(0); p != 0 {
		t.Errorf("the progress is %d", p)
	}
}

// Where shown messages are de-duplicated, views of copies are not sent.
func TestCopiesOfShownMessagesAreAbsorbedWhereTheConfigurationSaysSo(t *testing.T) {
	c := configOf(storefront.DefaultRules())
	c.Dedupe = []event.Type{event.Shown}
	j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
	task := join.NewTask(c, openMemory(t), []join.SourceConfig{{Topic: "t", Shown: true, Clicked: true}}, j)
	task.Clock(replayBase)
	value := fmt.Appendf(nil, `{"type":"recommendation.shown","id":"1","userToken":"u","timestamp":%d,"index":"products","queryID":%q,"objectIDs":["a"]}`, replayBase, hexID)
	for i := range uint64(3) {
		if i == 2 {
			if err := task.Outcome(0, true); err != nil {
				t.Fatal(err)
			}
		}
		msg := join.Message{Offset: int64(i), Time: replayBase, Value: value}
		j.kept[i] = msg
		if err := task.Handle(0, i, msg); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(j.settled) != "map[0:encoded 1:absorbed duplicate 2:absorbed duplicate]" {
		t.Errorf("%v", j.settled)
	}
	if task.Counters.Impressions != 3 {
		t.Errorf("%d impressions", task.Counters.Impressions)
	}
}
