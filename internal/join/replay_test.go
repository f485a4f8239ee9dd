package join_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"eventworker/internal/join"
	"eventworker/internal/querystore"
	"eventworker/internal/storefront"
)

// again is a task that reads a live topic and the replay topic, and what it sent.
type again struct {
	t       *testing.T
	task    *join.Task[uint64]
	journal *journal
	offsets [2]int64
	next    uint64
}

const (
	live = iota
	replay
)

const replayBase = int64(1_764_000_000_000)

func newAgain(t *testing.T, section querystore.Section, deliver int64) *again {
	a := &again{t: t, journal: &journal{t: t, kept: map[uint64]join.Message{}, events: map[uint64]int{}, settled: map[uint64]string{}}}
	a.task = join.NewTask(configOf(storefront.DefaultRules()), section, []join.SourceConfig{
		{Topic: "events", Shown: true, Clicked: true}, {Topic: "events.replay", Deliver: deliver, Replay: true, Shown: true, Clicked: true}}, a.journal)
	a.task.Clock(replayBase + 1000)
	return a
}

func openMemory(t *testing.T) querystore.Section {
	t.Helper()
	store := querystore.NewMemory(querystore.Options{})
	t.Cleanup(func() { _ = store.Close() })
	section, err := store.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	return section
}

// goOn reads the live topic so far that nothing of replayBase waits.
func (a *again) goOn() {
	a.t.Helper()
	a.handle(live, nil, fmt.Sprintf(`{"type":"recommendation.shown","userToken":"other","timestamp":%d,"index":"products","objectIDs":["x"]}`, replayBase+60_000))
}

// handle reads a message and gives the events that it became.
func (a *again) handle(source int, r *join.Replayed, value string) (m uint64, events []string) {
	a.t.Helper()
	m = a.next
	a.next++
	msg := join.Message{Offset: a.offsets[source], Time: replayBase + 60_000, Key: []byte("u"), Value: []byte(value), Replay: r}
	a.offsets[source]++
	a.journal.kept[m] = msg
	if err := a.task.Handle(source, m, msg); err != nil {
		a.t.Fatal(err)
	}
	return m, a.sent()
}

func (a *again) sent() (events []string) {
	for i := range a.task.Runs {
		run := &a.task.Runs[i]
		for _, e := range run.Entries {
			events = append(events, string(run.Buf[e.Start:e.End]))
		}
		run.Reset()
	}
	return events
}

func (a *again) outcome(m uint64, delivered bool) {
	a.t.Helper()
	if err := a.task.Outcome(m, delivered); err != nil {
		a.t.Fatal(err)
	}
}

func (a *again) became(m uint64, want string) {
	a.t.Helper()
	if got := a.journal.settled[m]; got != want {
		a.t.Errorf("message %d is %q, want %q", m, got, want)
	}
}

func source(offset int64) *join.Replayed {
	return &join.Replayed{Topic: "events", Partition: 3, Offset: offset, Time: replayBase + 500}
}

const hexID = "0123456789abcdef0123456789abcdef"

// What an earlier life found stands, also where it found nothing, and whatever the store says today.
func TestAReplayedMessageKeepsWhatItsFirstLifeFound(t *testing.T) {
	a := newAgain(t, openMemory(t), 0)
	a.handle(live, nil, fmt.Sprintf(`{"type":"recommendation.shown","userToken":"u","timestamp":%d,"index":"products","queryID":"%032d","objectIDs":["a","b","c"]}`, replayBase-1000, 9))
	a.goOn()
	r := source(1)
	r.Resolved = []join.Resolved{{Object: 0, QueryID: hexID, Index: "products_de", Position: 7}, {Object: 1}}
	_, events := a.handle(replay, r, fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectIDs":["a","b"],"index":"products"}`, replayBase))
	if len(events) != 2 || !strings.Contains(events[0], `"queryID":"`+hexID+`"`) || !strings.Contains(events[0], `"products_de"`) || !strings.Contains(events[0], `[7]`) ||
		strings.Contains(events[1], "queryID") || strings.Contains(events[1], "positions") {
		t.Errorf("a replayed click gives %v", events)
	}
	r = source(2)
	r.Resolved = []join.Resolved{{Object: 0}, {Object: 1, QueryID: hexID, Index: "products"}}
	_, events = a.handle(replay, r, fmt.Sprintf(`{"type":"recommendation.purchased","userToken":"u","timestamp":%d,"index":"products","items":[{"objectID":"a"},{"objectID":"b"},{"objectID":"c"}]}`, replayBase))
	if want := fmt.Sprintf(`[{"quantity":1},{"quantity":1,"queryID":%q},{"quantity":1,"queryID":"%032d"}]`, hexID, 9); len(events) != 1 || !strings.Contains(events[0], want) {
		t.Errorf("a replayed purchase gives %v: the first item found nothing, the second what is named, the third is looked up", events)
	}
}

// What was delivered in an earlier life is not sent again.
func TestAReplayedMessageSendsOnlyTheRest(t *testing.T) {
	items := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"objectID":"o%d","price":"1.50","quantity":2}`, i))
		}
		return strings.Join(list, ",")
	}
	for _, c := range []struct {
		name, value string
		parts       []int
		want        []string // parts of the one event that is left
		never       []string
	}{
		{"purchase", `{"type":"recommendation.purchased","userToken":"u","timestamp":%d,"index":"products","currency":"EUR","value":75,"items":[` + items(25) + `]}`,
			[]int{20, 21, 22, 23, 24}, []string{`["o20","o21","o22","o23","o24"]`, `"value":"15"`}, []string{"o19"}},
		{"a price is missing", `{"type":"recommendation.purchased","userToken":"u","timestamp":%d,"index":"products","currency":"EUR","value":75,"items":[{"objectID":"a"},{"objectID":"b"}]}`,
			[]int{1}, []string{`["b"]`}, []string{`"value"`}},
		{"views", `{"type":"recommendation.shown","userToken":"u","timestamp":%d,"lists":[{"index":"products","objectIDs":["a","b"]},{"index":"products","objectIDs":["c","c","d"]}]}`,
			[]int{2, 3}, []string{`["c"]`}, []string{`"a"`, `"d"`}},
		{"facets", `{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"facets":[{"facetName":"brand","facetValue":"x","index":"products"},{"facetName":"brand","facetValue":"y","index":"products"}]}`,
			[]int{1}, []string{`["brand:y"]`}, []string{"brand:x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAgain(t, openMemory(t), 0)
			a.goOn()
			r := source(1)
			r.Parts = c.parts
			_, events := a.handle(replay, r, fmt.Sprintf(c.value, replayBase))
			if len(events) != 1 {
				t.Fatalf("%d events: %v", len(events), events)
			}
			for _, text := range c.want {
				if !strings.Contains(events[0], text) {
					t.Errorf("no %s in %s", text, events[0])
				}
			}
			for _, text := range c.never {
				if strings.Contains(events[0], text) {
					t.Errorf("%s in %s", text, events[0])
				}
			}
		})
	}
	a := newAgain(t, openMemory(t), 0)
	r := source(1)
	r.Parts = []int{4}
	m, events := a.handle(replay, r, fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"objectID":"a","index":"products"}`, replayBase))
	if len(events) != 0 {
		t.Errorf("events of a message whose undelivered parts are gone: %v", events)
	}
	a.became(m, "absorbed stored")
}

