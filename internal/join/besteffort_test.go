package join_test

import (
	"fmt"
	"testing"

	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/storefront"
)

// Two tasks that share a store, as topics do that are keyed otherwise: what one of them stores the other
// finds at once, and what is not there yet is looked for once more when join.wait is over.
func TestTasksThatShareAStoreTakeWhatIsThere(t *testing.T) {
	const base = int64(1_764_000_000_000)
	store := querystore.NewMemory(querystore.Options{})
	defer func() { _ = store.Close() }()
	section, err := store.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	c := configOf(storefront.DefaultRules())
	c.BestEffort = true
	wait := c.Wait.Milliseconds()
	newTask := func(topic string) (*join.Task[uint64], *journal) {
		j := &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}
		task := join.NewTask(c, section, []join.SourceConfig{{Topic: topic, Shown: topic == "shown", Clicked: topic == "clicked"}}, j)
		task.Clock(base)
		return task, j
	}
	shown, shownBy := newTask("shown")
	clicked, clickedBy := newTask("clicked")
	offsets := map[*journal]int64{}
	handle := func(task *join.Task[uint64], j *journal, value string) {
		t.Helper()
		m := join.Message{Offset: offsets[j], Time: base, Key: []byte("elsewhere"), Value: []byte(value)}
		j.kept[uint64(m.Offset)] = m
		offsets[j]++
		if err := task.Handle(0, uint64(m.Offset), m); err != nil {
			t.Fatal(err)
		}
	}
	show := func(object, queryID string) {
		handle(shown, shownBy, fmt.Sprintf(`{"type":"recommendation.shown","userToken":"u","timestamp":%d,"index":"products","queryID":"%032s","objectIDs":[%q]}`, base, queryID, object))
	}
	click := func(object string) {
		handle(clicked, clickedBy, fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":%q,"index":"products"}`, base+1000, object))
	}
	tick := func(now int64) {
		t.Helper()
		clicked.Clock(now)
		if err := clicked.Tick(now); err != nil {
			t.Fatal(err)
		}
	}
	show("a", "1")
	click("a")
	if clicked.Counters.Shown != 1 || clicked.Waiting() != 0 {
		t.Errorf("a match is not final at once: %+v, %d wait", clicked.Counters, clicked.Waiting())
	}
	click("b")
	click("never")
	tick(base + wait - 1)
	if clicked.Waiting() != 2 {
		t.Errorf("%d misses wait, want 2", clicked.Waiting())
	}
	show("b", "2")
	tick(base + wait)
	if clicked.Counters.Shown != 2 || clicked.Counters.Plain != 1 || clicked.Waiting() != 0 {
		t.Errorf("after join.wait: %+v, %d wait; want one more match and one plain", clicked.Counters, clicked.Waiting())
	}
	if n := clicked.Counters.NotKeyed; n != 0 {
		t.Errorf("%d messages are said to be keyed wrongly", n)
	}
}