// A replayed message is known by where it was read first, whatever its type; its id counts for nothing.
func TestAReplayIsDeduplicatedOnItsSource(t *testing.T) {
	section := openMemory(t)
	values := []string{
		fmt.Sprintf(`{"type":"recommendation.shown","userToken":"u","timestamp":%d,"index":"products","queryID":%q,"objectIDs":["a"]}`, replayBase, hexID),
		fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"index":"products","objectID":"a","position":1,"queryID":%q}`, replayBase, hexID),
		fmt.Sprintf(`{"type":"recommendation.purchased","id":"1","userToken":"u","timestamp":%d,"index":"products","items":[{"objectID":"a","queryID":%q}]}`, replayBase, hexID),
	}
	a := newAgain(t, section, 0)
	id, _ := a.handle(live, nil, values[2])
	a.outcome(id, true)
	for i, value := range values {
		first, events := a.handle(replay, source(int64(i)), value)
		copied, none := a.handle(replay, source(int64(i)), value)
		if len(events) != 1 || len(none) != 0 {
			t.Fatalf("%s: %d events, and of its copy %d", value, len(events), len(none))
		}
		a.outcome(first, true)
		a.became(copied, "absorbed duplicate")
		later, none := a.handle(replay, source(int64(i)), value)
		if len(none) != 0 {
			t.Errorf("%s: a copy after the first was delivered is sent", value)
		}
		a.became(later, "absorbed duplicate")
		if _, events := a.handle(replay, source(int64(100+i)), value); len(events) != 1 {
			t.Errorf("%s: the same from another source gives %d events", value, len(events))
		}
		a.journal.claimed = nil
		dead, _ := a.handle(replay, source(int64(200+i)), value)
		a.outcome(dead, false)
		if _, events := a.handle(replay, source(int64(200+i)), value); len(events) != 1 {
			t.Errorf("%s: what was dead once more cannot be replayed", value)
		}
	}
}

// A store that is made again does not know what became of replays: it must not take them for delivered.
func TestARestoredReplayLeavesItsEffectsButNoMark(t *testing.T) {
	section := openMemory(t)
	value := fmt.Sprintf(`{"type":"recommendation.shown","userToken":"u","timestamp":%d,"index":"products","queryID":%q,"objectIDs":["a"]}`, replayBase, hexID)
	a := newAgain(t, section, 1)
	if _, events := a.handle(replay, source(1), value); len(events) != 0 {
		t.Fatalf("what is read again is sent: %v", events)
	}
	if _, events := a.handle(replay, source(1), value); len(events) != 1 {
		t.Errorf("the next replay gives %d events", len(events))
	}
	a.goOn()
	_, events := a.handle(live, nil, fmt.Sprintf(`{"type":"recommendation.clicked","userToken":"u","timestamp":%d,"index":"products","objectID":"a"}`, replayBase))
	if len(events) != 1 || !slices.ContainsFunc(events, func(e string) bool { return strings.Contains(e, hexID) }) {
		t.Errorf("a replayed impression does not answer: %v", events)
	}
}
